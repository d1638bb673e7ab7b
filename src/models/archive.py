"""Read what `torch.save` wrote, such that nothing in the file can run.

Such a file holds one pickle, which describes nested containers, and the bytes of each tensor: it is a zip
archive, or, from PyTorch before 1.6, a row of pickles with the bytes behind them. A pickle is a program that
may call any function. Here a small machine interprets it that knows containers, numbers, texts and tensors,
and has nothing else to call. Sizes are held against that of the file before memory is taken, every tensor
against its bytes, and every byte of an archive against the checksums, which `torch.load` does not test.
"""

import io
import math
import pickletools
import re
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

# Far beyond any network: 8 stacks with their average and Adam's state take 1 MB and 300,000 instructions.
MOST_BYTES, MOST_INSTRUCTIONS = 2**26, 4_000_000

CHUNK = 2**20  # bytes that are copied and summed up at a time, so that they are in the cache

Storage = Callable[[str, int], Tensor]  # key, bytes expected -> memory (N,) uint8


class ForbiddenError(Exception):
    """The file holds something else than tensors and plain values; the text names it."""


def load(file: BinaryIO) -> Any:
    """What was saved to `file`, its tensors on the CPU; parameters become tensors, NumPy's numbers Python's.

    Raises ForbiddenError for other objects, MemoryError, and nearly anything for a damaged file.
    """
    is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    file.seek(0)
    return _load_zip(file) if is_zip else _load_legacy(file)


# The two formats.


def _load_zip(file: BinaryIO) -> Any:
    records = _read_records(file)
    folder = next(iter(records)).split("/")[0]
    order = records.get(f"{folder}/byteorder")
    if order is not None and bytes(order.numpy()) != sys.byteorder.encode():
        raise ValueError("it comes from a machine of the other byte order")

    def storage(key: str, size: int) -> Tensor:
        return _of_size(records[f"{folder}/data/{key}"], key, size)

    return _interpret(io.BytesIO(bytes(records[f"{folder}/data.pkl"].numpy())), storage)


def _read_records(file: BinaryIO) -> dict[str, Tensor]:
    """The records of an archive by name, each (N,) uint8, held against their checksums."""
    try:
        archive = zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        raise ValueError("its end is missing or damaged") from None
    entries = archive.infolist()
    names = [entry.filename.split("/") for entry in entries]
    if len({entry.filename for entry in entries}) < len(entries):
        raise ValueError("two of its records have the same name")
    if any(".." in name or name[:1] != names[0][:1] for name in names):
        raise ValueError("its records do not lie in one folder")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its records are compressed, which those of torch.save never are")
    if sum(entry.file_size for entry in entries) > file.seek(0, io.SEEK_END):
        raise ValueError("its records would be larger than the file")
    records = {}
    for entry in entries:
        records[entry.filename] = _memory(entry.file_size)
        with archive.open(entry) as record:  # raises BadZipFile at its end if the checksum is wrong
            _fill(records[entry.filename], record)
    return records


def _load_legacy(file: BinaryIO) -> Any:
    room = file.seek(0, io.SEEK_END)
    file.seek(0)
    storages: dict[str, Tensor] = {}

    def storage(key: str, size: int) -> Tensor:
        nonlocal room
        if key not in storages:
            room -= size
            if room < 0:
                raise ValueError("its tensors would be larger than the file")
            storages[key] = _memory(size)
        return _of_size(storages[key], key, size)

    magic, protocol, system = (_next_pickle(file, storage) for _ in range(3))
    if (magic, protocol) != (LEGACY_MAGIC, LEGACY_PROTOCOL) or not system["little_endian"]:
        raise ValueError("its beginning is not that of a PyTorch file")
    content, keys = (_next_pickle(file, storage) for _ in range(2))
    if sorted(keys) != sorted(storages):
        raise ValueError("its list of tensors is wrong")
    for key in keys:
        file.seek(8, io.SEEK_CUR)  # the number of elements, which the pickle has told
        _fill(storages[key], file)
    return content


def _next_pickle(file: BinaryIO, storage: Storage) -> Any:
    start, text = file.tell(), io.BytesIO(file.read(MOST_BYTES))
    content = _interpret(text, storage)
    file.seek(start + text.tell())
    return content


def _memory(size: int) -> Tensor:
    """Memory of `size` bytes, with the alignment of tensors."""
    try:
        return torch.empty(size, dtype=torch.uint8)
    except RuntimeError:
        raise MemoryError from None


def _fill(memory: Tensor, file: Any) -> None:
    rest = memory.numpy().data
    while rest:
        done = file.readinto(rest[:CHUNK])
        if not done:
            raise ValueError("it is cut short")
        rest = rest[done:]


def _of_size(memory: Tensor, key: str, size: int) -> Tensor:
    if len(memory) != size:
        raise ValueError(f"its record {key} has {len(memory)} bytes, not {size}")
    return memory


# The machine.


class _Function(NamedTuple):
    """The name of a function in a pickle; what it makes is made here, in _FUNCTIONS."""

    name: str


class _NumberType(NamedTuple):
    """The type of a NumPy number, such as f8."""

    code: str


_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
           "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES"}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


def _interpret(text: BinaryIO, storage: Storage) -> Any:
    """What a pickle describes; `text` then stands at its end."""
    stack: list[Any] = []
    outer: list[list[Any]] = []  # the stacks below the marks
    memo: dict[Any, Any] = {}
    argument: Any
    for count, (opcode, argument, _) in enumerate(pickletools.genops(text)):
        if count > MOST_INSTRUCTIONS:
            raise ValueError("its description is too long")
        match opcode.name:
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "MEMOIZE":
                memo[len(memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case name if name in _VALUES:
                stack.append(argument)
            case name if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3" as name:
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "MARK":
                outer.append(stack)
                stack = []
            case "TUPLE":
                items, stack = stack, outer.pop()
                stack.append(tuple(items))
            case "APPEND":
                _extend(stack, [stack.pop()])
            case "APPENDS":
                items, stack = stack, outer.pop()
                _extend(stack, items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _update(stack, [key, value])
            case "SETITEMS":
                items, stack = stack, outer.pop()
                _update(stack, items)
            case "GLOBAL":
                stack.append(_named(argument.replace(" ", ".")))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                stack.append(_named(f"{module}.{attribute}"))
            case "REDUCE":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "BUILD":
                _check_state(stack.pop(), stack[-1])
            case "BINPERSID":
                stack.append(_stored(stack.pop(), storage))
            case "PROTO" | "FRAME" | "STOP":
                pass
            case name:
                raise ForbiddenError(f"the instruction {name} {argument or ''}".rstrip())
    return stack.pop()


def _extend(stack: list[Any], items: list[Any]) -> None:
    if type(stack[-1]) is not list:
        raise ValueError("it adds to what is no list")
    stack[-1].extend(items)


def _update(stack: list[Any], items: list[Any]) -> None:
    if type(stack[-1]) not in (dict, OrderedDict):
        raise ValueError("it adds to what is no dict")
    stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _named(name: str) -> torch.dtype | _Function:
    """The meaning of a name; that of a class of storages is its dtype."""
    if name in _FUNCTIONS:
        return _Function(name)
    if name in _DTYPES:
        return _DTYPES[name]
    raise ForbiddenError(name)


def _made(function: Any, arguments: Any) -> Any:
    if type(function) is not _Function or type(arguments) is not tuple:
        raise ValueError("it calls what is no function")
    return _FUNCTIONS[function.name](*arguments)


def _check_state(state: Any, made: Any) -> None:
    """What an object has beside its arguments: only a state dict's notes on its modules, and a byte order."""
    if type(made) is _NumberType:
        if state[1] not in ("<", "|", "="):
            raise ValueError("it comes from a machine of the other byte order")
    elif type(made) is not OrderedDict:
        raise ValueError("it gives a state to what has none")


def _stored(reference: Any, storage: Storage) -> Tensor:
    """The (N,) elements that a pickle refers to as ("storage", type, key, device, N)."""
    kind, dtype, key, _, count, *view = reference
    if kind != "storage":
        raise ForbiddenError("the code of a module")
    kinds = type(dtype), type(key), type(count)
    if kinds != (torch.dtype, str, int) or count < 0 or any(part is not None for part in view):
        raise ValueError("it refers to memory in an unknown way")
    return storage(key, count * dtype.itemsize).view(dtype)


def _tensor(elements: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    """The tensor of that layout; ValueError if it reaches beyond its elements, or has more than these."""
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise ValueError("a tensor has no possible shape")
    count = math.prod(size)
    reach = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else 0
    if max(offset + reach, count) > elements.numel():
        raise ValueError(f"a tensor of shape {size} does not fit its {elements.numel()} elements")
    return elements.as_strided(size, stride, offset)


def _tensor_of_bytes(memory: Tensor, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    _, _, dtype, *_ = rest  # whether it has a gradient, hooks
    return _tensor(memory.view(dtype), offset, size, stride)


def _number_type(code: str, *_: Any) -> _NumberType:
    if not re.fullmatch("[?b]1?|[iuf][1248]", code):
        raise ForbiddenError(f"a NumPy number of type {code!r}")
    return _NumberType(code)


def _number(kind: _NumberType, raw: bytes | str) -> bool | int | float:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2 knew no bytes
    return np.frombuffer(raw, np.dtype(kind.code).newbyteorder("<"), 1).item()


def _bytes(text: str, encoding: str) -> bytes:
    """Bytes as pickles had them before they knew bytes."""
    if encoding != "latin1":
        raise ForbiddenError(f"a text encoded as {encoding!r}")
    return text.encode("latin1")


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_bytes,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": tuple,
    "torch.device": lambda *words: ":".join(map(str, words)),
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": dict,
    "_codecs.encode": _bytes,
    "numpy.dtype": _number_type,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
}

_STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128,
}  # fmt: skip
_DTYPES: dict[str, torch.dtype] = {
    "torch.storage.UntypedStorage": torch.uint8,
    **{f"torch.{name}Storage": dtype for name, dtype in _STORAGES.items()},
    **{f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)},
}
