"""From cells of heatmaps to points in NumPy: the counterpart of `src.evaluation.decode` without PyTorch.

J maps, h x w each. A cell is its place in the flat map, -1 for none; cell k covers [k, k + 1).
"""

import numpy as np


def decode(heatmaps: np.ndarray, target_mass: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """As `src.evaluation.decode.decode`: points (B, J, 2) in cells and confidences (B, J), float32.

    heatmaps (B, J, h, w), h and w at least 3. target_mass: for maps of logits.
    """
    batch, joints = heatmaps.shape[:2]
    maps = heatmaps.reshape(-1, *heatmaps.shape[2:])
    cells = maps.reshape(len(maps), -1).argmax(1)[None]
    found = points(maps, cells).reshape(batch, joints, 2)
    if target_mass is not None:
        return found, np.minimum(as_targets(heatmaps, target_mass).max((2, 3)), np.float32(1))
    return found, heights(maps, cells).reshape(batch, joints)


def as_targets(heatmaps: np.ndarray, target_mass: float) -> np.ndarray:
    """As `src.evaluation.decode.as_targets`: what maps of logits (B, J, h, w) stand for."""
    parts = np.exp(heatmaps - heatmaps.max((2, 3), keepdims=True))
    return np.float32(target_mass) / parts.sum((2, 3), keepdims=True) * parts


def heights(heatmaps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The values (n, J) of the maps (J, h, w) at cells (n, J); 0 where there is none."""
    flat = heatmaps.reshape(len(heatmaps), -1)
    return np.where(cells < 0, np.float32(0), flat[np.arange(len(flat)), cells])


def points(heatmaps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Points (n, J, 2) float32 for cells (n, J): centres, moved a quarter; NaN for no cell."""
    count, height, width = heatmaps.shape
    y, x = np.divmod(cells, width)
    inner = (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    middle = y.clip(1, height - 2) * width + x.clip(1, width - 2)
    flat, joint = heatmaps.reshape(count, -1), np.arange(count)
    after, before = (flat[joint, np.stack([middle + step, middle + step * width])] for step in (1, -1))
    towards = np.subtract(after > before, after < before, dtype=np.float32)  # (2, n, J)
    found = np.stack([x, y]) + np.float32(0.5) + np.float32(0.25) * towards * inner
    return np.where(cells < 0, np.nan, found).transpose(1, 2, 0).astype(np.float32)
