"""The commands that the documentation shows: their files exist, their options are known."""

import importlib.util
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from src.utils.options import Parser, modern_spelling
from tests.task_runner import ROOT, load_script

DOCUMENTS = [ROOT / "README.md", *ROOT.glob("*/README.md")]


FENCED = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
TABLES = re.compile(r"^\|.*", flags=re.MULTILINE)


def commands(document: Path) -> list[list[str]]:
    """The commands in shell blocks, tables and prose of a document, as words, without comments."""
    text = document.read_text()
    blocks = [block for language, block in FENCED.findall(text) if language in ("", "sh")]
    lines = [line for block in blocks for line in _expanded(block.replace("\\\n", " ").splitlines())]
    text = FENCED.sub("", text)
    lines += re.findall(r"`(python [^`]+)`", "\n".join(TABLES.findall(text)))
    prose = TABLES.sub("", text)
    lines += re.findall(r"`(python [^`]+|make [^`]+)`", prose)
    lines += [f"python {line}" for line in re.findall(r"`([\w./-]+\.py\s[^`]+)`", prose)]
    typed = [_without_launcher(shlex.split(line, comments=True)) for line in lines]
    return [words for words in typed if words and words[0] in ("python", "make")]


def _expanded(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a block with the values of its variables; of `(cd FOLDER && python …)` the command."""
    values = dict[str, str]()
    for line in lines:
        if given := re.fullmatch(r'(\w+)=(?:"(.*)"|(\S+))', line):
            values[given[1]] = given[2] or given[3] or ""
        line = re.sub(r"\$(\w+)", lambda name: values.get(name[1], name[0]), line)
        if elsewhere := re.fullmatch(r"\(cd (\S+) && python (.*)\)", line):
            line = f"python {elsewhere[1]}/{elsewhere[2].replace(' recipes/', f' {elsewhere[1]}/recipes/')}"
        yield line


def _without_launcher(words: list[str]) -> list[str]:
    """`torchrun … train.py …`, which Slurm's srun may start, as `python train.py …`."""
    if "torchrun" not in words:
        return words
    script = next(i for i, word in enumerate(words) if word.endswith(".py"))
    return ["python", *words[script:]]


ALL = [(document, words) for document in DOCUMENTS for words in commands(document)]


def test_there_are_commands() -> None:
    assert len(ALL) > 12


@pytest.mark.parametrize(
    "document, words", ALL, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_commands_are_those_that_exist(document: Path, words: list[str]) -> None:
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        return
    if words[1] == "-m":
        assert importlib.util.find_spec(words[2]) is not None
        return
    task = document.parent if document.parent != ROOT else ROOT / "hgpose"
    folders = (task, ROOT, ROOT / "hgpose", ROOT / "tools")  # prose may leave out the folder
    script = next((path for path in (folder / words[1] for folder in folders) if path.is_file()), None)
    assert script is not None, words[1]
    if script.name in ("train.py", "test.py"):
        opts = load_script(script.parent / "opts.py")
        parser = Parser("")
        (opts.build if script.name == "train.py" else opts.build_test)(parser)
        known = {name for action in parser._actions for name in action.option_strings}
    elif "def build(" in script.read_text():
        load_script(script).build(parser := Parser(""))
        known = {name for action in parser._actions for name in action.option_strings}
    else:
        known = set(re.findall(r'"(--[a-z0-9-]+)"', script.read_text()))
        both = re.findall(r'"--([a-z0-9-]+)",\s+action=argparse.BooleanOptionalAction', script.read_text())
        known |= {f"--no-{name}" for name in both}
    typed = [word.split("=")[0] for word in modern_spelling(words[2:]) if word.startswith("--")]
    assert set(typed) <= known
    for name in re.findall(r"[\w./-]*recipes/[\w.-]+\.yaml", " ".join(words)):
        recipe = (task / name).resolve()
        assert recipe.is_file() and recipe.parents[1] == script.resolve().parent  # is of this task


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_pictures_are_there(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        file, _, place = target.partition("#")
        there = document.parent / file if file else document
        assert there.exists(), target
        assert not place or place in places(there), target


def places(document: Path) -> set[str]:
    """What links call the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", document.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_picture_is_shown() -> None:
    shown = "".join(document.read_text() for document in DOCUMENTS)
    for picture in (ROOT / "imgs").iterdir():
        assert re.search(rf"!\[.+?\]\([\w./-]*imgs/{picture.name}\)", shown), picture.name
