"""Stages in threads: order, one item ahead and no more, errors where the item would have come, no thread left over."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidgan import ahead as stages
from sidgan.ahead import ahead, meanwhile


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.perf_counter()
    yield
    assert time.perf_counter() - start < seconds


def test_items_come_in_order_through_several_stages() -> None:
    with ahead(range(200)) as numbers, ahead(n * n for n in numbers) as squares:
        assert list(squares) == [n * n for n in range(200)]


def test_it_works_while_the_last_item_is_used() -> None:
    made = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        made.set()
        yield 1

    with ahead(items()) as numbers:
        assert next(numbers) == 0
        assert made.wait(5)  # nobody has asked for the next one


@pytest.mark.parametrize("depth", [1, 4])
def test_it_is_never_further_ahead_than_it_may(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "DEPTH", depth)
    made, taken, furthest = 0, 0, 0

    def items() -> Iterator[int]:
        nonlocal made, furthest
        for i in range(30):
            made += 1
            furthest = max(furthest, made - taken)
            yield i

    with ahead(items()) as numbers:
        for _ in numbers:
            taken += 1
            time.sleep(0.002)
    assert made == 30
    # One is in use: it counts as taken a moment after its place was given up.
    assert depth <= furthest <= depth + 1


def test_an_error_is_raised_where_its_item_would_have_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "DEPTH", 8)
    def items() -> Iterator[int]:
        yield from range(3)
        raise ZeroDivisionError("the fourth")

    with ahead(items()) as numbers:
        time.sleep(0.05)  # the error is long there
        assert [next(numbers) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(ZeroDivisionError, match="the fourth"):
            next(numbers)


def test_an_error_passes_all_stages() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"), ahead(items()) as a, ahead(map(str, a)) as b, ahead(map(int, b)) as c:
        for _ in c:
            pass


def test_whoever_leaves_early_stops_the_threads_and_closes_what_they_read() -> None:
    closed_in: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield from iter(int, 1)  # without end
        finally:
            closed_in.append(threading.current_thread().name)

    def leave() -> None:
        with ahead(items()) as numbers, ahead(numbers) as same:
            next(same)
            raise RuntimeError("enough")

    with within(5), pytest.raises(RuntimeError, match="enough"):
        leave()
    assert closed_in == ["ahead"]


def test_an_interrupt_ends_a_wait() -> None:
    """Ctrl-C comes to the main thread while it waits for an item that takes long."""
    waiting, go = threading.Event(), threading.Event()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored

    def items() -> Iterator[int]:
        go.wait(10)
        yield 0

    def interrupt() -> None:
        waiting.wait()
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    other = threading.Thread(target=interrupt)
    other.start()
    with within(5), ahead(items()) as numbers:
        waiting.set()
        with pytest.raises(KeyboardInterrupt):
            next(numbers)
        go.set()
    other.join()
    signal.signal(signal.SIGINT, before)


def test_work_is_done_while_the_next_item_is_made() -> None:
    worked = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert worked.wait(5)  # on the first one, which nobody has taken yet
        yield from range(1, 20)

    def work(item: int) -> int:
        worked.set()
        return item * item

    with within(5):
        assert list(meanwhile(work, items())) == [i * i for i in range(20)]


def test_items_are_made_in_the_callers_thread_and_worked_on_in_another() -> None:
    names = set(meanwhile(lambda name: (name, threading.current_thread().name),
                          (threading.current_thread().name for _ in range(3))))  # fmt: skip
    assert len(names) == 1
    made, worked = names.pop()
    assert made == threading.current_thread().name != worked


@pytest.mark.parametrize("broken", ["items", "work"])
def test_errors_come_where_the_result_would_have(broken: str) -> None:
    def items() -> Iterator[int]:
        yield from range(4)
        raise ZeroDivisionError

    def work(item: int) -> float:
        return 1 / (2 - item) if broken == "work" else item

    results = meanwhile(work, items())
    assert len([next(results) for _ in range(2)]) == 2
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_whoever_leaves_early_waits_for_the_thread() -> None:
    results = meanwhile(str, iter(int, 1))
    assert next(results) == "0"
    results.close()
