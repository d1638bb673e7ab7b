"""Print the networks that there are: where each was published, its parameters and its arithmetic.

python -m src.models                     all, of their published size
python -m src.models hg simple           these
python -m src.models --measure           and how many images a second each sees on this machine
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from src.models import KNOWN, build
from src.utils.command import command
from src.utils.options import Parser, one_of, positive

HEAD = f"{'name':24}{'input':>6}{'parameters':>13}{'multiply-adds':>15}  "


@command
def main(argv: Sequence[str] | None = None) -> None:
    args = parse(sys.argv[1:] if argv is None else argv)
    if args.measure:
        print(how(args))
    print(HEAD + ("  images/s  " if args.measure else "") + "published by")
    for arch in args.names or KNOWN:
        row = KNOWN[arch]
        parameters, macs = size(arch)
        sizes = f"{arch:24}{row.input_res:6}{parameters:13,}{macs / 1e9:13.3f} G  "
        speed = f"{images_per_second(arch, args):10.3g}  " if args.measure else ""
        print(sizes + speed + row.paper, flush=True)


def parse(argv: Sequence[str]) -> Namespace:
    parser = Parser("Print the networks that there are, with their size when published.")
    parser.add_argument(
        "names", nargs="*", type=one_of(list(KNOWN)), metavar="NAME", help="only these networks"
    )
    parser.add_argument("--measure", action="store_true", help="add images a second on this machine")
    parser.add_argument("--device", default="auto", help="to measure on: auto, cpu, cuda, cuda:1, mps …")
    parser.add_argument(
        "--amp", choices=["none", "bf16", "fp16", "auto"], default="auto", help="precision to measure with"
    )
    parser.add_argument("--batch-size", type=positive, default=1, help="images at once, when measured")
    return parser.parse_strictly(argv)


def size(arch: str) -> tuple[int, int]:
    """Parameters of a network of its published size, and multiply-adds for one image, without its memory.

    Those of convolutions and matrices are counted, not of normalisation, pooling or interpolation.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    row = KNOWN[arch]
    with torch.device("meta"), torch.inference_mode():
        network = build(arch, row.num_joints).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # not counted, but most of the time on meta tensors
                module.forward = lambda x: x  # type: ignore[method-assign, assignment]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, row.input_res, row.input_res))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2


def images_per_second(arch: str, args: Namespace) -> float:
    """The median speed of inference with fresh weights, over at least a second and three batches."""
    import torch

    from src.utils.device import autocast, choose_device, place
    from src.utils.speed import best_channels_last, precision

    row, device = KNOWN[arch], choose_device(args.device)
    network = place(build(arch, row.num_joints), device, best_channels_last(device)[0]).eval()
    images = torch.rand(args.batch_size, 3, row.input_res, row.input_res, device=device)
    seconds: list[float] = []
    with torch.inference_mode(), autocast(device, precision(args.amp, device)):
        network(images)  # chooses its algorithms
        while len(seconds) < 3 or sum(seconds) < 1:
            start = perf_counter()
            network(images)[-1].sum().item()  # waits for the device
            seconds.append(perf_counter() - start)
    return args.batch_size / median(seconds)


def how(args: Namespace) -> str:
    """A line that says what is measured."""
    from src.utils.device import choose_device, describe
    from src.utils.speed import precision

    device = choose_device(args.device)
    amp = precision(args.amp, device)
    return f"{describe(device)}, {'float32' if amp == 'none' else amp}, {args.batch_size} at once"


if __name__ == "__main__":
    main()
