"""Work in threads that hand on what they have done, so that reading, a network and drawing overlap."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Line(Generic[Item]):
    """What a thread has made and nobody has taken yet: at most `depth` items."""

    def __init__(self, depth: int, newest: bool) -> None:
        self.items: deque[Item] = deque()
        self.depth, self.newest = depth, newest
        self.ended = self.left = False  # nothing more comes; nobody waits any more
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def fill(self, source: Iterable[Item]) -> None:
        """Put all items of a source into the line; the work of the thread."""
        items = iter(source)
        try:
            for item in items:
                if not self._put(item):
                    break
        except BaseException as error:
            self.error = error
        finally:
            if isinstance(items, Generator):
                items.close()  # in the thread that it ran in
            with self.changed:
                self.ended = True
                self.changed.notify_all()

    def _put(self, item: Item) -> bool:
        """Whether somebody will take it, as soon as there is room."""
        with self.changed:
            if self.newest and len(self.items) == self.depth:
                self.items.popleft()
            self.changed.wait_for(lambda: self.left or len(self.items) < self.depth)
            self.items.append(item)
            self.changed.notify_all()
            return not self.left

    def take(self) -> Iterator[Item]:
        """The items, until there are no more; then the error with which the source ended, if it did."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.ended or len(self.items) > 0)
                if not self.items:
                    break
                item = self.items.popleft()
                self.changed.notify_all()
            yield item
        if self.error is not None:
            raise self.error

    def leave(self) -> None:
        with self.changed:
            self.left = True
            self.changed.notify_all()


def ahead(source: Iterable[Item], depth: int, newest: bool = False) -> Generator[Item, None, None]:
    """The items of a source, taken from it by a thread of its own, at most `depth` of them in advance.

    newest: do not let the source wait, but drop what is oldest. An error of the source comes after its items.
    When this generator is closed, the source is, too, if it is a generator, and its thread has ended.
    """
    line: _Line[Item] = _Line(depth, newest)
    thread = threading.Thread(target=line.fill, args=(source,), daemon=True)
    thread.start()
    try:
        yield from line.take()
    finally:
        line.leave()
        thread.join()


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], calls: int, prepare: Callable[[], None]
) -> Generator[Result, None, None]:
    """`function` of each item, in order, computed by so many threads at once.

    As many more items wait for a thread, so that none idles while the caller is busy with a result. prepare:
    called in each thread first. An error comes after the results before it. When this generator is closed,
    what was begun is finished, and the threads have ended.
    """
    pool = ThreadPoolExecutor(calls, initializer=prepare)
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) == 2 * calls:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
