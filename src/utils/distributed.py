"""What the processes of a run learn together (src.utils.processes says which there are).

Each takes its slice of every batch, so that the joined batch is what one process would see. Gradients are
means over the processes, by torch's DistributedDataParallel; so a loss that is a mean over the joined batch
divides a process' own sum by the mean of all denominators (`mean`). Where there is one process, every
function here gives back what it was given.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from src.errors import UserError
from src.utils.processes import control, own_share, processes, rank

Item = TypeVar("Item")


class Shares(Generic[Item]):
    """Of each batch of keys the slice of this process; a batch that has none for it is left out.

    batches: lists of keys, of `batch_size` or, the last one, fewer.
    """

    def __init__(self, batches: Iterable[list[Item]], batch_size: int) -> None:
        self.batches, self.size = batches, own_share(batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        first = rank() * self.size
        for keys in self.batches:
            if own := keys[first : first + self.size]:
                yield own


def parallel(network: nn.Module, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(network, …)` with the network bound to it, for the training step.

    A backward pass through its result waits for those of the other processes and leaves the mean of all
    gradients, or, within `local`, does not. The weights become those of the main process.
    """
    if processes() == 1:
        return partial(function, network)
    learner = DistributedDataParallel(_Bound(network, function), gradient_as_bucket_view=True)
    learner.broadcast_buffers = False  # the argument has another name from PyTorch 2.15 on
    return learner


class _Bound(nn.Module):
    """A network and a function of it, as the module that DistributedDataParallel wraps."""

    def __init__(self, network: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(self.network, *inputs)


@contextmanager
def local(*functions: Callable[..., Any]) -> Iterator[None]:
    """Within it backward passes through what `parallel` made only add to the gradients of this process."""
    with ExitStack() as stack:
        for function in functions:
            if isinstance(function, DistributedDataParallel):
                stack.enter_context(function.no_sync())
        yield


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Have batch normalisation see the joined batch, in place (`--sync-batchnorm`)."""
    if device.type != "cuda":
        raise UserError(f"--sync-batchnorm works between GPUs, and this is a {device.type}: leave it out")
    if processes() > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(network)


def mean(value: Tensor) -> Tensor:
    """The mean over all processes of a tensor on the training device, which is not waited for."""
    if processes() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / processes()


def means(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each scalar over all processes (`mean`)."""
    if processes() == 1:
        return values
    return dict(zip(values, mean(torch.stack(list(values.values()))), strict=True))


def total(value: Tensor) -> Tensor:
    """The sum over all processes, on the CPU; waits for all of them, however long they take."""
    if processes() == 1:
        return value.cpu()
    value = value.cpu().clone()
    dist.all_reduce(value, group=control())
    return value


def joined(items: list[Item]) -> list[Item]:
    """The lists of all processes in one, in the order of the processes; waits for all of them."""
    if processes() == 1:
        return items
    lists: list[Any] = [None] * processes()
    dist.all_gather_object(lists, items, group=control())
    return [item for items in lists for item in items]


def meet() -> None:
    """Wait for all processes."""
    if processes() > 1:
        dist.barrier(control())


def share_buffers(network: nn.Module) -> None:
    """Give all processes the buffers of the main one: the statistics of batch normalisation, which differ."""
    if processes() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


class Agreement:
    """The largest of the numbers that the processes give: how they do the same though only some were told."""

    def __init__(self) -> None:
        self._pending: tuple[dist.Work, Tensor] | None = None

    def now(self, number: int) -> int:
        """The largest number given so far; waits for all processes."""
        return max(self.late(number), self._result())

    def late(self, number: int) -> int:
        """The largest of the calls before: nothing is waited for but what began with the last call."""
        if processes() == 1:
            return number
        before = self._result()
        given = torch.tensor(number)
        work = dist.all_reduce(given, dist.ReduceOp.MAX, group=control(), async_op=True)
        self._pending = (work, given)
        return before

    def _result(self) -> int:
        if self._pending is None:
            return 0
        work, largest = self._pending
        work.wait()
        self._pending = None
        return int(largest)
