"""From cells of heatmaps to points in NumPy: the counterpart of `src.evaluation.decode` without PyTorch.

J maps, h x w each. A cell is its place in the flat map, -1 for none; cell k covers [k, k + 1).
"""

import math

import numpy as np

LEAST = 1e-10  # of what a logarithm is taken of, as in the code of DARK


def decode(
    heatmaps: np.ndarray, target_mass: float | None = None, dark_sigma: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `src.evaluation.decode.decode`: points (B, J, 2) in cells and confidences (B, J), float32.

    heatmaps (B, J, h, w), h and w at least 3. target_mass: for maps of logits. dark_sigma: for DARK.
    """
    batch, joints = heatmaps.shape[:2]
    maps = heatmaps.reshape(-1, *heatmaps.shape[2:])
    cells = maps.reshape(len(maps), -1).argmax(1)[None]
    if dark_sigma is None:
        found = points(maps, cells)
    else:
        y, x = np.divmod(cells[0], maps.shape[2])
        shifts = _dark_shifts(maps, x, y, dark_sigma if target_mass is None else None)
        found = (np.stack([x, y], 1) + np.float32(0.5) + shifts).astype(np.float32)
    found = found.reshape(batch, joints, 2)
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


def _dark_shifts(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: float | None) -> np.ndarray:
    """As `src.evaluation.decode.dark_shifts`: (J, 2), for maps (J, h, w) and their highest cells (J,)."""
    height, width = heatmaps.shape[1:]
    with np.errstate(all="ignore"):  # of what is no peak, which is left out in the end
        logarithm = _around(heatmaps, x, y, 2) if sigma is None else np.log(_smoothed(heatmaps, x, y, sigma))
        (north, south), (west, east) = logarithm[:, [1, 3], 2].T, logarithm[:, 2, [1, 3]].T
        gx, gy, middle = (east - west) / 2, (south - north) / 2, logarithm[:, 2, 2]
        gxx = (logarithm[:, 2, 4] - 2 * middle + logarithm[:, 2, 0]) / 4
        gyy = (logarithm[:, 4, 2] - 2 * middle + logarithm[:, 0, 2]) / 4
        gxy = (logarithm[:, 3, 3] - logarithm[:, 1, 3] - logarithm[:, 3, 1] + logarithm[:, 1, 1]) / 4
        determinant = gxx * gyy - gxy**2
        shift = np.stack([gxy * gy - gyy * gx, gxy * gx - gxx * gy], 1) / determinant[:, None]
    inner = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    is_peak = inner & (gxx < 0) & (determinant > 0) & (np.abs(shift) <= 1).all(1)
    return np.where(is_peak[:, None], shift, np.float32(0))


def _around(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray, reach: int) -> np.ndarray:
    """The cells up to `reach` from one of each map: (J, 2 reach + 1, 2 reach + 1), 0 beyond the border."""
    padded = np.pad(heatmaps, ((0, 0), (reach, reach), (reach, reach)))
    steps = np.arange(2 * reach + 1)
    rows, columns = (y[:, None] + steps)[:, :, None], (x[:, None] + steps)[:, None, :]
    return padded[np.arange(len(padded))[:, None, None], rows, columns]


def _smoothed(heatmaps: np.ndarray, x: np.ndarray, y: np.ndarray, sigma: float) -> np.ndarray:
    """The 5 x 5 cells around one of each map, smoothed by a Gaussian: (J, 5, 5), positive."""
    reach = math.ceil(3 * sigma)
    steps = np.arange(-2 - reach, 3 + reach, dtype=np.float32)
    distance = steps - steps[reach : reach + 5, None]
    weights = np.exp(-(distance**2) / np.float32(2 * sigma**2)) * (np.abs(distance) <= reach)
    weights /= weights[0].sum()
    return np.maximum(weights @ _around(heatmaps, x, y, 2 + reach) @ weights.T, np.float32(LEAST))
