"""The memory of a worker, measured from another process: libraries may block the worker's own threads for too long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psutil


def held(pid: int) -> int:
    """Bytes of resident memory of a process and its descendants; 0 if it no longer exists."""
    total = 0
    for process in _process_tree(pid):
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def kill(pid: int) -> None:
    """Kill a process and its descendants."""
    for process in _process_tree(pid):
        with suppress(psutil.Error):
            process.kill()


def _process_tree(pid: int) -> Iterator[psutil.Process]:
    """The descendants of a process, then itself: descendants may survive it, and cannot be found afterwards."""
    with suppress(psutil.Error):
        first = psutil.Process(pid)
        yield from first.children(recursive=True)
        yield first
