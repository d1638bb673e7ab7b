# Everything starts here: each target makes .venv and installs the project into it when needed.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test test-all lint bench clean

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(READY) lint
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(READY): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	@# servers without a display library: OpenCV's build without windows does all that is done here
	$(BIN)/python -c 'import cv2' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless
	touch $@

clean:
	rm -rf .venv build *.egg-info
