"""From sources to files: people are found in pictures, videos and cameras, drawn, and written down.

Reading has a thread of its own, the network one or several, drawing and writing that of the caller. Between
them wait only a few frames, so a video of any length takes the same memory. All files are whole whenever a
run ends.

n people in a frame, J joints.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src import pose
from src.datasets.skeletons import Skeleton
from src.errors import UserError
from src.evaluation.grouping import People
from src.utils.ahead import ahead, side_by_side
from src.utils.command import note
from src.utils.files import require_free
from src.utils.growing import CsvTable, JsonList, VideoFile
from src.utils.pictures import PEOPLE, Colour, draw_people, maps_overlay, save_image, tags_overlay
from src.utils.progress import Progress
from src.utils.sources import Frame, PictureFile, Source
from src.utils.tracking import Sizes, Smoother, Tracker, extent

JSON, CSV = "predictions.json", "predictions.csv"
OVERLAY, HEATMAPS, TAGS = "", "heatmaps", "tags"  # what can be drawn, and what its file's name ends with

_PIXEL_DECIMALS, _SCORE_DECIMALS = 3, 4

Boxes = Callable[[int, Frame], list[pose.Box] | None]  # around the people in a frame that has a number
Show = Callable[[np.ndarray, bool], bool]  # a picture, whether it moves -> whether to go on


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    views: of OVERLAY, HEATMAPS and TAGS. threshold: joints of a lower score are not drawn, and neither are
    people whose mean is lower, where a network finds everybody. by_person: a colour for a person, instead of
    those for left and right. smooth: cutoff in Hz of the filter for videos. frames: of each source at most.
    """

    sources: Sequence[Source]
    folder: Path
    views: tuple[str, ...] = (OVERLAY,)
    flip_test: bool = True
    batch_size: int = 8
    threshold: float = 0.2
    by_person: bool = False
    smooth: float | None = None
    frames: int | None = None

    @property
    def live(self) -> bool:
        return any(source.live for source in self.sources)

    @property
    def count(self) -> int | None:
        """How many frames there are in all, None if that cannot be known."""
        counts = [self.frames if source.count is None else source.count for source in self.sources]
        if not all(counts):  # one without end, or a video that does not tell
            return None
        return sum(min(count, self.frames or count) for count in counts if count)

    def paths(self) -> list[dict[str, Path]]:
        """For each source the file of each view. Sources whose files would have the same name get numbers."""
        used: set[str] = set()
        numbers: dict[str, int] = {}  # up to which those of a stem are used
        found = []
        for source in self.sources:
            stem = source.stem.lower()
            number = numbers.get(stem, 1)
            names = self._names(source.stem if number == 1 else f"{source.stem}-{number}")
            while not used.isdisjoint(name.lower() for name in names):
                number += 1
                names = self._names(f"{source.stem}-{number}")
            numbers[stem] = number
            used.update(name.lower() for name in names)
            png = source.path is not None and source.path.suffix.lower() == ".png"
            suffix = ".mp4" if source.rate else ".png" if png else ".jpg"
            files = (self.folder / f"{name}{suffix}" for name in names)
            found.append(dict(zip(self.views, files, strict=True)))
        return found

    def _names(self, stem: str) -> list[str]:
        """What the files of the views are called, without suffix."""
        return [f"{stem}-{view}" if view else stem for view in self.views]

    def check(self, overwrite: bool) -> None:
        """UserError if a file is in the way, or would take the place of a source."""
        written = [path for paths in self.paths() for path in paths.values()]
        written += [self.folder / JSON, self.folder / CSV]
        sources = {source.path.resolve() for source in self.sources if source.path is not None}
        for path in written:
            if path.resolve() in sources:
                raise UserError(f"{path} is one of the sources; choose another --out")
            require_free(path, overwrite)


class Seen(NamedTuple):
    """A frame of the source at a place, and the number that it has in results."""

    place: int
    image_id: int
    frame: Frame


class Found(NamedTuple):
    """The people in a frame: joints in its `pixels`. boxes: where they were looked for, if not everywhere."""

    seen: Seen
    people: People
    boxes: list[pose.Box] | None
    maps: list[pose.Maps]


class Trouble(NamedTuple):
    """Why a source ended before its end."""

    place: int
    error: UserError


class Outcome(NamedTuple):
    """How many frames were seen, how many people found in them, and what went wrong.

    faint: how many of the people were not drawn, below the threshold. joints: how many the others have;
    drawn: how many of these reach the threshold.
    """

    frames: int
    people: int
    faint: int
    joints: int
    drawn: int
    troubles: list[Trouble]


def _drawn(people: People, plan: Plan, model: pose.Model) -> np.ndarray:
    """Of whom something is drawn (n,) bool: where a network finds everybody, of whom it is sure enough."""
    return (people.person_score if model.multi_person else people.score.max(1, initial=0)) >= plan.threshold


def whole_picture(image_id: int, frame: Frame) -> None:
    """Boxes of a frame that is looked at as a whole: none."""


def predict_all(
    model: pose.Model, plan: Plan, boxes: Boxes = whole_picture, show: Show | None = None
) -> Outcome:
    """Do what is planned. What cannot be read is told, left out, and in the outcome.

    boxes: in pixels of the whole picture; None where the whole picture is looked at. Raises UserError if
    something cannot be written. However this ends, Ctrl-C included, the files hold what was done.
    """
    frames, people, faint, joints, drawn = 0, 0, 0, 0, 0
    troubles: list[Trouble] = []
    with ExitStack() as stack:
        writer = stack.enter_context(closing(Writer(plan, model)))
        results = stack.enter_context(closing(find(model, plan, boxes)))
        progress = stack.enter_context(Progress("predict", plan.count))
        for result in results:
            if isinstance(result, Trouble):
                if troubles and troubles[-1].place == result.place:  # the same of each frame
                    continue
                troubles.append(result)
                if len(plan.sources) > 1:
                    note(f"skipped: {result.error}")
                continue
            picture = writer.write(result, bool(show))
            frames, people = frames + 1, people + len(result.people.joints)
            sure = _drawn(result.people, plan, model)
            faint += int((~sure).sum())
            scores = result.people.score[sure]
            joints, drawn = joints + scores.size, drawn + int((scores >= plan.threshold).sum())
            progress.advance(lambda: f"{people} people")  # noqa: B023, it is called at once
            if show is not None and not show(picture, plan.sources[result.seen.place].rate is not None):
                break
    return Outcome(frames, people, faint, joints, drawn, troubles)


# ------------------------------------------------------------------------------------------------- finding


def find(
    model: pose.Model, plan: Plan, boxes: Boxes = whole_picture
) -> Generator[Found | Trouble, None, None]:
    """The people in all frames, in order; reading goes on in one thread, the network runs in others.

    A batch is divided among calls of the network that go on at once: processors that share a call wait for
    each other in every layer, and all of them for one that draws a frame.
    """
    runner, batch_size = model.runner, 1 if plan.live else plan.batch_size
    calls = min(runner.calls, batch_size, plan.count or batch_size)
    size = -(-batch_size // calls)
    with closing(ahead(see(plan), batch_size)) as frames:
        parts = iter(lambda: list(islice(frames, size)), [])
        find_part, share = partial(_find, model, plan, boxes), partial(runner.share, calls)
        try:
            with closing(side_by_side(find_part, parts, calls, share)) as found:
                yield from chain.from_iterable(found)
        finally:
            runner.share(1)


def see(plan: Plan) -> Generator[Seen | Trouble, None, None]:
    """The frames of all sources, in order."""
    ids = _ids_in_names(plan.sources)
    count = 0
    for place, source in enumerate(plan.sources):
        try:
            with closing(_opened(source)) as frames:
                for frame in islice(frames, plan.frames):
                    count += 1
                    yield Seen(place, ids[place] if ids else count, frame)
        except UserError as error:
            count += isinstance(source, PictureFile)  # the next ones keep their numbers
            yield Trouble(place, error)


def _opened(source: Source) -> Generator[Frame, None, None]:
    """The frames of a source, of one that is live always the newest; it is let go when this is closed."""
    return ahead(source.frames(), 1, newest=True) if source.live else source.frames()


def _ids_in_names(sources: Sequence[Source]) -> list[int] | None:
    """The numbers that are names of pictures, as COCO's are; None if others or equal ones are among them."""
    if not all(isinstance(source, PictureFile) and source.stem.isdecimal() for source in sources):
        return None
    ids = [int(source.stem) for source in sources]
    return ids if len(set(ids)) == len(ids) else None


def _find(
    model: pose.Model, plan: Plan, boxes: Boxes, batch: Sequence[Seen | Trouble]
) -> list[Found | Trouble]:
    """The people in some frames, in order."""
    asked = [each if isinstance(each, Trouble) else _with_boxes(plan, boxes, each) for each in batch]
    known = [each for each in asked if not isinstance(each, Trouble)]
    within = [None if own is None else scaled(own, 1 / seen.frame.scale) for seen, own in known]
    pixels = [seen.frame.pixels for seen, _ in known]
    found = pose.predict_many(model, pixels, within, plan.flip_test, plan.batch_size)
    looked = zip(within, found, strict=True)
    results: list[Found | Trouble] = []
    for each in asked:
        if isinstance(each, Trouble):
            results.append(each)
            continue
        seen, own = each
        inside, people = next(looked)
        views = [pose.maps(model, seen.frame.pixels, box) for box in _wanted(plan, inside)]
        results.append(Found(seen, _stacked(people, model.skeleton), own, views))
    return results


def _with_boxes(plan: Plan, boxes: Boxes, seen: Seen) -> tuple[Seen, list[pose.Box] | None] | Trouble:
    """A frame and where people are in it; or why its source has no such boxes."""
    try:
        return seen, boxes(seen.image_id, seen.frame)
    except UserError as error:
        if plan.live:  # a camera would go on without end
            raise
        return Trouble(seen.place, UserError(f"{plan.sources[seen.place].name}: {error}"))


def scaled(boxes: Sequence[pose.Box], factors: np.ndarray) -> list[pose.Box]:
    """Boxes in a picture whose width and height are multiplied by two factors."""
    across, down = factors.tolist()
    return [(x * across, y * down, width * across, height * down) for x, y, width, height in boxes]


def _wanted(plan: Plan, boxes: list[pose.Box] | None) -> Sequence[pose.Box | None]:
    """Of what parts of a picture maps are to be drawn."""
    if HEATMAPS not in plan.views and TAGS not in plan.views:
        return []
    return [None] if boxes is None else boxes


def _stacked(people: Sequence[pose.Pose], skeleton: Skeleton) -> People:
    """Poses as arrays; a person's score is the mean of the joints', 0 for those not found.

    Nor is a joint found whose score is no number, as those of a network are that has diverged.
    """
    joints = np.array([each.joints for each in people], np.float32).reshape(-1, skeleton.num_joints, 2)
    scores = np.array([each.score for each in people], np.float32).reshape(-1, skeleton.num_joints)
    lost = ~np.isfinite(scores)
    joints[lost], scores[lost] = np.nan, 0
    return People(joints, scores, np.where(np.isfinite(joints).all(2), scores, 0).mean(1))


# ------------------------------------------------------------------------------------------------- writing


class Writer:
    """Writes down and draws what was found; the frames of a source come one after the other."""

    def __init__(self, plan: Plan, model: pose.Model) -> None:
        self._plan, self._paths = plan, plan.paths()
        self._skeleton, self._model = model.skeleton, model
        self._rows = JsonList(plan.folder / JSON)
        self._table = CsvTable(plan.folder / CSV, columns(self._skeleton))
        self._place = -1
        self._videos: dict[str, VideoFile] = {}

    def write(self, found: Found, shown: bool) -> np.ndarray:
        """Write down the people in a frame; returns it with them, if it is drawn or to be shown."""
        place, _, frame = found.seen
        if place != self._place:
            self._close_videos()
            self._place, self._tracker, self._sizes = place, Tracker(), Sizes()
            self._smoother = Smoother(self._plan.smooth or 1.0)
        source = self._plan.sources[place]
        numbers = list(range(1, len(found.people.joints) + 1))
        if source.rate is not None:
            numbers = self._tracker(found.people.joints)
            if self._plan.smooth is not None:
                smooth = self._smoother(found.people.joints, numbers, frame.seconds)
                found = found._replace(people=found.people._replace(joints=smooth))
        sizes = self._sizes_of(found, numbers, source.rate is not None)
        whole = found.people.joints * frame.scale.astype(np.float32)
        self._rows.extend(as_results(found, whole, numbers, source, self._skeleton))
        self._table.extend(as_rows(found, whole, numbers, source))
        drawn = frame.pixels
        for view in self._plan.views:
            image = self._draw(view, found, numbers, sizes)
            drawn = image if view == OVERLAY else drawn
            self._save(view, image, frame, source.rate)
        if shown and OVERLAY not in self._plan.views:
            drawn = self._draw(OVERLAY, found, numbers, sizes)
        return drawn

    def _sizes_of(self, found: Found, numbers: list[int], moving: bool) -> np.ndarray:
        """How large the people (n,) are in what is drawn of them; in a video without jumps."""
        people, threshold = found.people, self._plan.threshold
        pairs = zip(people.joints, people.score, strict=True)
        sizes = [extent(joints[score >= threshold]) for joints, score in pairs]
        return self._sizes(sizes, numbers, found.seen.frame.seconds) if moving else np.array(sizes)

    def _draw(self, view: str, found: Found, numbers: list[int], sizes: np.ndarray) -> np.ndarray:
        pixels = found.seen.frame.pixels
        if view == HEATMAPS:
            views = [(each.heatmaps, each.matrix) for each in found.maps]
            return maps_overlay(pixels, views, self._skeleton)
        if view == TAGS:
            (maps,) = found.maps
            assert maps.tags is not None, "asked of networks with tags alone"
            return tags_overlay(pixels, maps.heatmaps, maps.tags, maps.matrix)
        people, threshold = found.people, self._plan.threshold
        sure = _drawn(people, self._plan, self._model)
        colours = [self._colour(number) for number in np.array(numbers, int)[sure].tolist()]
        shown = People(*(part[sure] for part in people))
        return draw_people(
            pixels, shown, self._skeleton, threshold=threshold, sizes=sizes[sure], colours=colours, fade=True
        )

    def _colour(self, number: int) -> Colour | None:
        return PEOPLE[(number - 1) % len(PEOPLE)] if self._plan.by_person else None

    def _save(self, view: str, image: np.ndarray, frame: Frame, rate: float | None) -> None:
        path = self._paths[self._place][view]
        if rate is None:
            save_image(path, image)
            return
        if view not in self._videos:
            self._videos[view] = VideoFile(path, rate, image.shape[1], image.shape[0])
        self._videos[view].show(image, frame.seconds)

    def _close_videos(self) -> None:
        with ExitStack() as stack:  # all of them, even where one fails
            for video in self._videos.values():
                stack.callback(video.close)
            self._videos = {}

    def close(self) -> None:
        with ExitStack() as stack:
            stack.callback(self._rows.close)
            stack.callback(self._table.close)
            stack.callback(self._close_videos)


def columns(skeleton: Skeleton) -> list[str]:
    """The names of the columns of the table."""
    words = [joint.replace(" ", "_") for joint in skeleton.joints]
    own = [f"{word}_{what}" for word in words for what in ("x", "y", "score")]
    return ["file", "frame", "seconds", "person", "score", *own]


def as_rows(
    found: Found, joints: np.ndarray, numbers: Sequence[int], source: Source
) -> Iterator[list[object]]:
    """The rows of the table: a person each, in `joints` (n, J, 2). None for what there is not."""
    frame = found.seen.frame
    moment = [frame.number, round(frame.seconds, 4)] if source.rate is not None else [None, None]
    for place, number in enumerate(numbers):
        person: list[object] = []
        for (x, y), score in zip(joints[place].tolist(), found.people.score[place].tolist(), strict=True):
            known = np.isfinite(x) and np.isfinite(y)
            person += [_pixels(x), _pixels(y), _score(score)] if known else [None, None, None]
        yield [source.name, *moment, number, _score(found.people.person_score[place]), *person]


def as_results(
    found: Found, joints: np.ndarray, numbers: Sequence[int], source: Source, skeleton: Skeleton
) -> Iterator[dict[str, Any]]:
    """The people as COCO's results have them, in `joints` (n, J, 2), with more fields.

    keypoints holds x, y and score of each joint; one that was not found has score 0, and lies in the middle
    of the person's others, since pycocotools makes boxes of all. People without any joint are left out.
    """
    frame = found.seen.frame
    for place, number in enumerate(numbers):
        known = np.isfinite(joints[place]).all(1)
        if not known.any():
            continue
        points = np.where(known[:, None], joints[place], joints[place][known].mean(0))
        scores = np.where(known, found.people.score[place], 0)
        row: dict[str, Any] = {
            "image_id": found.seen.image_id,
            "category_id": 1,
            "keypoints": [
                value
                for (x, y), score in zip(points.tolist(), scores.tolist(), strict=True)
                for value in (_pixels(x), _pixels(y), _score(score))
            ],
            "score": _score(found.people.person_score[place]),
            "joints": list(skeleton.joints),
            "person": number,
            "file_name": source.name,
        }
        if found.boxes is not None:
            row["bbox"] = [_pixels(value) for value in found.boxes[place]]
        if source.rate is not None:
            row |= {"frame": frame.number, "seconds": round(frame.seconds, 4)}
        yield row


def _pixels(value: float) -> float:
    return round(float(value), _PIXEL_DECIMALS)


def _score(value: float) -> float:
    return round(float(value), _SCORE_DECIMALS)
