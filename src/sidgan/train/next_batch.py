"""Prefetch: prepare the batch of the next step in a thread while the current step is computed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

T = TypeVar("T")


class NextBatch(Generic[T]):
    """Returns ``make(index)``, and lets a thread compute ``make(index + 1)`` in the meantime.

    Args:
        make: must depend on the index only, so that prefetching changes nothing. An exception in the thread is raised
            when its result is taken.
    """

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="next batch")
        self._next: tuple[int, Future[T]] | None = None

    def take(self, index: int) -> T:
        """The result for ``index``; waits for it if necessary."""
        waiting, self._next = self._next, None
        result = waiting[1].result() if waiting and waiting[0] == index else self._make(index)
        self._next = index + 1, self._thread.submit(self._make, index + 1)
        return result

    def wait(self) -> None:
        """Wait until the thread is idle; its result is kept."""
        if self._next is not None:
            wait([self._next[1]])
