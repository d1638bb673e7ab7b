"""Find people in pictures, videos and cameras with a trained network; draw them, and write their joints down.

    python tools/predict.py best.pth picture.jpg holiday/ walk.mp4 --out found
    python tools/predict.py best.pth picture.jpg --box 40 10 120 300 --out found
    python tools/predict.py best.onnx 0 --show --out found          a camera; needs no PyTorch
    find . -name '*.png' | python tools/predict.py best.pth - --out found
    python tools/predict.py picture.jpg --out found       the network that ships, in hgpose/pretrained

A network for one person looks at the whole picture, unless --box, --detections or a detector of torchvision
whose weights are on this machine say where people are; a network of associative embedding finds everybody.
"""

import argparse
import io
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import UserError
from src.pretrained import shipped
from src.utils.command import command, ended_by_signals, note
from src.utils.files import writable_folder
from src.utils.options import AMP, BEST, NEWEST, OPTIONS_FILE, Parser, path, positive, positive_real, share

if TYPE_CHECKING:  # slow to import: options are checked without them
    from src import pose
    from src.utils.detector import Detector
    from src.utils.prediction import Boxes, Outcome, Plan, Show
    from src.utils.sources import Frame

WITHOUT_TORCH = ".onnx"
CHECKPOINTS = (".pth", ".pt", WITHOUT_TORCH)  # how their names end; anything else is something to look at
PERSON = 1  # COCO's category


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = get_options(sys.argv[1:] if argv is None else argv)
    plan = make_plan(options)
    with ExitStack() as stack:
        show = open_window(stack) if options.show else None
        model, boxes = open_model(options)
        by_person = model.multi_person if options.colours == "auto" else options.colours == "people"
        plan = replace(plan, by_person=by_person)
        writable_folder(options.out)
        tell(plan, predict(model, plan, boxes, show), options.detections)


def get_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("Find people in pictures and videos, draw them, and write their joints down.")
    parser.add_argument(
        "checkpoint", nargs="?", metavar="CHECKPOINT",
        help="best.pth of a run of any task, the folder of a run, or a file of tools/export.py (.onnx);"
        " without one, the network that ships is taken",
    )  # fmt: skip
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="pictures, folders, patterns, videos, the number of a camera, or - for a list of these, one a"
        " line, on standard input",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=path, required=True, metavar="DIR",
        help="where overlays, predictions.json and predictions.csv go",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    where = parser.add_argument_group("where people are", "for networks that find one person")
    where.add_argument(
        "--box", type=float, nargs=4, action="append", metavar=("X", "Y", "W", "H"),
        help="in pixels, of every picture; give it several times for several people",
    )  # fmt: skip
    where.add_argument(
        "--detections", type=path, metavar="FILE",
        help="boxes in COCO's format of results; image_id is the number that is a picture's name, or if not"
        " all names are numbers the picture's place, from 1",
    )  # fmt: skip
    where.add_argument(
        "--detector", default="auto", metavar="NAME",
        help="a detector of torchvision whose weights are in PyTorch's cache; auto: the best that is there;"
        " none: look at whole pictures",
    )  # fmt: skip
    where.add_argument("--box-threshold", type=share, default=0.5, help="score that boxes must have")
    drawing = parser.add_argument_group("drawing")
    drawing.add_argument(
        "--overlays", action=argparse.BooleanOptionalAction, default=True, help="draw people"
    )
    drawing.add_argument("--heatmaps", action="store_true", help="draw where joints are seen, too")
    drawing.add_argument("--tags", action="store_true", help="draw whose joints they are taken for, too")
    drawing.add_argument("--threshold", type=share, default=0.2, help="score of the joints that are drawn")
    drawing.add_argument(
        "--colours", choices=("auto", "sides", "people"), default="auto",
        help="left orange and right blue, or a colour a person; auto: people if the network finds everybody",
    )  # fmt: skip
    drawing.add_argument("--show", action="store_true", help="show what is drawn in a window, too")
    video = parser.add_argument_group("video")
    video.add_argument(
        "--smooth", type=positive_real, nargs="?", const=1.0, metavar="HZ",
        help="take jitter out of joints; less is smoother (1)",
    )  # fmt: skip
    video.add_argument("--frames", type=positive, metavar="N", help="stop a video or camera after so many")
    speed = parser.add_argument_group("speed")
    speed.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    speed.add_argument("--amp", choices=AMP, default="auto", help="mixed precision")
    speed.add_argument("--batch-size", type=positive, default=8, help="people or pictures looked at together")
    speed.add_argument(
        "--flip-test", action=argparse.BooleanOptionalAction, default=True,
        help="average with the mirrored picture: more precise, half as fast",
    )  # fmt: skip
    options = parser.parse_strictly(argv)
    words = [word for word in (options.checkpoint, *options.sources) if word is not None]
    options.checkpoint, options.sources = _told_apart(words)
    _check(options)
    return options


def _told_apart(words: Sequence[str]) -> tuple[str, list[str]]:
    """The checkpoint, by default that which ships, and the sources. UserError where one is missing."""
    first, *others = words
    if (Path(first) / BEST).is_file():  # the folder of a run
        first = str(Path(first) / BEST)
    elif (Path(first) / OPTIONS_FILE).is_file():
        newest = Path(first) / NEWEST
        raise UserError(f"run {first} has no {BEST} yet; {newest} has its newest weights, once it is there")
    if any(map(_is_checkpoint, others)):
        raise UserError(f"{next(filter(_is_checkpoint, others))}: one checkpoint comes first, and no other")
    if not _is_checkpoint(first):
        path = str(shipped())
        note(f"the network is {path}, which ships with this project; to use another, name it first")
        return path, [first, *others]
    if not others:
        raise UserError(f"{first} comes first, then what to look at, such as {first} picture.jpg")
    if not Path(first).is_file():
        raise UserError(f"there is no checkpoint {first}; it comes first, then what to look at")
    return first, others


def _is_checkpoint(word: str) -> bool:
    return Path(word).suffix.lower() in CHECKPOINTS


def _check(options: argparse.Namespace) -> None:
    """UserError for options that do not go together."""
    given = _where_given(options)
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} say where people are; only one of them can")
    for x, y, width, height in options.box or []:
        if not (width > 0 and height > 0 and max(map(abs, (x, y, width, height))) < float("inf")):
            raise UserError(f"--box {x:g} {y:g} {width:g} {height:g} has no area; it is X Y WIDTH HEIGHT")


def make_plan(options: argparse.Namespace) -> "Plan":
    """What is to be done; UserError if sources are missing or files in the way."""
    from src.utils.prediction import HEATMAPS, OVERLAY, TAGS, Plan
    from src.utils.sources import find_sources

    wanted = {OVERLAY: options.overlays, HEATMAPS: options.heatmaps, TAGS: options.tags}
    plan = Plan(
        sources=find_sources(options.sources, listed()),
        folder=options.out,
        views=tuple(view for view, is_wanted in wanted.items() if is_wanted),
        flip_test=options.flip_test,
        batch_size=options.batch_size,
        threshold=options.threshold,
        smooth=options.smooth,
        frames=options.frames,
    )
    plan.check(options.overwrite)
    return plan


def listed() -> Iterable[str]:
    """The lines of the standard input, names of files of any bytes; none where it is closed."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # as Python reads what is typed
    return sys.stdin or ()


def open_window(stack: ExitStack) -> "Show":
    """A window that closes with the stack."""
    from src.utils.window import Window

    return stack.enter_context(closing(Window())).show


def open_model(options: argparse.Namespace) -> tuple["pose.Model", "Boxes"]:
    """The network, and how it is known where people are; UserError for what does not suit the network."""
    from src import pose
    from src.utils.prediction import whole_picture

    try:
        model = pose.load(options.checkpoint, options.device, options.amp)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{options.checkpoint} needs {error.name}, which is not installed; a file of tools/export.py"
            " needs onnxruntime alone"
        ) from None
    if options.heatmaps and not model.runner.has_maps:
        raise UserError(f"--heatmaps: {options.checkpoint} gives coordinates, and no heatmaps")
    if not model.multi_person:
        if options.tags:
            raise UserError(f"--tags: {options.checkpoint} finds one person, and gives no tags")
        return model, find_boxes(options)
    if given := _where_given(options):
        raise UserError(f"{given[0]}: {options.checkpoint} finds everybody by itself, and takes no boxes")
    return model, whole_picture


def _where_given(options: argparse.Namespace) -> list[str]:
    """The options typed that say where people are."""
    asked = {
        "--box": options.box,
        "--detections": options.detections,
        "--detector": options.detector not in ("auto", "none"),
    }
    return [name for name, value in asked.items() if value]


def find_boxes(options: argparse.Namespace) -> "Boxes":
    """What says where people are: --box, --detections, a detector, or nothing; the last two are told."""
    from src.utils.prediction import scaled, whole_picture

    if options.box:
        return lambda image_id, frame: boxes_within(frame, options.box)
    if options.detections:
        by_picture = read_detections(options.detections, options.box_threshold)
        return lambda image_id, frame: by_picture.get(image_id, [])
    detector = open_detector(options)
    if detector is not None:
        note(f"people are looked for by torchvision's {detector.name}; --detector none: one person a picture")
        return lambda image_id, frame: scaled(detector(frame.pixels, options.box_threshold), frame.scale)
    note("each picture is taken for one person as a whole; --box or --detections tell where people are")
    return whole_picture


def boxes_within(frame: "Frame", boxes: Sequence[Sequence[float]]) -> list["pose.Box"]:
    """The boxes as they are; UserError for one that shows nothing of the picture."""
    for x, y, width, height in boxes:
        if not (x < frame.width and y < frame.height and x + width > 0 and y + height > 0):
            raise UserError(
                f"--box {x:g} {y:g} {width:g} {height:g} lies outside of a picture of {frame.width} x"
                f" {frame.height} pixels"
            )
    return [(x, y, width, height) for x, y, width, height in boxes]


def open_detector(options: argparse.Namespace) -> "Detector | None":
    """The detector that is asked for, or at hand; none beside an exported network, which needs no PyTorch."""
    exported = Path(options.checkpoint).suffix.lower() == WITHOUT_TORCH
    if options.detector == "none" or (exported and options.detector == "auto"):
        return None
    try:
        from src.utils.detector import find_detector
    except ModuleNotFoundError as error:
        raise UserError(f"--detector needs {error.name}, which is not installed") from None
    return find_detector(options.detector, options.device)


def read_detections(file: Path, least: float) -> dict[int, list["pose.Box"]]:
    """The boxes around people with a score of at least `least`, by picture. UserError for a damaged file."""
    try:
        from src.datasets.coco_json import load_boxes
    except ModuleNotFoundError as error:
        raise UserError(f"--detections needs {error.name}, which is not installed") from None
    found = load_boxes(file)
    by_picture: dict[int, list[pose.Box]] = {}
    chosen = (found.category == PERSON) & (found.score >= least) & (found.box[:, 2:] > 0).all(1)
    for image_id, box in zip(found.image_id[chosen].tolist(), found.box[chosen].tolist(), strict=True):
        by_picture.setdefault(image_id, []).append(tuple(box))
    return by_picture


def predict(model: "pose.Model", plan: "Plan", boxes: "Boxes", show: "Show | None") -> "Outcome":
    """Do what is planned; when it is interrupted, say where the rest is."""
    from src.utils.prediction import predict_all

    try:
        with ended_by_signals():
            return predict_all(model, plan, boxes, show)
    except (KeyboardInterrupt, SystemExit, UserError):
        note(f"what was finished is in {plan.folder}")
        raise


def tell(plan: "Plan", outcome: "Outcome", detections: Path | None) -> None:
    """Print what was found; `detections` said where people are. UserError if not all could be read."""
    print(f"people: {outcome.people}, pictures: {outcome.frames}, all in {plan.folder}", flush=True)
    if detections and outcome.frames and not outcome.people:
        note(
            f"{detections} has no box for any of these pictures: --help says what image_id is; boxes count"
            f" of category {PERSON}, a person, and of a score of --box-threshold and more"
        )
    if outcome.drawn < outcome.joints / 2:
        note(
            f"drawn: {outcome.drawn:,} of {outcome.joints:,} joints, those of --threshold {plan.threshold:g}"
            " and more; where people are small in their pictures, boxes help"
        )
    if outcome.faint:
        note(f"not drawn, below --threshold {plan.threshold:g}: {outcome.faint} of these people")
    if len(outcome.troubles) == len(plan.sources) == 1:
        raise outcome.troubles[0].error
    if outcome.troubles:
        raise UserError(
            f"{len(outcome.troubles)} of {len(plan.sources)} sources could not be read wholly; the others are"
            f" in {plan.folder}"
        )


if __name__ == "__main__":
    main()
