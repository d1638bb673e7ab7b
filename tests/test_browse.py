"""data/browse.py: a contact sheet of any data set, or one line that says why there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from src.datasets import penn
from src.datasets.images import read_image
from tests.releases import (
    make_coco,
    make_lsp,
    make_lsp_mpii,
    make_lspet,
    make_penn,
    write_flic_h5,
    write_mpii_h5,
    write_mpii_pictures,
)
from tests.task_runner import main_of


def _mpii(folder: Path) -> None:
    write_mpii_h5(folder, baked=True)
    write_mpii_pictures(folder)


def _penn(folder: Path) -> None:
    make_penn(folder)
    penn.crop_clips(folder)


MAKERS: dict[str, Callable[[Path], object]] = {
    "lsp": make_lsp,
    "lspet": make_lspet,
    "mpii": _mpii,
    "lsp_mpii": make_lsp_mpii,
    "coco": make_coco,
    "flic": write_flic_h5,
    "penn": _penn,
    "synth": lambda folder: None,
}
SIDE = 64
PAPER = 255


def browse(*argv: object) -> None:
    main_of("data/browse.py")([*map(str, argv), "--side", str(SIDE), "--columns", "2"])


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one line in which a mistake ends, with status 2."""
    with pytest.raises(SystemExit) as end:
        browse(*argv)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize("dataset", MAKERS)
def test_every_data_set_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], dataset: str) -> None:
    MAKERS[dataset](tmp_path)
    sheet = tmp_path / "sheet.png"
    browse(dataset, "--data-dir", tmp_path, "--count", 3, "--out", sheet)
    assert f"{sheet}: 3 of " in capsys.readouterr().out
    pixels = read_image(sheet)
    gap, line = 2, 14  # around each square, and the caption below it
    assert pixels.shape == (gap + 2 * (SIDE + line + gap), gap + 2 * (SIDE + gap), 3)
    last = pixels[-SIDE:, -SIDE:]
    assert (last == PAPER).all()  # the fourth place is empty


@pytest.mark.parametrize("dataset", ["coco", "synth"])
def test_whole_pictures_are_shown(tmp_path: Path, dataset: str) -> None:
    MAKERS[dataset](tmp_path)
    browse(dataset, "--data-dir", tmp_path, "--scenes", "--count", 2, "--out", tmp_path / "sheet.jpg")
    assert read_image(tmp_path / "sheet.jpg").shape[1] == 2 + 2 * (SIDE + 2)


def test_the_seed_decides_who_is_shown(tmp_path: Path) -> None:
    make_lspet(tmp_path, 40)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sheet = tmp_path / f"{name}.png"
        browse("lspet", "--data-dir", tmp_path, "--count", 4, "--seed", seed, "--out", sheet)
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lspet = ("lspet", "--data-dir", tmp_path / "lspet")
    assert "does not exist; get lspet_dataset.zip" in said(capsys, *lspet)
    assert "did you mean 'lspet'?" in said(capsys, "lspett")
    assert "--scenes is for coco and synth" in said(capsys, *lspet, "--scenes")
    make_lspet(tmp_path / "lspet")
    assert "must end in .png" in said(capsys, *lspet, "--out", tmp_path / "sheet.gif")
    (tmp_path / "lspet" / "images" / "im00003.jpg").write_bytes(b"")
    assert "im00003.jpg is an empty file" in said(capsys, *lspet)
    assert "no split 'test'" in said(capsys, *lspet, "--split", "test")
