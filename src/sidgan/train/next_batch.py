"""Making the next step's batch while this one is learnt from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class NextBatch(Generic[T]):
    """Gives what ``make(index)`` makes, and has a thread make that of ``index + 1`` meanwhile.

    Args:
        make: must follow from the index alone, so that working ahead changes nothing. What it raises is raised where
            its result is asked for.
    """

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next batch")
        self._next: tuple[int, Future[T]] | None = None

    def take(self, index: int) -> T:
        """The result for ``index``, waiting for it if need be."""
        waiting, self._next = self._next, None
        result = waiting[1].result() if waiting and waiting[0] == index else self._make(index)
        self._next = index + 1, self._thread.submit(self._make, index + 1)
        return result

    def wait(self) -> None:
        """Until the thread is done; what it made is kept."""
        if self._next is not None:
            wait([self._next[1]])
