"""Which of the processes of a run this one is, and how they begin and end together.

torchrun starts several processes of the same command, on one machine or on more, and numbers them: number 0,
the main one, is the only one that writes and speaks. One that fails says why and takes the others with it,
whatever they wait for. Without torchrun there is one process, the main one, and nothing is set up.
"""

import os
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

from src.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch.distributed import ProcessGroup, Store

_LAUNCHED = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # what torchrun sets

# Processes wait for each other while one of them saves or predicts. One that has gone is noticed at once.
_PATIENCE, _SOON = timedelta(days=10), timedelta(seconds=20)

_FAILURES, _STATUS = "pose/failures", "pose/status"  # keys in the store that all processes see

_store: "Store | None" = None
_control: "ProcessGroup | None" = None
_watch: threading.Thread | None = None
_leaving = threading.Event()


def processes() -> int:
    """How many processes the run has."""
    return int(os.environ["WORLD_SIZE"]) if os.environ.keys() >= _LAUNCHED else 1


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if processes() > 1 else 0


def local_rank() -> int:
    """The number of this process among those of its machine, from 0."""
    return int(os.environ["LOCAL_RANK"]) if processes() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def own_share(batch_size: int) -> int:
    """How many of the people of a batch are for this process; UserError if they cannot be shared equally."""
    if batch_size % processes():
        fitting = -(-batch_size // processes()) * processes()
        raise UserError(
            f"--batch-size {batch_size} is the sum over all processes, and {processes()} of them cannot share"
            f" it equally; {fitting} would do"
        )
    return batch_size // processes()


def join(device: "torch.device") -> None:
    """Meet the other processes, before anything that they do together. One process has nobody to meet."""
    if processes() == 1:
        return
    import torch
    import torch.distributed as dist

    global _control, _watch
    store = _reach(timedelta(minutes=30))
    _watch = threading.Thread(target=_end_with_the_others, args=(store.clone(),), daemon=True)
    _watch.start()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=store,
        rank=rank(),
        world_size=processes(),
        device_id=device if on_gpu else None,
    )
    group = dist.new_group(backend="gloo", timeout=_PATIENCE)
    assert isinstance(group, dist.ProcessGroup)  # this process is in it
    _control = group


def control() -> "ProcessGroup":
    """The group for what processes tell each other from the CPU; those on GPUs have another for tensors."""
    assert _control is not None, "join() comes first"
    return _control


def leave() -> None:
    """Wait for the others to come to their end, too, so that none is taken for one that has failed."""
    if _control is None or _watch is None:
        return
    import torch.distributed as dist

    _leaving.set()
    dist.barrier(_control)
    if is_main():
        _reach().set(_STATUS, "0")
    _watch.join()  # a thread that waits in PyTorch when Python ends aborts the process
    dist.destroy_process_group()


def end_all(status: int, text: str) -> None:
    """End all processes with `status`. The first that fails says `text`, on stderr, the others nothing.

    Does nothing in a run of one process.
    """
    if processes() == 1:
        return
    speaks = True
    with suppress(RuntimeError):  # without a connection every process speaks for itself
        speaks = _reach().add(_FAILURES, 1) == 1
    if speaks:
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)
    with suppress(RuntimeError):
        if speaks:
            _reach().set(_STATUS, str(status))
        else:  # torchrun stops all others when one ends: not before it has spoken
            _reach().wait([_STATUS], _SOON)
    _exit(status)


def _reach(timeout: timedelta = _SOON) -> "Store":
    """The store that all processes see."""
    global _store
    if _store is None:
        from torch.distributed import rendezvous

        _store, _, _ = next(rendezvous("env://", timeout=timeout))
    return _store


def _end_with_the_others(store: "Store") -> None:
    """In a thread of its own: wait until a process fails, then end this one; it may hang in a collective."""
    status = 1
    with suppress(RuntimeError):  # torchrun was killed, and the store with it
        store.wait([_STATUS], _PATIENCE)
        status = int(store.get(_STATUS))
    if not _leaving.is_set():
        _exit(status)


def _exit(status: int) -> NoReturn:
    """End this process and its children at once, without waiting for anything that others have to answer."""
    import multiprocessing

    for child in multiprocessing.active_children():
        with suppress(OSError, AttributeError):  # it has ended, or has not quite begun
            child.kill()
    os._exit(status)
