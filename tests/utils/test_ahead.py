"""Items in order, at most so many in advance, errors after what came before, threads that end."""

import threading
from collections.abc import Iterator

import pytest

from src.utils.ahead import ahead, side_by_side


class Counter:
    """Numbers, and how many were taken; whether it was closed, and in which thread."""

    def __init__(self, count: int, fails: bool = False) -> None:
        self.count, self.fails, self.made = count, fails, 0
        self.closed_by: threading.Thread | None = None

    def __call__(self) -> Iterator[int]:
        try:
            for number in range(self.count):
                self.made = number + 1
                yield number
            if self.fails:
                raise ValueError("at the end")
        finally:
            self.closed_by = threading.current_thread()


def test_all_items_come_in_order() -> None:
    assert list(ahead(iter(range(1000)), 3)) == list(range(1000))
    assert list(ahead(ahead(iter(range(100)), 1), 1)) == list(range(100))


def test_no_more_are_made_than_may_wait() -> None:
    """One that was handed on, those that wait, and one that is made while they do."""
    counter = Counter(1000)
    for number in ahead(counter(), 4):
        assert counter.made <= number + 1 + 4 + 1


def test_an_error_comes_after_the_items_before_it() -> None:
    got = []
    with pytest.raises(ValueError, match="at the end"):
        for number in ahead(Counter(5, fails=True)(), 2):
            got.append(number)
    assert got == [0, 1, 2, 3, 4]


def test_who_leaves_early_ends_the_thread_and_closes_the_source() -> None:
    before = set(threading.enumerate())
    counter = Counter(10**9)
    items = ahead(ahead(counter(), 2), 2)
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    items.close()
    assert set(threading.enumerate()) <= before
    assert counter.closed_by is not None and counter.closed_by is not threading.current_thread()


def test_the_newest_takes_the_place_of_what_nobody_took() -> None:
    """A source that is not waited for: it has ended when the first item is asked for."""
    counter, ended = Counter(50), threading.Event()

    def source() -> Iterator[int]:
        yield from counter()
        ended.set()

    items = ahead(source(), 2, newest=True)
    first = next(items)
    assert ended.wait(60)
    rest = list(items)
    assert rest[-1] == 49 and [first, *rest] == sorted({first, *rest})
    assert len(rest) <= 3  # two that waited, and one that may have been on its way


def test_work_is_done_side_by_side_and_comes_in_order() -> None:
    """The first item is not finished before the third is begun: by three threads, each prepared once."""
    begun, prepared = threading.Event(), list[int]()

    def double(number: int) -> int:
        if number == 2:
            begun.set()
        assert begun.wait(60)
        return 2 * number

    doubled = side_by_side(double, range(50), 3, lambda: prepared.append(threading.get_ident()))
    assert list(doubled) == list(range(0, 100, 2))
    assert len(set(prepared)) == len(prepared) == 3


def test_no_more_work_is_begun_than_may_wait() -> None:
    counter = Counter(1000)
    for number in side_by_side(abs, counter(), 3, lambda: None):
        assert counter.made <= number + 6


def test_an_error_of_the_work_comes_after_the_results_before_it() -> None:
    before, got = set(threading.enumerate()), []
    with pytest.raises(ZeroDivisionError):
        for share in side_by_side(lambda number: 1 / (3 - number), range(100), 2, lambda: None):
            got.append(share)
    assert got == [1 / 3, 1 / 2, 1]
    assert set(threading.enumerate()) <= before


def test_who_leaves_work_early_ends_its_threads() -> None:
    before = set(threading.enumerate())
    counter = Counter(10**9)
    results = side_by_side(abs, counter(), 2, lambda: None)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert set(threading.enumerate()) <= before and counter.made < 10
