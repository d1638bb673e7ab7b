"""Pictures of every kind are read as RGB bytes; broken ones are refused by name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.datasets.images import BadImage, read_image

RED, GREEN, BLUE = (250, 20, 30), (20, 200, 40), (10, 30, 240)


@pytest.fixture
def flag() -> np.ndarray:
    """Three coloured stripes (48, 96, 3) RGB: channels cannot be swapped unnoticed."""
    stripes = np.empty((48, 96, 3), np.uint8)
    stripes[:16], stripes[16:32], stripes[32:] = RED, GREEN, BLUE
    return stripes


def centres(image: np.ndarray) -> np.ndarray:
    """The colours in the middle of the stripes, away from what compression smears."""
    return image[[8, 24, 40], 48].astype(int)


def test_color_jpeg_is_rgb(tmp_path: Path, flag: np.ndarray) -> None:
    Image.fromarray(flag).save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.dtype == np.uint8 and image.shape == flag.shape and image.flags.c_contiguous
    assert np.abs(centres(image) - centres(flag)).max() <= 4  # JPEG's rounding


def test_grey_becomes_three_equal_channels(tmp_path: Path, flag: np.ndarray) -> None:
    grey = flag[..., 1]
    Image.fromarray(grey).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == grey[..., None]).all()


def test_alpha_is_dropped(tmp_path: Path, flag: np.ndarray) -> None:
    alpha = np.full((*flag.shape[:2], 1), 128, np.uint8)
    Image.fromarray(np.concatenate([flag, alpha], 2), "RGBA").save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == flag).all()


def test_sixteen_bits_become_eight(tmp_path: Path, flag: np.ndarray) -> None:
    deep = flag[..., ::-1].astype(np.uint16) * 257  # 255 becomes 65535
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    assert np.abs(read_image(tmp_path / "a.png").astype(int) - flag).max() <= 1


def test_palette_is_resolved(tmp_path: Path, flag: np.ndarray) -> None:
    Image.fromarray(flag).quantize(3).save(tmp_path / "a.png")
    assert np.abs(centres(read_image(tmp_path / "a.png")) - centres(flag)).max() <= 2


def test_cmyk_is_converted(tmp_path: Path, flag: np.ndarray) -> None:
    Image.fromarray(flag).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == flag.shape
    assert (
        np.abs(centres(image) - centres(flag)).max() <= 12
    )  # two conversions of colours and JPEG's rounding


def test_orientation_tag_is_ignored(tmp_path: Path, flag: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees"
    Image.fromarray(flag).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == flag.shape


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_cut_short_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(BadImage, match=f"{path.name} is cut short"):
        read_image(path)


def test_cut_short_behind_a_thumbnail_is_refused(tmp_path: Path) -> None:
    """The end marker of an embedded thumbnail is not that of the picture."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    noise.resize((8, 8)).save(tmp_path / "thumbnail.jpg")
    noise.save(tmp_path / "a.jpg", exif=b"Exif\0\0" + (tmp_path / "thumbnail.jpg").read_bytes())
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(BadImage, match="cut short"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is missing"), (b"", "is an empty file"), (b"GIF but not really", "is damaged, or of a format")],
)
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(BadImage, match=message) as error:
        read_image(tmp_path / "a.jpg")
    assert "a.jpg" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="cannot be read"):
        read_image(tmp_path)
