"""A page about runs that opens in any browser, offline: curves, scores, errors, pictures, options.

    python tools/report.py hgpose/a                               writes exp/hgpose/a/report.html
    python tools/report.py hgpose/a advpose/c --out both.html     side by side
    python tools/report.py hgpose/a --samples 0                   logs and options alone

Predictions for the validation split of each data set that a run learnt from are taken from the run's folder,
where test.py or --final-predictions have left them; else its best network is run on some of the people. The
file has 5 to 8 MB. Needs Plotly: pip install -e '.[report]'.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from src.errors import UserError
from src.utils.command import command
from src.utils.files import writable_folder
from src.utils.options import ROOT, Parser, count, positive
from src.utils.runs import find_run, label_of


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = get_options(sys.argv[1:] if argv is None else argv)
    folders = [find_run(name, options.exp_dir) for name in options.runs]
    labels = options.labels or [label_of(folder) for folder in folders]
    out = options.out or folders[0] / "report.html"

    from src.utils.report.findings import Settings  # slow: it reads predictions and runs networks
    from src.utils.report.write import require_plotly, write_report

    require_plotly()
    writable_folder(out.parent)
    if out.is_dir() or not os.access(out.parent, os.W_OK):  # said before minutes of work, and not after
        raise UserError(
            f"{out} cannot be written: {'it is a folder' if out.is_dir() else 'permission denied'}"
        )
    settings = Settings(options.samples, options.pictures, options.anew, options.device, options.workers)
    write_report(folders, labels, out, settings)


def get_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser("Write a page about runs: curves, scores, errors, pictures, options.")
    parser.add_argument("runs", nargs="+", metavar="TASK/NAME", help="runs, or paths of their folders")
    parser.add_argument(
        "--out", type=Path, metavar="HTML", help="none: report.html in the folder of the only run"
    )
    parser.add_argument("--exp-dir", type=Path, default=ROOT / "exp", metavar="DIR", help="where runs lie")
    parser.add_argument("--labels", nargs="+", metavar="TEXT", help="names to show, one a run")
    parser.add_argument(
        "--samples", type=count, default=300, metavar="N",
        help="people, or pictures with several, to run the network on where no predictions are stored;"
        " 0: leave predictions out",
    )  # fmt: skip
    parser.add_argument("--anew", action="store_true", help="run the network even if predictions are stored")
    parser.add_argument(
        "--pictures", type=positive, default=6, metavar="N", help="of the best, of typical and of the worst"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    parser.add_argument(
        "--workers", type=count, default=2, help="processes that prepare data, one a core at most; 0: none"
    )
    options = parser.parse_strictly(argv)
    if options.out is None and len(options.runs) > 1:
        raise UserError("--out says where the report about several runs goes, such as --out report.html")
    if options.out and options.out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {options.out} must end in .html")
    if options.labels and len(options.labels) != len(options.runs):
        raise UserError(f"--labels names {len(options.labels)} runs, but there are {len(options.runs)}")
    return options


if __name__ == "__main__":
    main()
