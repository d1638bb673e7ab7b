"""Records whose arrays lie in shared memory, so that loader workers, forked or spawned, do not copy them."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from src.errors import UserError

if TYPE_CHECKING:  # what only looks at names from here works without PyTorch
    import torch


class SharedRecord:
    """The base of frozen dataclasses of arrays: they get fixed types, are checked, and are then shared.

    DTYPES: the type of each field that is an array; None leaves it as it comes.
    """

    DTYPES: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            for field, dtype in self.DTYPES.items():
                array = np.asarray(getattr(self, field))
                if array.dtype.kind == "f" and np.dtype(dtype).kind == "i":
                    self._require_integers(field, array, np.iinfo(dtype).max)
                object.__setattr__(self, field, np.ascontiguousarray(array, dtype))
        self._check()
        for field in self.DTYPES:
            object.__setattr__(self, field, _share(getattr(self, field)))

    def _require_integers(self, field: str, array: np.ndarray, limit: int) -> None:
        """UserError for floats that cannot become integers up to a limit."""
        wrong = ~(np.abs(array) < limit)
        if wrong.any():
            row, name = np.argwhere(wrong)[0, 0], getattr(self, "name", "a record")
            raise UserError(f"{name}: {field} of row {row} is {array[wrong].flat[0]:g}, no whole number")

    def _check(self) -> None:
        """Raise UserError for arrays that do not fit together, or hold what cannot be used."""

    # Arrays travel to spawned workers as handles of their shared memory, not as copies.
    def __getstate__(self) -> dict[str, Any]:
        state = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {key: _memory(value) if key in self.DTYPES else value for key, value in state.items()} | {
            "dtypes": {key: (state[key].dtype.str, state[key].shape) for key in self.DTYPES}
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        layouts = state.pop("dtypes")
        for key, value in state.items():
            if key in layouts:
                dtype, shape = layouts[key]
                value = value.numpy().view(dtype).reshape(shape)
            object.__setattr__(self, key, value)


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _share(array: np.ndarray) -> np.ndarray:
    """The same array in shared memory; an empty one, which has none, as it is."""
    if not array.size:
        return array
    import torch

    memory = torch.from_numpy(_bytes(array).copy()).share_memory_()
    return memory.numpy().view(array.dtype).reshape(array.shape)


def _memory(array: np.ndarray) -> "torch.Tensor":
    """The tensor whose shared memory a whole array lies in; numpy keeps it as the base of its views."""
    import torch

    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return owner if isinstance(owner, torch.Tensor) else torch.from_numpy(_bytes(array).copy())
