"""Read what `torch.save` wrote, such that nothing in the file can run.

Such a file holds one pickle, which describes nested containers, and the bytes of each tensor; it is a zip
archive, or, from PyTorch before 1.6, a row of pickles with the bytes behind them. A pickle is a program that may
call any function. Here a small machine interprets it that knows containers, numbers, texts and tensors,
and has no instruction that calls. All sizes are held against that of the file before memory is taken, every
tensor against its bytes, and every byte of an archive against the checksums, which `torch.load` does not test.
"""

import io
import math
import pickletools
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from torch import Tensor

ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001

# A pickle beyond these is an attack: with 8 stacks, averages and Adam's state it has 1 MB, 300,000 instructions.
MOST_BYTES, MOST_INSTRUCTIONS = 2**26, 4_000_000


class ForbiddenError(Exception):
    """The file holds something else than tensors and plain values; the text is its name."""


class Global(NamedTuple):
    """What a pickle names by "module.name". It stands for something that is known here, and cannot be called."""

    name: str


class Numbers(NamedTuple):
    """The type of a NumPy number, as a pickle describes it."""

    code: str


Load = Callable[[Any], Tensor]  # the bytes, (N,) uint8, of the storage that a pickle refers to


def load(file: BinaryIO) -> Any:
    """What was saved to `file`, its tensors on the CPU; NumPy's numbers become Python's.

    Raises ForbiddenError for other objects, MemoryError, and nearly anything for a damaged file.
    """
    is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    file.seek(0)
    return _load_zip(file) if is_zip else _load_legacy(file)


# the two formats


def _load_zip(file: BinaryIO) -> Any:
    records = _read_records(file)
    folder = next(iter(records)).split("/")[0]
    if any(not name.startswith(f"{folder}/") for name in records):
        raise ValueError("its records lie in several folders")
    order = records.get(f"{folder}/byteorder")
    if order is not None and order.numpy().tobytes() != sys.byteorder.encode():
        raise ValueError("it was written on a machine of the other byte order")

    def storage(key: Any) -> Tensor:
        return records[f"{folder}/data/{key}"]

    return _interpret(io.BytesIO(records[f"{folder}/data.pkl"].numpy().tobytes()), storage)


def _read_records(file: BinaryIO) -> dict[str, Tensor]:
    """All records of an archive, bytes (N,) uint8 by name, checked against their sums."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise ValueError("its end is missing or damaged") from None
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its records have the same name")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its records are compressed, which torch.save never does")
    if sum(entry.file_size for entry in entries) > file.seek(0, io.SEEK_END):
        raise ValueError("its records are larger than the file")
    records = {}
    for entry in entries:
        memory = _memory(entry.file_size)
        with archive.open(entry) as record:
            _fill(memory, record)  # raises BadZipFile if the checksum is wrong
        records[entry.filename] = memory
    return records


def _load_legacy(file: BinaryIO) -> Any:
    magic, protocol, system = (_next_pickle(file) for _ in range(3))
    if (magic, protocol) != (LEGACY_MAGIC, LEGACY_PROTOCOL) or not system["little_endian"]:
        raise ValueError("its beginning is not that of a PyTorch file")
    storages: dict[Any, Tensor] = {}
    room = file.seek(0, io.SEEK_END)
    ...
