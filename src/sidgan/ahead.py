"""A pipeline of iterators whose stages run at the same time, each in a thread of its own.

Decoders, OpenCV, torch and encoders release the GIL while they work, so threads are enough and no data is copied. The
stage in the middle runs in the caller's own thread::

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
DEPTH = 1  #: most items that are being produced or wait in the queue


class _End:
    """Marks the end of the items in the queue, with the error that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


@contextmanager
def ahead(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """Iterate over ``items`` in a thread, at most `DEPTH` items ahead of the consumer.

    The order is kept. An error in ``items`` is raised in the consumer, in place of the item. When the ``with`` block
    ends, for whatever reason, the thread finishes the current item, closes ``items`` if it is a generator, and is
    joined.

    Args:
        items: used by the thread alone; nothing else may iterate over it.
    """
    queue: SimpleQueue[T | _End] = SimpleQueue()
    room, stopped = Semaphore(DEPTH), Event()

    def work() -> None:
        source = iter(items)
        end = _End()
        try:
            while room.acquire() and not stopped.is_set():
                try:
                    queue.put(next(source))
                except StopIteration:
                    break
        except BaseException as error:  # of any kind: it is raised again in the consumer
            end = _End(error)
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
            queue.put(end)

    thread = Thread(target=work, name="ahead", daemon=True)  # an abandoned pipeline must not keep the process alive
    try:
        thread.start()  # inside the `try`, as Ctrl-C may come right after it has started
        yield _consumed(queue, room)
    finally:
        stopped.set()
        room.release()
        if thread.ident is not None:
            thread.join()


def _consumed(queue: SimpleQueue[T | _End], room: Semaphore) -> Iterator[T]:
    """The items of a queue up to its end; each one taken makes room for another."""
    while not isinstance(item := queue.get(), _End):
        room.release()
        yield item
    if item.error is not None:
        raise item.error


def meanwhile(work: Callable[[T], R], items: Iterable[T]) -> Generator[R]:
    """``map(work, items)`` with ``work`` in a thread, while the caller's thread produces the next item.

    An error in ``work`` is raised in place of its result. If not all results are consumed, close the generator
    (`contextlib.closing`), which waits for the call in progress.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="meanwhile") as thread:
        pending: Future[R] | None = None
        for item in items:
            previous, pending = pending, thread.submit(work, item)
            if previous is not None:
                yield previous.result()
        if pending is not None:
            yield pending.result()
