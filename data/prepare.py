"""Make the files that a reader wants of what was downloaded, or check that all is there. No network is used.

python data/prepare.py DATASET --data-dir DIR            unpack, convert or build, once
python data/prepare.py DATASET --data-dir DIR --check    read everything; status 2 if something is wrong
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from src.datasets.readers import RELEASES
from src.errors import UserError
from src.utils.command import CommandParser, command
from src.utils.options import one_of

HERE = Path(__file__).resolve().parent


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument("dataset", type=one_of(list(RELEASES)), metavar="DATASET", help=", ".join(RELEASES))
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="its folder; none: data/<dataset>")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; say what is missing, unreadable or out of range"
    )
    options = parser.parse_args(argv)
    options.data_dir = options.data_dir or HERE / options.dataset
    return options


def prepare(dataset: str, data_dir: Path) -> None:
    """Prepare a release and say how many people each split then has."""
    from src.datasets import readers

    release = readers.release(dataset)
    print(release.prepare(data_dir))
    for split in release.splits:
        people = readers.read(dataset, data_dir, split)
        print(f"{people.name}: {len(people):,} people")


def check(dataset: str, data_dir: Path) -> None:
    """Print what a check finds; UserError if that is anything wrong."""
    from src.datasets.check import check as examine

    report = examine(dataset, data_dir)
    for line in (*report.facts, *report.problems):
        print(line)
    if report.problems:
        raise UserError(f"{dataset} in {data_dir} is not complete (problems above: {len(report.problems)})")
    print(f"{dataset} in {data_dir} is complete")


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = parse(argv)
    action = check if options.check else prepare
    action(options.dataset, options.data_dir)


if __name__ == "__main__":
    main()
