"""Examines each uploaded file in a separate process with limited memory and time, before anything else opens it.

A malicious file can at worst crash that process; the next file then gets a new one. The process runs
`sidgan.web.probing`: it reads one line of JSON with a path for each file, and writes one line of JSON.
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

PARALLEL = 2  #: files that are examined at the same time
#: Seconds after which a process without an answer is killed; includes its start. On systems with alarm signals it ends
#: itself earlier (see `sidgan.web.probing`), also if the server has died.
SECONDS = 40.0


class Prober:
    """A pool of such processes, started on demand."""

    def __init__(self) -> None:
        self._idle: queue.Queue[subprocess.Popen[str] | None] = queue.Queue()
        for _ in range(PARALLEL):
            self._idle.put(None)
        self._free = asyncio.Semaphore(PARALLEL)

    async def look(self, path: Path, kind: str, name: str, limits: Limits) -> dict[str, Any]:
        """Examine a file. Waiting for a free process blocks none of the threads that all requests share.

        Args:
            path: the file, under a name that the service chose.
            kind: ``video``, which may also be a photo, or ``voice``.
            name: the user's name of the file, for messages.
            limits: what is allowed.

        Returns:
            ``suffix``, ``seconds``, ``sound``, ``still`` (whether it is a photo) and, for a video or photo, ``width``,
            ``height`` (px) and ``rate`` (frames per second). The file is renamed to ``original`` with that suffix.

        Raises:
            RefusedError: the file is not of this kind, exceeds the limits, or cannot be read.
        """
        async with self._free:
            return await run_in_threadpool(self._examine, path, kind, name, limits)

    def _examine(self, path: Path, kind: str, name: str, limits: Limits) -> dict[str, Any]:
        child, line = self._idle.get_nowait(), ""
        try:
            if child is None or child.poll() is not None:
                child = subprocess.Popen(
                    [sys.executable, "-m", "sidgan.web.probing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
                )  # fmt: skip
            assert child.stdin is not None
            assert child.stdout is not None
            sizes = limits.pixels, limits.photo, round(limits.seconds * limits.rate), limits.seconds
            with suppress(OSError), _killed_after(SECONDS, child):
                child.stdin.write(json.dumps([str(path), kind, *sizes]) + "\n")
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
        facts: dict[str, Any] = json.loads(line)
        if "error" in facts:
            own_path = rf"{re.escape(str(path.parent))}/\w+(\.\w+)?"
            raise RefusedError(422, "unusable", re.sub(own_path, lambda found: name, facts["error"]))
        return facts

    def close(self) -> None:
        """Kill the idle processes; the prober can still be used, and starts new ones."""
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
def _killed_after(seconds: float, child: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process if the block takes longer than ``seconds``."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
