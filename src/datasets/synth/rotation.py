"""Rotations as unit quaternions (..., 4), scalar first: turned about their own axes, blended, made
matrices.
"""

import numpy as np

X, Y, Z = 0, 1, 2
IDENTITY = np.array((1.0, 0.0, 0.0, 0.0))
# A quaternion times the unit quaternion of each axis, as a matrix that it is multiplied with from the right.
_TIMES_AXIS = np.zeros((3, 4, 4))
for _axis, _entries in enumerate(
    (((0, 1, 1), (1, 0, -1), (2, 3, -1), (3, 2, 1)), ((0, 2, 1), (2, 0, -1), (1, 3, 1), (3, 1, -1)),
     ((0, 3, 1), (3, 0, -1), (1, 2, -1), (2, 1, 1)))
):  # fmt: skip
    for _from, _to, _sign in _entries:
        _TIMES_AXIS[_axis, _from, _to] = _sign


def spin(quaternion: np.ndarray, axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """Frames (..., 4) turned about one of their own axes by angles that broadcast against them: (..., 4)."""
    half = np.asarray(degrees)[..., None] * (np.pi / 360)
    return quaternion * np.cos(half) + (quaternion @ _TIMES_AXIS[axis]) * np.sin(half)


def blend(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A share (...) of the way from one turn to the other: the normalised line between quaternions."""
    towards = share * np.sign((first * second).sum(-1) + 1e-12)
    mixed = first * (1 - share)[..., None] + second * towards[..., None]
    return mixed / np.sqrt((mixed * mixed).sum(-1, keepdims=True))


def _products_to_matrix() -> np.ndarray:
    """The linear map from the 16 products of a quaternion's numbers to the 9 entries of its matrix."""
    table = np.zeros((3, 3, 4, 4))
    w, x, y, z = range(4)
    for (row, column), terms in {
        (0, 0): ((y, y, -2), (z, z, -2)), (0, 1): ((x, y, 2), (w, z, -2)), (0, 2): ((x, z, 2), (w, y, 2)),
        (1, 0): ((x, y, 2), (w, z, 2)), (1, 1): ((x, x, -2), (z, z, -2)), (1, 2): ((y, z, 2), (w, x, -2)),
        (2, 0): ((x, z, 2), (w, y, -2)), (2, 1): ((y, z, 2), (w, x, 2)), (2, 2): ((x, x, -2), (y, y, -2)),
    }.items():  # fmt: skip
        for a, b, factor in terms:
            table[row, column, a, b] += factor
    return table.reshape(9, 16).T


_TO_MATRIX = _products_to_matrix()
_UNIT = np.eye(3)


def matrix(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of unit quaternions (..., 4)."""
    shape = quaternion.shape[:-1]
    products = quaternion[..., :, None] * quaternion[..., None, :]
    return _UNIT + (products.reshape(-1, 16) @ _TO_MATRIX).reshape(*shape, 3, 3)
