"""Looks at a stranger's file in a process of its own, with little memory and time, before anybody else opens it.

A file made to harm ends that process at worst; the next one gets a new process. `sidgan.web.probing` is that process: a
line with a path goes in, a line of JSON comes out.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sidgan.web.limits import Limits, RefusedError

PARALLEL = 2  #: files that are looked at at a time


class Prober:
    """A few such processes, started when they are needed."""

    def __init__(self, parallel: int = PARALLEL) -> None:
        self._idle: queue.Queue[subprocess.Popen[str] | None] = queue.Queue()
        for _ in range(parallel):
            self._idle.put(None)

    def look(self, path: Path, kind: str, name: str, limits: Limits) -> dict[str, Any]:
        """What a file is.

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
        child = self._idle.get()
        try:
            if child is None or child.poll() is not None:
                child = subprocess.Popen(
                    [sys.executable, "-m", "sidgan.web.probing"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
                )  # fmt: skip
            assert child.stdin is not None
            assert child.stdout is not None
            most = round(limits.seconds * limits.rate)
            line = ""
            with suppress(OSError):
                child.stdin.write(json.dumps([str(path), kind, limits.pixels, most, limits.seconds]) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
        finally:
            self._idle.put(child)
        if not line:
            raise RefusedError(422, "unusable", f"{name} took more time or memory to look at than a sound file does")
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
