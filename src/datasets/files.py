"""Opening the files of releases: damaged or foreign ones become one clear line; nothing in them is run.

SciPy and h5py are slow to import, and most runs need one of them or none: each function imports its own.
"""

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from src.datasets.mat import check_mat
from src.errors import UserError
from src.utils.files import replacing

_AGAIN = "download or copy it again"
_MOST_PACKED = 1100  # how much smaller compression makes zeros
_LAST_CODE = 255


def load_mat(
    path: Path, fields: Sequence[str], optional: Sequence[str] = (), **options: Any
) -> dict[str, Any]:
    """The named variables of a MATLAB file (version 7 or older), and those of `optional` that it has.

    `options` are those of scipy.io.loadmat. Raises UserError if the file cannot be read or lacks one of
    `fields`.
    """
    import scipy.io

    try:
        data, wanted = path.read_bytes(), [*fields, *optional]
        check_mat(data, wanted)
        content = scipy.io.loadmat(io.BytesIO(data), variable_names=wanted, **options)
        content = {key: value for key, value in content.items() if not key.startswith("__")}
    except NotImplementedError:
        raise UserError(f"{path} is a MATLAB 7.3 file; save it from MATLAB with the option -v7") from None
    except Exception as error:  # scipy raises errors of many types on a damaged file, MemoryError among them
        raise UserError(f"{path} is damaged or no MATLAB file ({_line(error)}); {_AGAIN}") from None
    return _require(content, fields, path)


def load_h5(path: Path, fields: Sequence[str], optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The named arrays of an HDF5 file, and those of `optional` that it has.

    Raises UserError if the file cannot be read or lacks one of `fields`.
    """
    import h5py

    with read_h5(path) as file:
        found = [key for key in (*fields, *optional) if isinstance(file.get(key), h5py.Dataset)]
        for key in found:
            if file[key].nbytes > _MOST_PACKED * file[key].id.get_storage_size():
                raise ValueError(f"{key} claims to be larger than what is stored of it")
        content = {key: file[key][()] for key in found}
    return _require(content, fields, path)


@contextmanager
def read_h5(path: Path) -> Iterator[Any]:
    """An HDF5 file to read from; whatever goes wrong while it is open is a UserError."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except UserError:
        raise
    except Exception as error:  # h5py raises OSError, RuntimeError, KeyError or ValueError on a damaged file
        raise UserError(f"{path} is damaged or no HDF5 file ({_line(error)}); {_AGAIN}") from None


def load_json(path: Path, edit: Callable[[bytearray], None] | None = None) -> Any:
    """The content of a JSON file; UserError if it cannot be read.

    edit: changes its text before, and may leave line breaks within strings.
    """
    try:
        text = bytearray(path.read_bytes())
        if edit:
            edit(text)
        return json.loads(text, strict=edit is None)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or no JSON file ({_line(error)}); {_AGAIN}") from None


def load_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8 that are not empty; UserError if it cannot be read."""
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({_line(error)}); {_AGAIN}") from None


def save_h5(path: Path, content: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an HDF5 file: wholly, or not at all. UserError if the folder cannot be written."""
    with h5_file(path) as file:
        for key, array in content.items():
            file.create_dataset(key, data=array)


@contextmanager
def h5_file(path: Path) -> Iterator[Any]:
    """An HDF5 file to write to, as `replacing` has it. UserError if the folder cannot be written."""
    import h5py

    with replacing(path) as unfinished, h5py.File(unfinished, "w") as file:
        yield file


def append_h5(file: Any, key: str, rows: np.ndarray) -> None:
    """Add rows (n, …) to an array of an open HDF5 file, which is made if needed; each is packed by itself."""
    if key not in file:
        shape = rows.shape[1:]
        file.create_dataset(
            key, (0, *shape), rows.dtype, maxshape=(None, *shape), chunks=(1, *shape),
            compression="gzip", compression_opts=1, shuffle=True,
        )  # fmt: skip
    array = file[key]
    array.resize(len(array) + len(rows), axis=0)
    array[-len(rows) :] = rows


def save_mat(path: Path, content: Mapping[str, Any]) -> None:
    """Write arrays as a MATLAB file: wholly, or not at all. UserError if the folder cannot be written."""
    import scipy.io

    with replacing(path) as unfinished:
        scipy.io.savemat(unfinished, content, appendmat=False, do_compression=True, oned_as="column")


def unpack_zip(archive: Path, target: Path) -> None:
    """Unpack an archive as the folder `target`, wholly or not at all; a folder around everything is dropped.

    UserError if the archive is damaged or the disk is full.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as unfinished:
        folder = Path(unfinished, "content")
        try:
            with zipfile.ZipFile(archive) as content:
                content.extractall(folder)
            inside = list(folder.iterdir())
            os.replace(inside[0] if len(inside) == 1 and inside[0].is_dir() else folder, target)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{archive} is damaged or no zip archive ({_line(error)}); {_AGAIN}") from None
        except OSError as error:
            raise UserError(f"{archive} cannot be unpacked into {target}: {error.strerror}") from None


def check_shape(array: np.ndarray, shape: tuple[int | None, ...], what: str, path: Path) -> None:
    """UserError unless `array` holds numbers and has this shape; None stands for any length."""
    wanted = tuple(m if n is None else n for n, m in zip(shape, array.shape, strict=False))
    if array.ndim != len(shape) or array.shape != wanted or array.dtype.kind not in "biuf":
        expected = ", ".join("N" if n is None else str(n) for n in shape)
        raise UserError(
            f"{path}: {what} is {array.dtype} of shape {array.shape}, expected numbers of shape ({expected});"
            " is it the right file?"
        )


def check_codes(array: np.ndarray, codes: Sequence[int], what: str, path: Path) -> None:
    """UserError unless all numbers of `array` are among `codes`."""
    strange = array[~np.isin(array, codes)]
    if strange.size:
        known = ", ".join(map(str, codes))
        raise UserError(f"{path}: {what} is {strange[0]:g} once, not one of {known}; is it the right file?")


def check_names(names: Sequence[Any], what: str, path: Path) -> list[str]:
    """The names; UserError unless all are texts that are not empty."""
    strange = [place for place, name in enumerate(names) if not isinstance(name, str) or not name]
    if strange:
        raise UserError(f"{path}: {what} number {strange[0]} (from 0) is no name; is it the right file?")
    return list(names)


def encode_names(names: Sequence[str]) -> np.ndarray:
    """File names as (N,) bytes, in UTF-8; what that has no code for is replaced."""
    return np.array([name.encode(errors="replace") for name in names], np.bytes_)


def decode_names(names: np.ndarray, path: Path) -> np.ndarray:
    """File names as (N,) bytes, from bytes, strings or rows (N, L) of character codes that end in zeros."""
    if names.ndim == 2 and names.shape[1] and names.dtype.kind in "iuf":
        if not ((names >= 0) & (names <= _LAST_CODE)).all():
            raise UserError(f"{path}: imgname has numbers that are no character codes; is it the right file?")
        codes = names.astype(np.uint8)
        codes[np.logical_or.accumulate(codes == 0, axis=1)] = 0
        return np.ascontiguousarray(codes).view(f"S{codes.shape[1]}")[:, 0]
    if names.ndim == 1 and names.dtype.kind in "SUO":
        return names.astype(bytes) if names.dtype.kind == "S" else encode_names(_texts(names))
    raise UserError(
        f"{path}: imgname is {names.dtype} of shape {names.shape}, expected names or character codes"
    )


def _texts(names: np.ndarray) -> list[str]:
    """Names as HDF5 files hold them, text or bytes, as text."""
    return [n.decode(errors="replace") if isinstance(n, bytes) else str(n) for n in names.tolist()]


def _require(content: Mapping[str, Any], fields: Sequence[str], path: Path) -> dict[str, Any]:
    missing = [field for field in fields if field not in content]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}; is it the right file?")
    return dict(content)


def _line(error: Exception) -> str:
    """The first line of an error's text, or its type if it has none."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
