"""What names stand for, and frames as they are meant to be looked at."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from src.errors import UserError
from src.utils import sources
from src.utils.sources import Camera, PictureFile, Source, Video, find_sources
from tests.clips import RATE, moving, set_times, spot, write_clip


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names_of(found: list[Source]) -> list[str]:
    return [source.name.replace("\\", "/") for source in found]


def test_a_folder_stands_for_its_pictures_and_videos_in_the_order_of_their_names() -> None:
    for name in ("in/10.jpg", "in/9.JPG", "in/b.mp4", "in/.hidden.png", "in/notes.txt", "in/deep/c.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    found = find_sources(["in"])
    assert names_of(found) == ["in/9.JPG", "in/10.jpg", "in/b.mp4"]
    assert [type(source) for source in found] == [PictureFile, PictureFile, Video]
    assert names_of(find_sources(["in/[19]*", "in/**/c.png"])) == ["in/9.JPG", "in/10.jpg", "in/deep/c.png"]


@pytest.mark.parametrize("suffix", [".asf", ".VOB", ".mxf", ".3g2"])
def test_videos_of_rare_endings_are_no_damaged_pictures(suffix: str) -> None:
    write_clip(Path("a.avi"), moving(3)).rename(f"a{suffix}")
    (video,) = find_sources([f"a{suffix}"])
    assert len(list(video.frames())) == 3


def test_a_number_is_a_camera_unless_it_is_a_file() -> None:
    (camera,) = find_sources(["0"])
    assert isinstance(camera, Camera) and camera.live and camera.count is None
    Path("0").touch()
    assert isinstance(find_sources(["0"])[0], PictureFile)


def test_names_with_magic_letters_are_files_first() -> None:
    Path("a[1].png").touch()
    assert names_of(find_sources(["a[1].png"])) == ["a[1].png"]


def test_a_tilde_is_a_home_folder_or_part_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd() / "home"))
    for name in ("home/a.png", "~b.png", "~not.a.user/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    found = find_sources(["~/a.png", "~b.png", "~not.a.user/c.png", "~not.a.user/*.png"])
    assert [Path(source.name).name for source in found] == ["a.png", "~b.png", "c.png", "c.png"]
    with pytest.raises(UserError, match=r"there is no ~not\.a\.user/d\.png"):
        find_sources(["~not.a.user/d.png"])


def test_a_list_may_name_folders_and_stands_where_it_is_named() -> None:
    for name in ("a.png", "b.png", "in/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert names_of(find_sources(["b.png", "-", "a.png"], ["in\n", "\n"])) == ["b.png", "in/c.png", "a.png"]
    with pytest.raises(UserError, match="names nothing"):
        find_sources(["-"], ["\n"])


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "http://nowhere/a.jpg", ""], ids=len)
def test_what_means_nothing_is_said_in_one_line(name: str) -> None:
    with pytest.raises(UserError) as caught:
        find_sources([name])
    assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 400


def test_an_empty_name_is_not_the_present_folder() -> None:
    Path("a.png").touch()
    with pytest.raises(UserError, match="the name of a source is empty"):
        find_sources([""])


def test_a_pattern_of_folders_alone_means_nothing() -> None:
    Path("in/deep").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no file has a name like in/\*, only folders have"):
        find_sources(["in/*"])


def test_frames_of_a_picture() -> None:
    cv2.imwrite("a.png", spot(40, 30))
    (frame,) = PictureFile(Path("a.png")).frames()
    np.testing.assert_array_equal(frame.pixels, spot(40, 30))
    assert (frame.width, frame.height, frame.number, frame.seconds) == (320, 240, 0, 0.0)
    np.testing.assert_array_equal(frame.scale, [1, 1])


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_frames_of_a_video(suffix: str) -> None:
    images = moving(9)
    images[4] = np.dstack([spot(60, 60)[:, :, 0], images[0][:, :, 0] * 0, images[0][:, :, 0] * 0])  # blue
    video = Video(write_clip(Path(f"a.{suffix}"), images))
    assert (video.rate, video.count) == (RATE, 9)
    frames = list(video.frames())
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(9) / RATE, atol=1e-3)
    assert np.abs(frames[3].pixels.astype(int) - images[3]).mean() < 3  # it is compressed
    red, _, blue = frames[4].pixels[60, 60]
    assert blue > 200 and red < 50


@pytest.mark.skipif(os.name == "nt", reason="names have no colons there")
def test_a_name_is_no_address() -> None:
    """What stands before a colon, such as that of a time, FFmpeg takes for a protocol."""
    for name in ("2024-05-01T10:30:15.mp4", "concat:a.mp4"):
        write_clip(Path("a.mp4"), moving(3)).rename(name)
        assert len(list(Video(Path(name)).frames())) == 3


def test_the_rate_of_an_uneven_video_misses_no_frame() -> None:
    path = write_clip(Path("a.mp4"), moving(12))
    set_times(path, [2, 2, 6, 2, 2, 2, 8, 2, 2, 2, 2, 2])
    assert Video(path).rate == pytest.approx(RATE / 2)
    set_times(path, [20, 21, 19, 20, 20, 20, 21, 19, 20, 20, 20, 20])  # a little jitter does not count
    assert Video(path).rate == pytest.approx(RATE / 40, rel=0.01)


def test_a_high_rate_is_believed_where_frames_come_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a camera for fast motion; some files tell the ticks of their clock."""
    path = write_clip(Path("a.avi"), moving(12), rate=500.0)
    assert Video(path).rate == 500
    monkeypatch.setattr(sources, "_times", lambda _: iter(np.arange(12) / 10))
    assert Video(path).rate == pytest.approx(10)
    monkeypatch.setattr(sources, "_times", lambda _: iter(np.zeros(12)))
    assert Video(path).rate == sources.USUAL_RATE


def test_a_time_far_off_is_a_mistake_of_the_file() -> None:
    path = write_clip(Path("a.mp4"), moving(6))
    set_times(path, [1, 1, 1_000_000, 1, 1, 1])
    video = Video(path)
    times = np.array([frame.seconds for frame in video.frames()])
    np.testing.assert_allclose(times, np.arange(6) / video.rate, atol=1e-3)


def test_a_video_without_times_goes_on_at_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(Path("a.mp4"), moving(4))
    monkeypatch.setattr(sources, "_timed", lambda capture: ((0.0, image) for image in moving(4)))
    np.testing.assert_allclose([frame.seconds for frame in Video(path).frames()], np.arange(4) / RATE)


class Device:
    """A camera that gives three pictures and is then pulled out."""

    def __init__(self, number: int) -> None:
        self.left = 3

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Any]:
        self.left -= 1
        return self.left >= 0, spot(60, 60)

    def get(self, _: int) -> float:
        return 0.0

    def release(self) -> None:
        pass


def test_a_camera_that_is_pulled_out_keeps_what_it_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources.cv2, "VideoCapture", Device)
    got = []
    with pytest.raises(UserError, match="camera 1 gives no pictures any more"):
        for frame in Camera(1).frames():
            got.append(frame)
    assert [frame.number for frame in got] == [0, 1, 2]
    assert all(a.seconds <= b.seconds for a, b in pairwise(got))
