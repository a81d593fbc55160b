"""Looks at a stranger's file in a process of its own, with little memory and time, before anybody else opens it.

A file made to harm ends that process at worst; the next one gets a new process. `sidgan.web.probing` is that process: a
line with a path goes in, a line of JSON comes out.
"""

from __future__ import annotations

import asyncio
import json
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from sidgan.web.limits import Limits, RefusedError

PARALLEL = 2  #: files that are looked at at a time
#: Seconds after which a process that says nothing is ended, with those that its start takes. Where the system lets it,
#: it ends itself earlier, see `sidgan.web.probing`, and also when the server is gone.
SECONDS = 40.0


class Prober:
    """A few such processes, started when they are needed."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        self._idle: queue.Queue[subprocess.Popen[str] | None] = queue.Queue()
        for _ in range(parallel):
            self._idle.put(None)
        self._free = asyncio.Semaphore(parallel)

    async def look(self, path: Path, kind: str, name: str, limits: Limits) -> dict[str, Any]:
        """What a file is; whoever waits for a process waits here, not in one of the threads that all requests share.

        Args:
            path: the file, with a name of the service's own.
            kind: ``video`` or ``voice``.
            name: what its user calls it.

        Returns:
            ``suffix``, ``seconds``, ``sound`` and, of a video, ``width``, ``height``, ``rate``. The file now has the
            name ``original`` and that suffix.

        Raises:
            RefusedError: it is not what it should be, or exceeds the limits.
        """
        async with self._free:
            return await run_in_threadpool(self._looked, path, kind, name, limits)

    def _looked(self, path: Path, kind: str, name: str, limits: Limits) -> dict[str, Any]:
        child, line = self._idle.get_nowait(), ""
        try:
            if child is None or child.poll() is not None:
                child = subprocess.Popen(
                    [sys.executable, "-m", "sidgan.web.probing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
                )  # fmt: skip
            assert child.stdin is not None
            assert child.stdout is not None
            most = round(limits.seconds * limits.rate)
            with suppress(OSError), _ended(child, SECONDS):
                child.stdin.write(json.dumps([str(path), kind, limits.pixels, most, limits.seconds]) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
        finally:
            if child is not None and not line:
                child.kill()
                child.wait()
                child = None
            self._idle.put(child)
        if not line:
            raise RefusedError(422, "unusable", f"{name} takes too much time or memory to check; convert it to mp4")
        told: dict[str, Any] = json.loads(line)
        if "error" in told:
            own = rf"{re.escape(str(path.parent))}/\w+(\.\w+)?"
            raise RefusedError(422, "unusable", re.sub(own, lambda found: name, told["error"]))
        return told

    def close(self) -> None:
        """End the processes; a service that is started again starts new ones."""
        idle = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._idle.get_nowait())
        for child in idle:
            if child is not None:
                child.kill()
                child.wait()
            self._idle.put(None)


@contextmanager
def _ended(child: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """End a process when the block takes longer than so many seconds."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
