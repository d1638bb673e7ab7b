"""How well confidence tells absent joints: precision over recall, for the predictions of several runs.

    python tools/occlusion.py exp/hgpose/a/preds.h5 --dataset lspet --data-dir DIR --out figure.png
    python tools/occlusion.py a.h5 b.h5 --dataset mpii --data-dir DIR --hidden --joints Knee --out figure.pdf

Files are those that test.py writes, with the highest value of each joint's heatmap. A joint counts as found
absent where that is low, or with --by mean the mean of its heatmap, of files of test.py --save-heatmaps.
Prints average precisions beside the share of absent joints, what guessing reaches.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src.datasets.readers import RELEASES
from src.errors import UserError, suggest
from src.utils import options as groups
from src.utils.command import command, note
from src.utils.curves import COLOURS, STYLE, SUFFIXES, save_figure, take_literally
from src.utils.files import writable_folder, write_json
from src.utils.options import Parser, path, positive

if TYPE_CHECKING:
    from src.datasets.skeletons import Skeleton
    from src.evaluation.occlusion import Curve

_NO_SPREAD = 1e-2  # float16 rounds the small values of a heatmap

Curves = dict[str, "Curve"]  # by the name of a group of joints


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = get_options(sys.argv[1:] if argv is None else argv)
    labels = options.labels or [_label(file) for file in options.predictions]
    if len(set(labels)) < len(labels):
        raise UserError(
            f"several files are called {max(labels, key=labels.count)}: --labels tells them apart"
        )
    runs = dict(zip(labels, curves_of(options), strict=True))
    writable_folder(options.out.parent)
    draw(runs, options.out)
    if options.json:
        averages = {
            label: {name: curve.average for name, curve in run.items()} for label, run in runs.items()
        }
        write_json(options.json, {"average_precision": averages})
    print(table(runs), flush=True)
    note(f"wrote {options.out}")


def get_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("Draw how well the confidence of networks tells joints that cannot be seen.")
    build(parser)
    options = parser.parse_strictly(argv)
    if options.out.suffix.lower() not in SUFFIXES:
        raise UserError(f"--out {options.out} must end in one of {', '.join(SUFFIXES)}")
    if options.labels and len(options.labels) != len(options.predictions):
        count = len(options.predictions)
        raise UserError(f"--labels names {len(options.labels)} files, but there are {count}")
    return options


def build(parser: Parser) -> None:
    """Add the options to a parser."""
    parser.add_argument("predictions", nargs="+", type=path, metavar="FILE", help="preds.h5 or preds.mat")
    parser.add_argument("--split", default="valid", choices=("train", "valid", "test"), help="they are of")
    parser.add_argument(
        "--by", default="peak", choices=("peak", "mean"),
        help="what is low where a joint is absent, of its heatmap; means are of files with heatmaps",
    )  # fmt: skip
    parser.add_argument("--hidden", action="store_true", help="hidden joints are absent, too")
    parser.add_argument(
        "--joints", nargs="+", metavar="NAME", help="groups or joints: Knee, left wrist; none: all groups"
    )
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="names to show, one a file")
    parser.add_argument("--out", type=Path, required=True, help="figure to write: " + ", ".join(SUFFIXES))
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the averages as JSON too")
    parser.add_argument(
        "--input-res", type=positive, default=256, help="for which synthetic pictures were drawn"
    )
    groups.add_data_options(parser, ["synth", *RELEASES])
    groups.add_release_options(parser)


def _label(file: Path) -> str:
    """The name of the experiment for its predictions, else that of the file."""
    return file.parent.name if file.stem in ("preds", "final_preds") else file.stem


def curves_of(options: argparse.Namespace) -> list[Curves]:
    """The curves of each file, of the groups of joints that are asked for and have absent ones."""
    import numpy as np

    from src.datasets.people import open_people
    from src.evaluation.occlusion import absent, precision_recall
    from src.evaluation.predictions import read_predictions, release_origin
    from src.evaluation.protocols import Truth

    truth = Truth.of(open_people(options, options.split, None, options.input_res))
    is_absent = absent(truth.visible, options.hidden)
    found: list[Curves] = []
    for file in options.predictions:
        origin, by_mean = release_origin(options.dataset), options.by == "mean"
        stored = read_predictions(file, len(is_absent), truth.skeleton, origin, by_mean)
        if stored.skeleton.joints != truth.skeleton.joints:
            raise UserError(f"{file} has the joints of {stored.skeleton.name}, {truth.name} has others")
        if (stored.score == stored.score.flat[0]).all():
            raise UserError(f"{file} has no confidences; those of heatmap networks, by test.py, have some")
        if by_mean and np.ptp(stored.score) < _NO_SPREAD * stored.score.max():
            raise UserError(f"{file}: all heatmaps have the same mean, as those of --loss softmax do")
        members = _members(options.joints, truth.skeleton)
        each = {
            name: precision_recall(stored.score[:, joints].ravel(), is_absent[:, joints].ravel())
            for name, joints in members.items()
        }
        found.append({name: curve for name, curve in each.items() if curve})
    if not any(found):
        what = "unlabelled or hidden" if options.hidden else "unlabelled; --hidden counts hidden ones"
        raise UserError(f"{truth.name}: no such joint is {what}")
    return found


def _members(wanted: Sequence[str] | None, skeleton: "Skeleton") -> dict[str, list[int]]:
    """The joints of each name: a group of the skeleton, or a single joint."""
    known = {name: list(joints) for name, joints in skeleton.groups.items()}
    singles = {name: [joint] for joint, name in enumerate(skeleton.joints)}
    for name in wanted or ():
        if name not in known | singles:
            there = suggest(name, [*known, *singles])
            raise UserError(f"--joints: {skeleton.name} has no {name!r}{there}; groups: {', '.join(known)}")
    return {name: (known | singles)[name] for name in wanted or known}


def draw(runs: dict[str, Curves], out: Path) -> None:
    """Write a figure with a panel for each group: precision over recall, a colour a run, guessing dashed."""
    import matplotlib
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for run in runs.values() for name in run))
    across = min(len(names), 4)
    down = -(-len(names) // across)
    with matplotlib.rc_context(STYLE):
        size = (max(2.3 * across, 4.5), 2.2 * down + 0.4)
        figure = Figure(figsize=size, dpi=200, layout="constrained")
        panels = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
        for panel, name in zip(panels, names, strict=False):
            for run, colour in zip(runs.values(), COLOURS * len(runs), strict=False):
                if name in run:
                    curve = run[name]
                    panel.plot(100 * curve.recall, 100 * curve.precision, color=colour)
                    panel.axhline(100 * curve.share, color="#909090", linestyle="--", linewidth=0.8)
            panel.set_title(name)
            panel.set(xlim=(0, 100), ylim=(0, 100))
        for panel in panels[len(names) :]:
            panel.remove()
        for panel in panels[max(0, len(names) - across) : len(names)]:  # nothing is below
            panel.tick_params(labelbottom=True)
        figure.supxlabel("recall, %", fontsize=9)
        figure.supylabel("precision, %", fontsize=9)
        lines = [
            panels[0].plot([], [], color=colour)[0]
            for colour, _ in zip(COLOURS * len(runs), runs, strict=False)
        ]
        lines.append(panels[0].plot([], [], color="#909090", linestyle="--", linewidth=0.8)[0])
        legend = figure.legend(lines, [*runs, "guessing"], loc="outside upper center", ncols=4, frameon=False)
        take_literally(legend)
        save_figure(figure, out)


def table(runs: dict[str, Curves]) -> str:
    """Average precisions in percent, a row a run, above the shares of absent joints."""
    names = list(dict.fromkeys(name for run in runs.values() for name in run))
    shares = {name: curve.share for run in runs.values() for name, curve in run.items()}
    values = {label: {name: curve.average for name, curve in run.items()} for label, run in runs.items()}
    rows = [["average precision, %", *names]]
    for label, row in (values | {"guessing": shares}).items():
        rows.append([label, *(f"{100 * row[name]:.1f}" if name in row else "–" for name in names)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


if __name__ == "__main__":
    main()
