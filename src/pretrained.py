"""The network that ships with the project, for those who name none."""

from pathlib import Path

from src.errors import UserError

FOLDER = Path(__file__).resolve().parents[1] / "hgpose" / "pretrained"


def shipped() -> Path:
    """The checkpoint in FOLDER; of several the last by name. UserError if there is none."""
    files = sorted(FOLDER.glob("*.pth"))
    if not files:
        raise UserError(
            "no network ships with this copy (hgpose/pretrained): name a checkpoint, .pth or .onnx, or train"
            " one, such as cd hgpose && python train.py --exp first"
        )
    return files[-1]
