"""Keeps workers running: beside a server for as long as it runs, or alone. Ends those that take too much memory."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from sidgan.errors import OutputError
from sidgan.web import memory
from sidgan.web.away import dismiss
from sidgan.web.queue import Queue
from sidgan.web.settings import Service
from sidgan.web.store import Store

PATIENCE = 15.0  #: seconds that a worker may take to put its job away
SLOWEST = 30.0  #: seconds before one that keeps ending is started again
STEADY = 60.0  #: seconds after which one that ends had been well
LOOK = 0.2  #: seconds between two looks at a worker and its memory
QUEUE = "SIDGAN_QUEUE"  #: stands for --queue, which only workers elsewhere may be given
REFUSED = 2  #: status of a process that told in one line why it can do nothing
LetFail = Callable[[int, str], str | None]  #: given the number of a worker's process, and why; tells the job's number


class Supervisor:
    """Starts workers, and again those that end. Use it as a context manager.

    A worker is a process of its own: when the server is killed, it does its job to the end, and then ends. One that
    holds more memory than a job may take is ended at once, and its job fails: tried again, it would do the same.

    Raises:
        OutputError: the folder cannot be used.
    """

    def __init__(self, service: Service, server: str | None = None, secret: Path | None = None) -> None:
        """Make it.

        Args:
            service: whose jobs are done; where they are another machine's, its folder is the worker's own.
            server: the address of that one. secret: the file with what its workers are known by.
        """
        self._service, self._elsewhere = service, server is not None
        self._environment = {name: value for name, value in os.environ.items() if name != QUEUE}
        self._command = [
            sys.executable, "-m", "sidgan", "serve-worker", "--folder", str(service.folder), "--model", service.model,
            "--device", service.device, "--engine", service.engine, "--keep-hours", str(service.limits.keep),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        if server is None:
            queue, keep = Queue(Store(service.folder)), 3600 * service.limits.keep
            self._let_fail: LetFail = lambda pid, why: queue.dismiss(f"{socket.gethostname()}-{pid}-", why, keep)
        else:
            self._command += ["--server", server, "--worker-secret", str(secret)]
            self._environment[QUEUE] = str(service.queue)  # not in the list of processes: it may hold a password
            self._let_fail = lambda pid, why: dismiss(service.folder, why)
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._keep, daemon=True) for _ in range(service.workers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers; their jobs wait for the next ones."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def run(self, *, once: bool) -> int:
        """Keep one worker beside no server, until a signal says stop; with ``once``, until no job waits.

        Returns:
            How the process should end: not well where a worker elsewhere ended since it is not welcome or has no room,
            which it has told.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()

        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, stop)
        if once:
            self._command.append("--once")
        return self._keep(once=once)

    def _keep(self, *, once: bool = False) -> int:
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            worker = subprocess.Popen(self._command, env=self._environment)
            code = self._watched(worker)
            if code is None or (once and code == 0):
                break
            if self._elsewhere and code == REFUSED:
                return code
            pause = 1.0 if time.monotonic() - began > STEADY else min(2 * pause, SLOWEST)
            self._stop.wait(pause)
        return 0

    def _watched(self, worker: subprocess.Popen[bytes]) -> int | None:
        """How a worker ended by itself, or for its memory; ``None`` where it was told to."""
        while worker.poll() is None and not self._stop.wait(LOOK):
            if memory.held(worker.pid) > self._service.memory:
                self._dismiss(worker)
        if worker.poll() is not None:
            return worker.returncode
        worker.terminate()
        try:
            worker.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            memory.kill(worker.pid)
            worker.wait()
        return None

    def _dismiss(self, worker: subprocess.Popen[bytes]) -> None:
        """Let the job of a worker fail, then end the worker: the other way round, the next one would begin it again."""
        line = (f"it took more than {self._service.memory / 1e6:.0f} MB of memory, the limit for a job here; "
                "give a smaller or shorter video")  # fmt: skip
        job = None
        with suppress(sqlite3.Error, OSError, OutputError):  # the machine comes first; the job is tried again then
            job = self._let_fail(worker.pid, line)
        print(f"sidgan: {job or 'a worker'} failed: {line}", file=sys.stderr, flush=True)
        memory.kill(worker.pid)
        worker.wait()
