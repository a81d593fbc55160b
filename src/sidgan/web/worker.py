"""A worker: takes jobs one after the other, says how far it is, and stops when it is told to."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from sidgan.errors import SidganError
from sidgan.web.queue import LEASE, Badge, Queue, Work
from sidgan.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

IDLE = 0.5  #: seconds between two looks for a job
BEAT = 1.0  #: seconds between two signs of life
Say = Callable[[str], None]


class Stopped(BaseException):
    """The worker is to end; its job is for others to go on with."""


class Dropped(BaseException):
    """The job is not to be done any more."""


@dataclass(frozen=True)
class Means:
    """What a worker works with; see `sidgan.dub`."""

    model: str = "bundled"
    device: str = "auto"
    engine: str = "torch"
    keep: float = 24 * 3600.0


class Pulse:
    """Says in a thread of its own how far a job is, and learns whether it is still wanted."""

    def __init__(self, queue: Queue, work: Work) -> None:
        self._queue, self._work = queue, work
        self._share, self._stage = 0.0, ""
        self._over, self._dropped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Beat while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def show(self, share: float, stage: str) -> None:
        """Note how far it is.

        Raises:
            Dropped: it is not wanted any more.
        """
        self._share, self._stage = min(max(share, 0.0), 1.0), stage
        if self._dropped.is_set():
            raise Dropped

    def _beat(self) -> None:
        heard = time.monotonic()
        while not self._over.wait(BEAT):
            began = time.monotonic()
            try:
                wanted = self._queue.beat(self._work, self._share, self._stage)
            except (sqlite3.Error, OSError):  # once the lease is over, somebody else may have begun it
                wanted = began - heard < LEASE
            else:
                heard = began
            if not wanted:
                self._dropped.set()
                return


def work(folder: Path, means: Means, say: Say, *, parent: int | None = None, once: bool = False) -> None:
    """Do jobs until told to stop by a signal.

    Args:
        folder: of the service.
        means: what to do them with.
        say: told a line about each job.
        parent: the process of the server that started this worker; when that is gone, the worker ends after its job.
        once: end when nothing waits.

    Raises:
        OutputError: the folder cannot be used.
    """
    do(Queue(Store(folder)), means, say, parent=parent, once=once)


def do(queue: Queue, means: Means, say: Say, *, parent: int | None = None, once: bool = False) -> None:
    """The same, with the jobs of a queue."""
    badge = Badge(queue.store)
    try:
        with _stoppable():
            import_module("sidgan.web.tasks")  # seconds that the first job need not wait for
            wanted = _lives(parent)
            while wanted():
                claimed = queue.claim(badge.name)
                if claimed is not None:
                    _do(queue, claimed, means, say)
                elif once:
                    return
                else:
                    time.sleep(IDLE)
    except Stopped:
        say("stopped")
    finally:
        badge.drop()


def _lives(parent: int | None) -> Callable[[], bool]:
    """Tells whether the process that started this one lives; always so, where none is named.

    Elsewhere than on Windows a process whose parent has ended gets another one; there it keeps the number, which a new
    process may have by then, so that process is asked for by when it began as well.
    """
    if parent is None:
        return lambda: True
    from psutil import NoSuchProcess, Process

    try:
        process = Process(parent)
    except NoSuchProcess:
        return lambda: False
    return lambda: os.getppid() == parent and bool(process.is_running())


def _do(queue: Queue, job: Work, means: Means, say: Say) -> None:
    from sidgan.web import tasks

    notes, result, error = list[str](), None, None
    pulse = Pulse(queue, job)
    try:
        with pulse.running():
            queue.fetch(job, pulse.show)
            result = tasks.run(queue, job, means, pulse.show, notes.append)
            queue.deliver(job, result, pulse.show)
    except Dropped:
        say(f"{job.kind} {job.id} is no longer wanted: it was cancelled or given to another worker")
        return
    except Stopped:
        queue.release(job)
        raise
    except SidganError as problem:
        error = tasks.plain(queue, job, str(problem))
    except Exception as problem:  # one odd file must not end the worker
        say(f"{job.kind} {job.id} failed: {type(problem).__name__}: {problem}")
        error = f"it failed unexpectedly ({type(problem).__name__}); the service's log says more"
    queue.finish(job, result, error, [tasks.plain(queue, job, note) for note in notes], means.keep)
    say(f"{job.kind} {job.id} {'failed: ' + error if error else 'done'}")


@contextmanager
def _stoppable() -> Iterator[None]:
    """The signals that end programs raise `Stopped` in the block, once."""

    def stop(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        raise Stopped

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
