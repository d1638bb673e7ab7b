"""Pictures of every kind are read as RGB bytes; broken ones are refused by name."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.datasets.images import BadImage, read_image, read_reduced, read_upright

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


@pytest.mark.parametrize("behind", [b"\xff\xda", b"\xff\xd9\xff\xda", b"\xff\xda\xff\xd9"])
def test_a_video_behind_a_picture_does_not_matter(tmp_path: Path, flag: np.ndarray, behind: bytes) -> None:
    """Telephones append one; its bytes may look like markers."""
    Image.fromarray(flag).save(tmp_path / "a.jpg")
    alone = read_image(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data + b"\0\0\0\x18ftypmp42" + behind + bytes(64))
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg"), alone)


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


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".bmp", ".gif"])
def test_a_broken_picture_is_told_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], flag: np.ndarray, suffix: str
) -> None:
    """OpenCV writes lines of its own to the standard error."""
    path = tmp_path / f"a{suffix}"
    Image.fromarray(flag).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadImage, match="is damaged, or of a format"):
        read_image(path)
    assert capfd.readouterr() == ("", "")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="cannot be read"):
        read_image(tmp_path)


@pytest.mark.parametrize(
    ("shrink", "reduction"), [(0.5, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (7.9, 4), (8.1, 8), (100, 8)]
)
def test_a_jpeg_is_reduced_as_far_as_it_will_be_shrunk(
    tmp_path: Path, flag: np.ndarray, shrink: float, reduction: int
) -> None:
    Image.fromarray(flag).save(tmp_path / "a.jpg")
    picture = read_reduced(tmp_path / "a.jpg", shrink)
    assert picture.reduction == reduction
    assert picture.pixels.shape == (48 // reduction, 96 // reduction, 3) and picture.pixels.flags.c_contiguous


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(240, 200), (237, 203)])
def test_pixels_of_a_reduced_jpeg_are_the_means_of_squares(
    tmp_path: Path, size: tuple[int, int], reduction: int
) -> None:
    """Also where a side is no multiple: pixel k covers [k r, (k + 1) r) and nothing is shifted."""
    y, x = np.mgrid[: size[0], : size[1]]
    slopes = np.stack([x, y, 255 - x], 2).astype(np.uint8)  # a shift by one pixel changes a value by 1
    Image.fromarray(slopes).save(tmp_path / "a.jpg", quality=100, subsampling=0)
    found = read_reduced(tmp_path / "a.jpg", reduction).pixels
    assert found.shape == (-(-size[0] // reduction), -(-size[1] // reduction), 3)
    rows, columns = size[0] // reduction, size[1] // reduction  # of whole squares
    whole = slopes[: rows * reduction, : columns * reduction]
    means = whole.reshape(rows, reduction, columns, reduction, 3).mean((1, 3))
    difference = found[:rows, :columns] - means
    # every value is rounded, and all means end in a half; a shift by a pixel of the file would be 1
    assert np.abs(difference).mean() < 0.6 and np.abs(difference.mean((0, 1))).max() < 0.45


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_are_reduced_to_rgb(tmp_path: Path, flag: np.ndarray, mode: str) -> None:
    Image.fromarray(flag).convert(mode).save(tmp_path / "a.jpg", quality=95)
    whole, half = read_image(tmp_path / "a.jpg"), read_reduced(tmp_path / "a.jpg", 2).pixels
    assert half.shape == (24, 48, 3)
    assert np.abs(half[[4, 12, 20], 24].astype(int) - centres(whole)).max() <= 2  # JPEG's rounding


def test_orientation_tag_is_ignored_in_reduced_pictures(tmp_path: Path, flag: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(flag).save(tmp_path / "a.jpg", exif=exif)
    assert read_reduced(tmp_path / "a.jpg", 4).pixels.shape == (12, 24, 3)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".bmp"])
def test_what_is_no_jpeg_is_read_whole(tmp_path: Path, flag: np.ndarray, suffix: str) -> None:
    Image.fromarray(flag).save(tmp_path / f"a{suffix}")
    picture = read_reduced(tmp_path / f"a{suffix}", 4)
    assert picture.reduction == 1 and picture.pixels.shape == flag.shape


def test_broken_jpegs_are_refused_at_any_size(tmp_path: Path, flag: np.ndarray) -> None:
    Image.fromarray(flag).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-30])
    with pytest.raises(BadImage, match="cut short"):
        read_reduced(tmp_path / "a.jpg", 4)


ALL = 10**9  # pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("most", [ALL, 1200])
def test_a_picture_is_turned_as_its_tag_says(tmp_path: Path, orientation: int, most: int) -> None:
    """As Pillow turns it; a shrunk one, too, and it has the size of the whole."""
    pixels = np.zeros((48, 96, 3), np.uint8)
    pixels[:24, :48], pixels[:24, 48:], pixels[24:, :48] = RED, GREEN, BLUE
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95, exif=exif)
    turns = {
        1: pixels, 2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1], 5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1), 7: np.rot90(pixels, 2).swapaxes(0, 1), 8: np.rot90(pixels),
    }  # fmt: skip
    wanted = turns[orientation]
    picture = read_upright(tmp_path / "a.jpg", most)
    assert (picture.height, picture.width) == wanted.shape[:2]
    step = 1 if most == ALL else 2
    assert picture.pixels.shape == (wanted.shape[0] // step, wanted.shape[1] // step, 3)
    corners = (slice(6 // step, None, wanted.shape[0] // 2 // step),) * 2  # one pixel in each quarter or more
    full = wanted[::step, ::step]
    assert np.abs(picture.pixels[corners].astype(int) - full[corners]).max() < 12


@pytest.mark.parametrize("suffix, size", [("jpg", (48, 24)), ("png", (69, 34))])
def test_a_huge_picture_is_shrunk(
    tmp_path: Path, flag: np.ndarray, suffix: str, size: tuple[int, int]
) -> None:
    """A JPEG by a whole factor while it is decoded, others to what is wanted."""
    Image.fromarray(flag).save(tmp_path / f"a.{suffix}")
    picture = read_upright(tmp_path / f"a.{suffix}", 2400)
    assert (picture.width, picture.height) == (96, 48)
    assert picture.pixels.shape[1::-1] == size and np.prod(size) <= 2400


def test_a_jpeg_is_shrunk_before_its_pixels_exist(
    tmp_path: Path, flag: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(flag).save(tmp_path / "a.jpg")
    decode, shapes = cv2.imdecode, []

    def seen(*arguments: object) -> np.ndarray:
        pixels = decode(*arguments)  # type: ignore[call-overload]
        shapes.append(pixels.shape)
        return pixels

    monkeypatch.setattr(cv2, "imdecode", seen)
    picture = read_upright(tmp_path / "a.jpg", 300)
    assert shapes == [(12, 24, 3)] == [picture.pixels.shape]
    assert (picture.width, picture.height) == (96, 48)
