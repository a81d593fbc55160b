"""How much memory a worker holds, seen from outside: what it does may leave it no moment to look itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil


def held(pid: int) -> int:
    """Bytes of main memory that a process and those it started hold; 0 where it is gone."""
    total = 0
    for process in _family(pid):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def kill(pid: int) -> None:
    """End a process and those it started, at once."""
    for process in _family(pid):
        with suppress(psutil.Error):
            process.kill()


def _family(pid: int) -> Iterator[psutil.Process]:
    """The processes that one started, then itself: a helper may go on when what started it is gone."""
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        yield from first.children(recursive=True)
        yield first
