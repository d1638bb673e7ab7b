"""The way from sources to files: in order, in bounded memory, with the right places."""

from collections.abc import Generator
from inspect import getgeneratorstate
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.errors import UserError
from src.utils import prediction
from src.utils.ahead import ahead
from src.utils.prediction import OVERLAY, Found, Plan, Seen, Writer, find, predict_all, see
from src.utils.sources import Camera, Frame, Source
from tests.clips import model, spot


class Clip(Source):
    """A video of so many frames that keeps count of how many were asked for."""

    def __init__(self, count: int, name: str = "clip", live: bool = False) -> None:
        super().__init__(name, name)
        self.frames_in_all, self.read, self.live = count, 0, live

    @property
    def rate(self) -> float:
        return 10.0

    @property
    def count(self) -> int:
        return self.frames_in_all

    def frames(self) -> Generator[Frame, None, None]:
        for number in range(self.frames_in_all):
            self.read += 1
            yield Frame(spot(20, 20, 64, 48), number, number / 10, 64, 48)


@pytest.mark.parametrize("calls", [1, 2])
@pytest.mark.parametrize("length", [40, 160])
def test_no_more_frames_wait_than_a_few_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, calls: int
) -> None:
    """Of a video of any length: those that are read, but not written yet."""
    clip, waiting = Clip(length), list[int]()
    write = Writer.write

    def counted(self: Writer, *arguments: object) -> np.ndarray:
        waiting.append(clip.read - len(waiting))
        return write(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Writer, "write", counted)
    outcome = predict_all(model(calls=calls), Plan([clip], tmp_path, views=(), batch_size=4))
    assert (outcome.frames, len(waiting)) == (length, length)
    # a batch that was read, two that are predicted or wait for that, one that is written, and one on its way
    assert max(waiting) <= 4 + 8 + 4 + 4


def test_many_sources_of_one_name_take_as_many_tries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    names = Plan._names
    monkeypatch.setattr(Plan, "_names", lambda plan, stem: tried.append(stem) or names(plan, stem))
    sources = [Clip(1, name) for name in ["clip", "CLIP", "clip-3"] * 100]
    paths = [each[OVERLAY].name for each in Plan(sources, tmp_path).paths()]
    assert paths[:6] == ["clip.mp4", "CLIP-2.mp4", "clip-3.mp4", "clip-4.mp4", "CLIP-5.mp4", "clip-3-2.mp4"]
    assert len({path.lower() for path in paths}) == 300 and len(tried) < 3 * 300


def test_a_batch_is_divided_among_calls_at_once(tmp_path: Path) -> None:
    """Each takes its share of the processors; a single picture has all of them."""
    finder, shares = model(calls=4), list[int]()
    finder.runner.share = shares.append  # type: ignore[method-assign]
    outcome = predict_all(finder, Plan([Clip(10)], tmp_path, views=(), batch_size=6))
    assert (outcome.frames, outcome.people) == (10, 10)
    assert finder.runner.batches == [2] * 5  # type: ignore[attr-defined]
    assert set(shares[:-1]) == {4} and shares[-1] == 1
    shares.clear()
    predict_all(finder, Plan([Clip(1)], tmp_path, views=(), batch_size=6))
    assert set(shares) == {1}


def test_a_video_that_comes_live_is_looked_at_frame_by_frame(tmp_path: Path) -> None:
    finder = model()
    clip = Clip(20, live=True)
    outcome = predict_all(finder, Plan([clip], tmp_path, views=(), batch_size=8))
    assert 1 <= outcome.frames <= 20
    assert set(finder.runner.batches) == {1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("live", [False, True])
def test_a_source_is_let_go_when_enough_frames_were_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    """At once, and not when the garbage collector comes by: each generator is held here."""
    opened = list[Generator[Frame, None, None]]()

    class Held(Clip):
        def frames(self) -> Generator[Frame, None, None]:
            opened.append(super().frames())
            return opened[-1]

    def held(*arguments: Any, **words: Any) -> Generator[Any, None, None]:
        opened.append(ahead(*arguments, **words))
        return opened[-1]

    monkeypatch.setattr(prediction, "ahead", held)
    plan = Plan([Held(10**6, live=live), Clip(1)], tmp_path, frames=3)
    frames = see(plan)
    assert [each.frame.number for each in frames if isinstance(each, Seen)][3:] == [0]  # of the next one
    assert len(opened) == 1 + live
    assert [getgeneratorstate(each) for each in opened] == ["GEN_CLOSED"] * len(opened)


def test_troubles_come_in_their_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    class Broken(Clip):
        def frames(self) -> Generator[Frame, None, None]:
            yield from super().frames()
            raise UserError("it breaks off")

    outcome = predict_all(model(), Plan([Broken(3, "a"), Clip(2, "b")], tmp_path, views=(OVERLAY,)))
    assert (outcome.frames, outcome.people) == (5, 5)
    assert [(each.place, str(each.error)) for each in outcome.troubles] == [(0, "it breaks off")]
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.mp4", "b.mp4", "predictions.csv", "predictions.json",
    }  # fmt: skip


def test_an_error_of_the_network_ends_all(tmp_path: Path) -> None:
    finder = model()

    def fail(*_: object) -> None:
        raise MemoryError

    finder.runner.joints = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(MemoryError):
        predict_all(finder, Plan([Clip(3)], tmp_path))
    assert (tmp_path / "predictions.json").read_text() == "[\n]\n"


def test_how_many_frames_there_are(tmp_path: Path) -> None:
    clips = [Clip(30), Clip(5)]
    assert Plan(clips, tmp_path).count == 35
    assert Plan(clips, tmp_path, frames=10).count == 15
    assert Plan([*clips, Camera(0)], tmp_path).count is None
    assert Plan([*clips, Clip(0)], tmp_path).count is None  # a video that does not tell
    assert Plan([*clips, Camera(0)], tmp_path, frames=10).count == 25
    assert Plan([*clips, Clip(0)], tmp_path, frames=10).count is None


@pytest.mark.parametrize("everybody", [False, True])
@pytest.mark.parametrize("threshold, is_drawn", [(0.5, True), (0.95, False)])
def test_joints_below_the_threshold_are_not_drawn_but_written(
    tmp_path: Path, everybody: bool, threshold: float, is_drawn: bool
) -> None:
    """The score of all is 0.9."""
    plan, (found,) = Plan([Clip(1)], tmp_path, threshold=threshold), find(model(), Plan([Clip(1)], tmp_path))
    assert isinstance(found, Found)
    writer = Writer(plan, model(multi_person=everybody))
    drawn = writer.write(found, False)
    writer.close()
    assert (drawn != spot(20, 20, 64, 48)).any() == is_drawn
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 2


def test_a_camera_ends_where_its_frames_have_no_such_boxes(tmp_path: Path) -> None:
    def nowhere(image_id: int, frame: Frame) -> None:
        raise UserError("the box lies outside")

    clip = Clip(5, live=True)
    with pytest.raises(UserError, match="the box lies outside"):
        predict_all(model(), Plan([clip], tmp_path, views=()), nowhere)
