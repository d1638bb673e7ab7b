"""Checkpoint files that attack who reads them, and a process that reads them all under a limit of memory.

python -m tests.models.hostile FOLDER     opens all files there in every way and prints what happened, as JSON
"""

import io
import json
import os
import pickle
import struct
import sys
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import torch

MEMORY = 2 * 2**30  # bytes that reading them all may take

# What must not happen while a file is read, by the names of Python's audit events.
FORBIDDEN_EVENTS = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
                    "pickle.find_class", "compile", "exec", "import", "shutil", "os.remove")  # fmt: skip


class Record(NamedTuple):
    """An entry of a zip archive; what is given besides name and data is a lie."""

    name: str
    data: bytes
    method: int = 0
    size: int | None = None
    offset: int | None = None
    flags: int = 0


def archive(*records: Record) -> bytes:
    """A zip archive, whatever its entries say."""
    body, directory = b"", b""
    for record in records:
        name, checksum = record.name.encode(), zlib.crc32(record.data)
        size = len(record.data) if record.size is None else record.size
        fields = (
            record.flags,
            record.method,
            0,
            33,
            checksum,
            len(record.data) if record.method else size,
            size,
        )
        offset = len(body) if record.offset is None else record.offset
        body += struct.pack("<4s5H3I2H", b"PK\3\4", 20, *fields, len(name), 0) + name + record.data
        directory += (
            struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, *fields, len(name), 0, 0, 0, 0, 0, offset) + name
        )
    counts = (len(records), len(records), len(directory), len(body), 0)
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, *counts)


def zipped(program: bytes, *records: Record) -> bytes:
    """An archive with that pickle."""
    return archive(Record("x/data.pkl", program), Record("x/version", b"3\n"), *records)


def legacy(program: bytes, keys: bytes = pickle.dumps([], 2), data: bytes = b"") -> bytes:
    """A file of PyTorch before 1.6 with that pickle."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    heads = (0x1950A86A20F9469CFC6C, 1001, system)
    return b"".join(pickle.dumps(head, 2) for head in heads) + program + keys + data


# Pieces of pickles.


def word(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def call(name: str, *arguments: bytes) -> bytes:
    """GLOBAL, MARK, arguments, TUPLE, REDUCE."""
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def tensor(
    size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, elements: int = 4, kind: str = "Float",
    hooks: bytes = b"}",
) -> bytes:  # fmt: skip
    """A tensor over record 0, which holds 4 floats."""
    reference = b"(" + word("storage") + f"ctorch\n{kind}Storage\n".encode() + word("0") + word("cpu")
    reference += number(elements) + b"tQ"
    layout = (number(offset), numbers(*size), numbers(*stride))
    return call("torch._utils._rebuild_tensor_v2", reference, *layout, b"\x89", hooks)


def program(*items: tuple[str, bytes]) -> bytes:
    """A pickled dict."""
    return b"\x80\x02}(" + b"".join(word(key) + value for key, value in items) + b"u."


FLOATS = Record("x/data/0", struct.pack("<4f", 1, 2, 3, 4))


def shaped(*layout: Any, **others: Any) -> bytes:
    """A checkpoint of other code whose one weight has that layout."""
    return zipped(program(("state_dict", program(("w", tensor(*layout, **others)))[2:-1])), FLOATS)


def ours(**changed: Any) -> bytes:
    """A checkpoint of ours with some entries changed."""
    from src.models import build
    from src.models.checkpoint import describe

    skeleton = {"name": "five", "joints": ["a", "b", "c", "d", "e"]}
    good = describe(build("hg", 5, stacks=1, feats=8, depth=1), skeleton, 16)
    if isinstance(changed.get("config"), dict):
        changed["config"] = good["config"] | changed["config"]
    return saved(good | changed)


def saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def bomb() -> bytes:
    """A deflated record of 3 GB, in 3 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    data = block * 192 + packer.flush()
    weight = tensor((3 * 2**28,), (1,), elements=3 * 2**28)
    return zipped(program(("w", weight)), Record("x/data/0", data, method=8, size=3 * 2**30))


def flipped() -> bytes:
    """One bit of a weight is wrong."""
    data = bytearray(ours())
    data[len(data) // 2] ^= 4
    return bytes(data)


def calls(mark: Path) -> dict[str, bytes]:
    """Files that would make the file `mark` if they were believed, each by another instruction."""
    touch = f"touch {mark}"
    system = f"{os.name}.system"
    name = system.replace(".", "\n").encode()
    run, called = call(system, word(touch)), b"(" + word(touch) + b"tR."
    evaluated = word(f"__import__('os').system({touch!r})")
    popen = b"csubprocess\nPopen\n(" + word(touch) + b"t"
    return {
        "reduce": zipped(program(("state_dict", run))),
        "eval": zipped(program(("state_dict", call("builtins.eval", evaluated)))),
        "exec of Python 2": zipped(program(("state_dict", call("__builtin__.eval", evaluated)))),
        "stack_global": zipped(b"\x80\x04" + word(os.name) + word("system") + b"\x93" + called),
        "inst": zipped(b"\x80\x02(" + word(touch) + b"i" + name + b"\n."),
        "obj": zipped(b"\x80\x02(c" + name + b"\n" + word(touch) + b"o."),
        "newobj": zipped(b"\x80\x02" + popen + b"\x81."),
        "newobj_ex": zipped(b"\x80\x04" + popen + b"}\x92."),
        "build": zipped(b"\x80\x02cargparse\nNamespace\n)\x81}" + word("f") + b"c" + name + b"\nsb."),
        "state of a state dict": zipped(program(("model", call("collections.OrderedDict") + run + b"b"))),
        "extension": zipped(b"\x80\x02\x82\x01" + called),
        "hooks of a tensor": shaped((2,), (1,), hooks=run),
        "key of a dict": zipped(b"\x80\x02}" + run + b"Ns."),
        "reference to memory": zipped(b"\x80\x02(" + word("module") + run + b"tQ."),
        "getattr": zipped(program(("x", call("builtins.getattr", b"cos\n_exit\n", word("__call__"))))),
        "allowed name of torch": zipped(program(("x", call("torch.serialization.load", word(str(mark)))))),
        "legacy": legacy(program(("state_dict", run))),
        "legacy, magic number": run + b".",
        "legacy, list of tensors": legacy(program(), keys=b"\x80\x02" + run + b"."),
        "bare pickle": b"\x80\x02" + run + b".",
        "script": zipped(program(("m", b"c__torch__\nNet\n)\x81")), Record("x/code/__torch__.py", b"")),
    }  # fmt: skip


def lies() -> dict[str, bytes]:
    """Files whose sizes, places or layouts are wrong, or that would take all memory."""
    weight = program(("w", tensor((4,), (1,))))
    huge = 2**40
    return {
        "deflated bomb": bomb(),
        "deflated": zipped(weight, FLOATS._replace(method=8, data=zlib.compress(FLOATS.data)[2:-4], size=16)),
        "record larger than the file": zipped(weight, FLOATS._replace(size=2**31)),
        "record with another's place": zipped(weight, FLOATS._replace(offset=0)),
        "record beyond the end": zipped(weight, FLOATS._replace(offset=2**31)),
        "encrypted": zipped(weight, FLOATS._replace(flags=1)),
        "the same name twice": zipped(weight, FLOATS, FLOATS),
        "one place for many records": zipped(
            weight, FLOATS, *(Record(f"x/{i}", b"", size=200, offset=0) for i in range(9))
        ),
        "a name that leaves the folder": zipped(weight, FLOATS, Record("x/../../evil", b"")),
        "an absolute name": zipped(weight, FLOATS, Record("/evil", b"")),
        "no tensor's record": zipped(weight),
        "checksum": flipped(),
        "text": b"not a checkpoint, but a text\n" * 9,
        "nothing": b"",
        "only zip's first bytes": b"PK\3\4",
        "an archive of nothing": archive(),
        "negative stride": shaped((4,), (-1,), 3),
        "negative size": shaped((-4,), (1,)),
        "negative offset": shaped((4,), (1,), -1),
        "more than the memory": shaped((5,), (1,)),
        "beyond the memory": shaped((2,), (4,)),
        "huge by strides of 0": shaped((huge,), (0,)),
        "huge by overlap": shaped((3, 3), (1, 1), 0, 4),
        "sizes that overflow": shaped((2**62, 4), (4, 1)),
        "more elements than bytes": shaped((4,), (1,), elements=huge),
        "unknown type": shaped((4,), (1,), kind="Evil"),
        "strides of another length": shaped((4,), (1, 1)),
        "huge in a legacy file": legacy(program(("w", tensor((huge,), (1,), elements=huge)))),
        "legacy, cut short": legacy(weight, keys=pickle.dumps(["0"], 2), data=b"12345678" + b"1234"),
        "bytearray": zipped(program(("w", call("builtins.bytearray", number(huge))))),
        "tensor by its class": zipped(program(("w", call("torch.Tensor", number(huge))))),
        "memo": zipped(b"\x80\x02}r\xff\xff\xff\x7f."),
        "long text": zipped(b"\x80\x04\x8d" + struct.pack("<Q", huge) + b"x."),
        "long bytearray": zipped(b"\x80\x05\x96" + struct.pack("<Q", huge) + b"x."),
        "deep": zipped(b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b"."),
        "each twice the one before": zipped(b"\x80\x02]q\0" + b"](h\0h\0eq\0" * 60 + b"."),
        "in itself": zipped(b"\x80\x02}q\0" + word("model") + b"h\0s."),
        "format": ours(format=[1]),
        "a name that is a number": ours(model={1: torch.zeros(1)}),
        "a weight that is a number": ours(model={"heads.0.weight": 1}),
        "weights that are a list": ours(ema=[1, 2]),
        "types": ours(arch=["hg"], config=[], skeleton=5, input_res="256", model=7),
        "joints": ours(config={"num_joints": 6}),
        "no joints": ours(skeleton={"joints": []}),
    }


def impossible_networks() -> dict[str, bytes]:
    """Checkpoints whose network cannot be theirs, which only opening them shows."""
    return {
        "stacks": ours(config={"stacks": 10**9}),
        "features": ours(config={"feats": 10**6}),
        "depth": ours(config={"depth": 10**6}),
        "modules": ours(config={"modules": 10**9}),
        "no features": ours(config={"feats": 0}),
        "a text for a number": ours(config={"feats": "8"}),
        "an unknown argument": ours(config={"evil": 1}),
        "an argument that is no name": ours(config={1: 1}),
        "input": ours(input_res=-16),
        "other shapes": ours(config={"feats": 16}),
    }


def old_names() -> dict[str, bytes]:
    """Checkpoints of other code, the names or shapes of whose weights ask too much."""
    marks = ["res1.conv1.weight", "score.0.weight", "hg.0.hg.0.0.0.conv1.weight", "fc.0.0.weight"]
    levels = {name: torch.zeros(1) for name in [*marks, "hg.0.hg.999999999.0.0.conv1.weight"]}
    wide = {name: torch.zeros(10**9, 10**9, 0) for name in [*marks, "res2.conv3.weight"]}
    return {
        "levels": saved(levels),
        "shapes": saved(wide),
        "scalars": saved({name: torch.zeros(()) for name in marks}),
    }


def open_all(folder: Path) -> dict[str, Any]:
    """What reading every file in every way has said, or "opened"; what ran meanwhile; megabytes taken."""
    import resource

    from src.errors import UserError
    from src.models import load
    from src.models.checkpoint import read_checkpoint
    from tests.task_runner import main_of

    main = main_of("tools/convert.py")

    def convert(path: Path) -> None:
        said = io.StringIO()
        try:
            with redirect_stderr(said):
                main([str(path), "--out", str(folder / "new.pth")])
        except SystemExit:
            raise UserError(said.getvalue()) from None

    def attempt(way: Callable[[Path], Any], path: Path) -> str:
        try:
            way(path)
        except UserError as error:
            return str(error)
        except Exception as error:
            return f"raised {error!r}"
        return "opened"

    events: list[str] = []
    (folder / "good").write_bytes(ours())
    assert attempt(load, folder / "good") == "opened"  # all is imported from here on
    attempt(convert, folder / "good")
    "".encode("cp437")  # zipfile may need it for names
    sys.addaudithook(
        lambda event, what: events.append(f"{event} {what}"[:200]) if event in FORBIDDEN_EVENTS else None
    )
    events.clear()
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = {
        way.__name__: {path.name: attempt(way, path) for path in sorted(folder.glob("* *.pth"))}
        for way in (read_checkpoint, load, convert)
    }
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"said": said, "events": events, "megabytes": grown // 1024}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(open_all(Path(sys.argv[1]))))
