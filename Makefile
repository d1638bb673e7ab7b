# Everything starts here: each target makes .venv and installs the project into it when needed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PY := $(abspath $(BIN))/python
# each of the processes imports torch and has half a gigabyte of it
TEST := $(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

.PHONY: demo test test-slow test-all bench lint clean

# a second `make demo` goes on where the first one stopped, or shows what it left
demo: $(READY)
	cd hgpose && $(PY) train.py --exp demo $(if $(wildcard exp/hgpose/demo),--continue,--config recipes/demo.yaml)
	cd hgpose && $(PY) test.py --exp demo --pictures 24
	$(PY) tools/compare.py hgpose/demo --out exp/hgpose/demo/curves.png
	@echo
	@echo "curves:      exp/hgpose/demo/curves.png"
	@echo "predictions: exp/hgpose/demo/predictions.jpg"

test: $(READY)
	$(TEST) -m "not slow"

# what takes longer
test-slow: $(READY)
	$(TEST) -m slow

test-all: lint test test-slow

# speed and memory against plain formulations of the same work; e.g. make bench ARGS="step --device cuda"
bench: $(READY)
	$(PY) -c 'import munkres, skimage' 2>/dev/null || $(PY) -m pip install --quiet -e '.[bench]'
	$(PY) -m bench $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml setup.py $(wildcard src/extensions/*/build.py src/extensions/*/*.[ch])
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@# servers without a display library: OpenCV's build without windows does all that is done here
	$(BIN)/python -c 'import cv2' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless
	touch $@

clean:
	rm -rf .venv build *.egg-info
