"""Print how fast this project is against the plain formulation of the same work, and write it as JSON.

python -m bench                          everything: half an hour
python -m bench evaluation record        these modules
python -m bench zoo --arch hg simple     of these networks
python -m bench step --device cuda --json gpu.json
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from bench import table
from bench.harness import Case, Measure, Options, Skipped, compare
from bench.machine import describe
from src.errors import UserError
from src.models import KNOWN
from src.utils.command import command
from src.utils.files import write_json
from src.utils.options import ROOT, Parser, one_of, path

MODULES = {
    "evaluation": "accuracy and PCK",
    "record": "the memory of annotations",
    "startup": "commands until they answer",
    "sample": "a training sample, from file to target",
    "scenes": "a multi-person training sample",
    "drawn": "drawn people, and those from a bank, by the number of processes",
    "associative": "the loss of associative embedding",
    "decoding": "people from heatmaps and tags, average precision",
    "branches": "pyramids and attention, against loops over modules",
    "step": "a training step, its memory",
    "inference": "networks in use, the flip test, exported files",
    "video": "a video from file to file, against its network alone",
    "zoo": "training and inference of every network: minutes",
    "adversarial": "an adversarial step, against the sum of its parts",
}


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(sys.argv[1:] if argv is None else argv)
    options = Options(args.device, args.lspet, args.coco, args.quick, args.arch)
    machine = describe(args.device)
    print(*(f"{key}: {value}" for key, value in machine.items()), "", table.head(), sep="\n", flush=True)
    rows: list[dict[str, Any]] = []
    for name in args.names or MODULES:
        for row in rows_of(name, options):
            print(table.line(row), flush=True)
            rows.append({"module": name} | as_json(row))
    goals = [row["met"] for row in rows if row.get("met") is not None]
    write_json(args.json, {"machine": machine, "quick": args.quick, "rows": rows})
    print(f"\n{sum(goals)} of {len(goals)} goals reached; figures: {args.json}")


def parse(argv: Sequence[str]) -> Namespace:
    modules = "; ".join(f"{name}: {what}" for name, what in MODULES.items())
    parser = Parser("Measure the speed of this project against the plain formulation of the same work.")
    parser.add_argument("names", nargs="*", type=one_of(list(MODULES)), metavar="NAME", help=modules)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    for dataset in ("lspet", "coco"):
        parser.add_argument(
            f"--{dataset}", type=path, default=ROOT / "data" / dataset, metavar="DIR", help="its folder"
        )
    parser.add_argument(
        "--arch", nargs="+", type=one_of(list(KNOWN)), default=[], metavar="NAME",
        help="networks for zoo; by default all",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: only roughly right")
    parser.add_argument(
        "--json", type=path, default=ROOT / "exp" / "bench.json", metavar="OUT", help="where figures go"
    )
    return parser.parse_strictly(argv)


def rows_of(name: str, options: Options) -> Iterator[Measure | Skipped]:
    """The rows of a module as they are measured; one that says why the rest of it is left out."""
    try:
        for item in import_module(f"bench.{name}").cases(options):
            yield compare(item, options.seconds) if isinstance(item, Case) else item
    except UserError as error:
        yield Skipped(name, str(error))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("bench", "src"):
            raise
        yield Skipped(name, f"the package {error.name} is not installed")


def as_json(row: Measure | Skipped) -> dict[str, Any]:
    """A row as plain values."""
    return row._asdict() if isinstance(row, Skipped) else asdict(row) | {"met": row.met}


if __name__ == "__main__":
    main()
