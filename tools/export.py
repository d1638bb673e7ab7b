"""Write a checkpoint as an ONNX file, which runs without PyTorch, or as a small checkpoint to hand on.

    python tools/export.py exp/hgpose/demo/best.pth --out demo.onnx
    python tools/export.py best.pth --out best.onnx --decode --fp16
    python tools/export.py best.pth --out small.pth --fp16

The file is run beside the network before it is kept: it answers alike, or is not written. It holds all that
tools/predict.py and `src.pose` need to know; README.md beside this file tells what other programs find in it.
A .pth has the weights that are for use, and nothing of the training.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import UserError
from src.utils.command import CommandParser, command, note
from src.utils.files import replacing, require_free, writable_folder

if TYPE_CHECKING:
    import numpy as np

    from src.inference.agreement import Agreement, Run
    from src.models import LoadedModel

PICTURES = 4  # that file and network are compared on
RUNS = 7  # of which the median is the time


@command
def main(argv: Sequence[str] | None = None) -> None:
    options = get_options(sys.argv[1:] if argv is None else argv)
    export(options)


def get_options(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser(__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="of any task, such as best.pth")
    parser.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="new file to write, .onnx or .pth"
    )
    parser.add_argument(
        "--decode",
        action="store_true",
        help="give joints in pixels, too, or the highest peaks of each joint with their tags",
    )
    parser.add_argument(
        "--fp16",
        action="store_true",
        help="half the size: ONNX computes in float16, for GPUs; a .pth keeps its weights so",
    )
    parser.add_argument("--opset", type=int, default=17, metavar="N", help="version of ONNX, 13 to 20 (17)")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE if it is there already")
    options = parser.parse_args(argv)
    kind = options.out.suffix.lower()
    if kind not in (".onnx", ".pth"):
        raise UserError(f"--out {options.out} must end in .onnx or .pth")
    if kind == ".pth" and options.decode:
        raise UserError("--decode is for ONNX: who opens a .pth decodes by themselves")
    if not 13 <= options.opset <= 20:
        raise UserError(f"--opset is 13 to 20, not {options.opset}")
    if options.out.resolve() == options.checkpoint.resolve():
        raise UserError(f"{options.out} is the checkpoint itself; choose another --out")
    require_free(options.out, options.overwrite)
    missing = [package for package in ("onnx", "onnxruntime") if find_spec(package) is None]
    if missing and kind == ".onnx":
        raise UserError(f"exporting needs {' and '.join(missing)}: pip install -e '.[export]'")
    return options


def export(options: argparse.Namespace) -> None:
    """Read the checkpoint, write the file if it answers alike, say how alike and how fast."""
    from src import models
    from src.inference.agreement import runs

    loaded = models.load(options.checkpoint)
    writable_folder(options.out.parent)
    write = write_weights if options.out.suffix.lower() == ".pth" else write_onnx
    agreement = write(loaded, options)
    size = f"{loaded.input_res} px"
    print(f"{options.checkpoint}: {loaded.arch}, {len(loaded.skeleton['joints'])} joints, {size}")
    print(f"outputs: at most {agreement.outputs:.1e} of the largest value apart")
    ties = f"; {agreement.undecided} more have no clear maximum" if agreement.undecided else ""
    print(f"joints: at most {agreement.joints:.3f} px apart, of {agreement.compared}{ties}")
    if write is write_onnx:
        for name, run in runs(loaded, options.out.read_bytes(), str(options.out)):
            alone, together = (speed(run, loaded.input_res, batch) for batch in (1, PICTURES))
            print(f"{name} on this CPU: {alone:.1f} images/s one at a time, {together:.1f} by {PICTURES}")
    note(f"wrote {options.out} ({options.out.stat().st_size / 1e6:.1f} MB)")


def write_onnx(loaded: "LoadedModel", options: argparse.Namespace) -> "Agreement":
    """Write the ONNX file; returns how far it agrees with the network. UserError if too little."""
    from src.inference.agreement import compare
    from src.inference.exporting import to_onnx

    content = to_onnx(loaded, options.decode, options.fp16, options.opset)
    agreement = compare(loaded, content, pictures(loaded), str(options.out))
    with replacing(options.out) as part:
        part.write_bytes(content)
    return agreement


def write_weights(loaded: "LoadedModel", options: argparse.Namespace) -> "Agreement":
    """The same for a checkpoint of the network alone, its convolutions in float16 with --fp16."""
    from src import models
    from src.inference.agreement import compare_networks
    from src.models.checkpoint import describe, save_checkpoint

    state = describe(loaded.network, loaded.skeleton, loaded.input_res, loaded.target_mass)
    if options.fp16:  # what is small is left as it is: variances may be too small or large for float16
        state["model"] = {
            name: value.half() if value.ndim > 1 else value for name, value in state["model"].items()
        }
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / options.out.name
        save_checkpoint(first, state)
        written = models.load(first)
    agreement = compare_networks(loaded, written, pictures(loaded), options.fp16, str(options.out))
    save_checkpoint(options.out, state)
    return agreement


def pictures(loaded: "LoadedModel") -> "np.ndarray":
    """Crops of drawn people: (PICTURES, R, R, 3) uint8."""
    import numpy as np

    from src.datasets import affine
    from src.datasets.skeletons import MPII
    from src.datasets.synth import ENLARGE, SynthPeople

    side = loaded.input_res
    drawn = SynthPeople("valid", PICTURES, MPII, side)
    people = [drawn.person(index) for index in range(PICTURES)]
    matrices = [affine.crop_matrix(person.center, ENLARGE * person.scale, side) for person in people]
    return np.stack(
        [
            affine.warp(person.read(1).pixels, matrix, side)
            for person, matrix in zip(people, matrices, strict=True)
        ]
    )


def speed(run: "Run", side: int, batch: int) -> float:
    """Images a second."""
    import torch

    images = torch.rand(batch, 3, side, side)
    run(images)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(images)
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


if __name__ == "__main__":
    main()
