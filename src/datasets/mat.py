"""Whether a MATLAB file is built as its format says.

SciPy's compiled reader takes that for granted: some wrong types and lengths of a damaged file lead it astray,
and then no error comes of it, but the end of the process.

The format is that of "MAT-File Format" (MathWorks), level 5: elements with a type and a length, of which
matrices hold others. What is read here, and in which order, is what SciPy will read.
"""

import struct
import zlib
from collections.abc import Collection

HEADER = 128  # bytes before the first element
DEEPEST = 32  # matrices within matrices

_MATRIX, _COMPRESSED = 14, 15
_SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}  # of numbers
_CELL, _STRUCT, _CHAR = 1, 2, 4
_NUMBERS = range(6, 16)  # classes of matrices: double, single, and whole numbers of all sizes
_COMPLEX = 1 << 11
_TAG = 8  # bytes of a type and a length
_FLAGS, _AXES, _NO_NAME = (6, 8), (5, 8), (1, 0)  # tags of a short matrix
_LONGEST_NAME = 64
_MOST_AXES = 32


def check_mat(data: bytes, wanted: Collection[str]) -> None:
    """Raise ValueError, or zlib.error, unless the matrices of a file are whole, and the `wanted` ones within.

    Files of other versions pass: they are not read by compiled code, or not at all.
    """
    if len(data) < HEADER or 0 in data[:4]:
        return
    order = "<" if data[126:128] == b"IM" else ">"
    if data[125 if order == "<" else 124] != 1:
        return
    at = HEADER
    while at < len(data):
        kind, length = struct.unpack_from(f"{order}II", data, _within(data, at, _TAG))
        start, at = at, _within(data, at + _TAG, length) + length
        if kind == _COMPRESSED:
            # not zlib.decompress: real files lack the last bytes, which are a checksum
            content = zlib.decompressobj().decompress(data[start + _TAG : at])
            _Elements(content, 0, order).variable(wanted)
        else:
            _Elements(data, start, order).variable(wanted)


def _within(data: bytes, start: int, length: int) -> int:
    """`start`, from where `length` bytes must be there."""
    if start + length > len(data):
        raise ValueError("it ends too early")
    return start


class _Elements:
    """The elements of a file one after the other, from a place on."""

    def __init__(self, data: bytes, at: int, order: str) -> None:
        self.data, self.at = data, at
        self._tag = struct.Struct(f"{order}II")
        self._whole = struct.Struct(f"{order}i")
        self._short = struct.Struct(f"{order}12I")
        self._big = order == ">"

    def variable(self, wanted: Collection[str]) -> None:
        """A matrix with a name; it is looked into if it is wanted."""
        if self._next_tag()[0] != _MATRIX:
            raise ValueError("a variable is no matrix")
        self._matrix(0, wanted)

    def _next_tag(self) -> tuple[int, int]:
        kind, length = self._tag.unpack_from(self.data, _within(self.data, self.at, _TAG))
        self.at += _TAG
        return kind, length

    def _numbers(self) -> memoryview:
        """The next element, which must be of numbers; its bytes."""
        kind, length = self._next_tag()
        packed = kind >> 16  # the length of an element that lies in its tag
        if packed:
            kind, length = kind & 0xFFFF, packed
            start = self.at - 4
        else:
            start = self.at
            self.at += -(-length // _TAG) * _TAG
        if kind not in _SIZES or length % _SIZES[kind] or (packed and length > 4):
            raise ValueError(f"an element has type {kind} and {length} bytes")
        return memoryview(self.data)[_within(self.data, start, length) : start + length]

    def _matrix(self, depth: int, wanted: Collection[str] | None = None) -> None:
        """What follows the tag of a matrix; `wanted` None: all of it."""
        if depth > DEEPEST:
            raise ValueError(f"matrices lie within each other more than {DEEPEST} times")
        flags = self._numbers()
        if len(flags) != 8:
            raise ValueError("the flags of a matrix are too short")
        bits = int.from_bytes(flags[:4], "big" if self._big else "little")
        count = self._count(self._numbers())
        name = bytes(self._numbers()).decode("latin1")
        if wanted is not None and name not in wanted:
            return
        kind = bits & 0xFF
        if kind in _NUMBERS or kind == _CHAR:
            for _ in range(2 if bits & _COMPLEX else 1):
                self._numbers()
        elif kind in (_CELL, _STRUCT):
            self._matrices(count * self._fields() if kind == _STRUCT else count, depth + 1)
        else:
            raise ValueError(f"a matrix has class {kind}")

    def _count(self, axes: memoryview) -> int:
        """How many values a matrix has, from the bytes of its lengths."""
        lengths = [length for (length,) in self._whole.iter_unpack(axes)]
        if not 2 <= len(lengths) <= _MOST_AXES or min(lengths) < 0:
            raise ValueError(f"a matrix has the shape {lengths}")
        count = 1
        for length in lengths:
            count *= length
        return count

    def _fields(self) -> int:
        """How many fields the values of a struct have."""
        size = self._numbers()
        length = self._whole.unpack(size)[0] if len(size) == self._whole.size else 0
        names = self._numbers()
        if not 0 < length <= _LONGEST_NAME or len(names) % length:
            raise ValueError("the names of a struct's fields have no length")
        return len(names) // length

    def _matrices(self, count: int, depth: int) -> None:
        """The next `count` matrices; empty ones may be tags alone."""
        _within(self.data, self.at, count * _TAG)
        for _ in range(count):
            kind, length = self._next_tag()
            if kind != _MATRIX:
                raise ValueError("a value of a cell or a struct is no matrix")
            if length and not self._short_matrix():
                self._matrix(depth)

    def _short_matrix(self) -> bool:
        """Pass by a matrix of numbers with two axes and no name, if that is what comes, and if it is whole.

        Nearly all matrices of a large file are such; here all tags of one are read at once.
        """
        if self.at + self._short.size > len(self.data):
            return False
        tags = self._short.unpack_from(self.data, self.at)
        flags, down, across, kind, length = tags[2], tags[6], tags[7], tags[10], tags[11]
        known = tags[:2] == _FLAGS and tags[4:6] == _AXES and tags[8:10] == _NO_NAME
        numbers = flags & 0xFF in _NUMBERS and not flags & _COMPLEX and max(down, across) < 1 << 31
        behind = self.at + self._short.size
        packed = kind >> 16
        if packed:
            kind, length = kind & 0xFFFF, packed
        else:
            behind += -(-length // _TAG) * _TAG
        size = _SIZES.get(kind)
        if not (known and numbers and size) or length % size or (packed > 4) or behind > len(self.data):
            return False
        self.at = behind
        return True
