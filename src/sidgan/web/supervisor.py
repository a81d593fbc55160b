"""Starts workers, restarts them when they exit, and kills those that use too much memory; with or without a server."""

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
from sidgan.web.log import say
from sidgan.web.queue import Queue
from sidgan.web.settings import Service
from sidgan.web.store import Store

STOPPING = 15.0  #: seconds that a worker gets to return its job before it is killed
MAX_PAUSE = 30.0  #: seconds before a worker that keeps exiting is restarted
STEADY = 60.0  #: seconds of running after which the pause before a restart is short again
POLL = 0.2  #: seconds between two checks of a worker and its memory
QUEUE_VARIABLE = "SIDGAN_QUEUE"  #: environment variable for --queue; passed to remote workers only
REFUSED = 2  #: exit status of a process that printed one line about an error
LetFail = Callable[[int, str], str | None]  #: (process id of a worker, reason) -> id of its job, which is failed


class Supervisor:
    """Runs workers as child processes, and restarts those that exit. Use it as a context manager.

    If the server is killed, each worker finishes its job and then exits. A worker that uses more memory than a job may
    is killed, and its job fails for good, since another attempt would take as much.

    Raises:
        OutputError: the folder cannot be used.
    """

    def __init__(self, service: Service, server: str | None = None, secret: Path | None = None) -> None:
        """Prepare the workers, without starting them.

        Args:
            service: the settings; for remote workers, its folder is the worker's own.
            server: address of the service, for remote workers.
            secret: file with the secret of remote workers.
        """
        self._service, self._remote = service, server is not None
        self._environment = {name: value for name, value in os.environ.items() if name != QUEUE_VARIABLE}
        self._command = [
            sys.executable, "-m", "sidgan", "serve-worker", "--folder", str(service.folder), "--model", service.model,
            "--device", service.device, "--engine", service.engine, "--keep-hours", str(service.limits.keep),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
        if server is None:
            queue = Queue(Store(service.folder), 3600 * service.limits.keep)
            self._let_fail: LetFail = lambda pid, why: queue.dismiss(f"{socket.gethostname()}-{pid}-", why)
        else:
            self._command += ["--server", server, "--worker-secret", str(secret)]
            self._environment[QUEUE_VARIABLE] = str(service.queue)  # may hold a password: not for lists of processes
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
        """Stop the workers; their jobs go back to the queue."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def run(self, *, once: bool) -> int:
        """Run one worker without a server, until a signal stops it or, with ``once``, until no job is waiting.

        Returns:
            The exit status: `REFUSED` if a remote worker exited because of an error, such as a refusal by the server
            or a full disk, which it has printed; else 0.
        """

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()

        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, stop)
        if once:
            self._command.append("--once")
        return self._keep(once=once)

    def _keep(self, *, once: bool = False) -> int:
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            code: int | None = 1
            try:
                worker = subprocess.Popen(self._command, env=self._environment)
            except OSError as error:
                say(f"a worker cannot be started now ({error}); trying again")
            else:
                code = self._watch(worker)
            if code is None or (once and code == 0):
                break
            if self._remote and code == REFUSED:
                return code
            pause = 1.0 if time.monotonic() - began > STEADY else min(2 * pause, MAX_PAUSE)
            self._stop.wait(pause)
        return 0

    def _watch(self, worker: subprocess.Popen[bytes]) -> int | None:
        """Wait until a worker exits, or kill it for its memory; its exit status, or ``None`` if it was stopped."""
        while worker.poll() is None and not self._stop.wait(POLL):
            if memory.held(worker.pid) > self._service.memory:
                self._fail_and_kill(worker)
        if worker.poll() is not None:
            return worker.returncode
        worker.terminate()
        try:
            worker.wait(STOPPING)
        except subprocess.TimeoutExpired:
            memory.kill(worker.pid)
            worker.wait()
        return None

    def _fail_and_kill(self, worker: subprocess.Popen[bytes]) -> None:
        """Fail the job of a worker, then kill the worker; in the other order, the next worker would start the job."""
        line = (f"it took more than {self._service.memory / 1e6:.0f} MB of memory, the limit for a job here; "
                "give a smaller or shorter video")  # fmt: skip
        job = None
        with suppress(sqlite3.Error, OSError, OutputError):  # kill it even if the job cannot be failed
            job = self._let_fail(worker.pid, line)
        say(f"{job or 'a worker'} failed: {line}")
        memory.kill(worker.pid)
        worker.wait()
