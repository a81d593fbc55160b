"""Stages that work at the same time, each in a thread of its own.

Decoders, OpenCV, torch and encoders let go of Python while they work, so threads are enough, and nothing is copied.
Stages follow each other like the iterators they are; the one in the middle stays in the caller's own thread::

    with ahead(read()) as frames:
        for frame in meanwhile(finish, map(draw, frames)):
            write(frame)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
DEPTH = 1  #: items that are being made or wait to be taken; they are all that is held


class _Over:
    """What comes after the last item: nothing, or what was raised in its place."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Let a thread run through ``items``, at most `DEPTH` of them further than whoever takes them.

    Items come in order. What their making raises is raised where the item would have come. However the block ends,
    the thread is over when it has: it finishes the item it is at, and closes ``items`` if that is a generator. Nothing
    else may use ``items``.

    Args:
        items: made by the thread alone.
    """
    made: SimpleQueue[T | _Over] = SimpleQueue()
    room, left = Semaphore(DEPTH), Event()

    def work() -> None:
        source = iter(items)
        over = _Over()
        try:
            while room.acquire() and not left.is_set():
                try:
                    made.put(next(source))
                except StopIteration:
                    break
        except BaseException as error:  # whatever it is, it belongs to whoever waits for the item
            over = _Over(error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            made.put(over)

    thread = Thread(target=work, name="ahead", daemon=True)  # what nobody ended must not keep a process alive
    try:
        thread.start()  # in here, as Ctrl-C may come when it has begun
        yield _taken(made, room)
    finally:
        left.set()
        room.release()
        if thread.ident is not None:
            thread.join()


def _taken(made: SimpleQueue[T | _Over], room: Semaphore) -> Iterator[T]:
    """What comes out of a queue until it is over; each item makes room for another one."""
    while not isinstance(item := made.get(), _Over):
        room.release()
        yield item
    if item.error is not None:
        raise item.error


def meanwhile(work: Callable[[T], R], items: Iterable[T]) -> Generator[R]:
    """What ``work`` makes of each item, in order; a thread does it while the caller's own makes the next item.

    What it raises is raised where its result would have come. Close it (`contextlib.closing`) where not all results are
    taken: that waits for the one being made.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="meanwhile") as thread:
        waiting: Future[R] | None = None
        for item in items:
            done, waiting = waiting, thread.submit(work, item)
            if done is not None:
                yield done.result()
        if waiting is not None:
            yield waiting.result()
