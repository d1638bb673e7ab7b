"""Score a network that gives coordinates, or stored predictions, by the protocol of a data set.

python test.py --exp name                                       best.pth, on the validation split
python test.py --checkpoint FILE --dataset mpii                 any checkpoint, on any data set
python test.py --predictions FILE --dataset mpii                predictions of others, without a network
"""

import sys
from collections.abc import Sequence

import opts

from src.utils.command import command


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = opts.parse_test(sys.argv[1:] if argv is None else argv)

    from src.utils.scoring import report, score_checkpoint, score_predictions

    report(score_predictions(args) if args.predictions else score_checkpoint(args, opts.TASK), args)


if __name__ == "__main__":
    main()
