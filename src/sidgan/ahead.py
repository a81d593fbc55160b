"""Stages that work at the same time: a thread makes the next items of an iterator while the last one is used.

Decoders, OpenCV, torch and encoders let go of Python while they work, so threads are enough, and nothing is copied.
Stages follow each other like the iterators they are::

    with ahead(read()) as frames, ahead(map(draw, frames)) as drawn:
        for frame in drawn:
            write(frame)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


class _Over:
    """What comes after the last item: nothing, or what was raised in its place."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[T], depth: int = 1) -> Iterator[Iterator[T]]:
    """Let a thread run through ``items``, at most ``depth`` of them further than whoever takes them.

    Items come in order. What their making raises is raised where the item would have come. However the block ends,
    the thread is over when it has: it finishes the item it is at, and closes ``items`` if that is a generator. Nothing
    else may use ``items``.

    Args:
        items: made by the thread alone.
        depth: items that are being made or wait to be taken; they are all that is held.
    """
    made: SimpleQueue[T | _Over] = SimpleQueue()
    room, left = Semaphore(depth), Event()

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
