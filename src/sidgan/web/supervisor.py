"""Keeps the workers of a server running for as long as it does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Self

from sidgan.web.settings import Service

PATIENCE = 15.0  #: seconds that a worker may take to put its job away
SLOWEST = 30.0  #: seconds before one that keeps ending is started again
STEADY = 60.0  #: seconds after which one that ends had been well


class Supervisor:
    """Starts workers, and again those that end. Use it as a context manager.

    A worker is a process of its own: when the server is killed, it does its job to the end, and then ends.
    """

    def __init__(self, service: Service) -> None:
        self._command = [
            sys.executable, "-m", "sidgan", "serve-worker", "--folder", str(service.folder), "--model", service.model,
            "--device", service.device, "--engine", service.engine, "--keep-hours", str(service.limits.keep),
            "--parent", str(os.getpid()),
        ]  # fmt: skip
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

    def _keep(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            worker = subprocess.Popen(self._command)
            while worker.poll() is None and not self._stop.wait(0.2):
                pass
            if worker.poll() is None:
                worker.terminate()
                try:
                    worker.wait(PATIENCE)
                except subprocess.TimeoutExpired:
                    worker.kill()
                    worker.wait()
                return
            pause = 1.0 if time.monotonic() - began > STEADY else min(2 * pause, SLOWEST)
            self._stop.wait(pause)
