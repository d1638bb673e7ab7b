"""Score a multi-person network, or stored results, by the average precision of COCO.

python test.py --exp name                                       best.pth, on the validation split
python test.py --exp name --scales 2 1 0.5                      at several scales
python test.py --checkpoint FILE --dataset coco                 any checkpoint, on any data set
python test.py --predictions results.json --dataset coco        results of others, without a network
"""

import sys
from collections.abc import Sequence

import opts

from src.utils.command import command


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = opts.parse_test(sys.argv[1:] if argv is None else argv)

    from src.utils.scene_scoring import report, score_network, score_results

    report(score_results(args) if args.predictions else score_network(args, opts.TASK), args)


if __name__ == "__main__":
    main()
