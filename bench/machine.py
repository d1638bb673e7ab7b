"""What the figures were measured on."""

import platform
from pathlib import Path


def describe(device: str) -> dict[str, str | int]:
    """Processor, cores that this process may use, threads, versions and device, each in words or a number."""
    import cv2
    import torch

    from src.datasets.workers import cores
    from src.utils import device as devices
    from src.utils.speed import best_amp

    amp, why = best_amp(torch.device("cpu"))
    bf16 = f", {why}" if amp == "bf16" else ""
    versions = {"Python": platform.python_version(), "torch": torch.__version__, "OpenCV": cv2.__version__}
    return {
        "processor": f"{_processor()} ({torch.backends.cpu.get_cpu_capability()}{bf16})",
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(terse=True),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "device": devices.describe(devices.choose_device(device)),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
