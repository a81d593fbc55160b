"""A worker: takes jobs from the queue one after the other, sends heartbeats with progress, and stops on a signal."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import TypeVar

from sidgan.errors import SidganError
from sidgan.web.queue import LEASE, Badge, Queue, Work
from sidgan.web.settings import Means

IDLE = 0.5  #: seconds between two queries for a job
BEAT = 1.0  #: seconds between two heartbeats
PAUSE = 2.0  #: seconds between two attempts to use a database that cannot be used
Say = Callable[[str], None]
T = TypeVar("T")


class Stopped(BaseException):
    """A signal stops the worker; its job goes back to the queue."""


class Dropped(BaseException):
    """The job was cancelled, or no longer belongs to this worker."""


class Pulse:
    """Sends heartbeats with a job's progress from a separate thread, and notices when the job is no longer wanted."""

    def __init__(self, queue: Queue, work: Work) -> None:
        self._queue, self._work = queue, work
        self._share, self._stage = 0.0, ""
        self._over, self._dropped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send heartbeats while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def show(self, share: float, stage: str) -> None:
        """Set the progress for the next heartbeat: 0 to 1 of a stage.

        Raises:
            Dropped: the job is no longer wanted.
        """
        self._share, self._stage = min(max(share, 0.0), 1.0), stage
        if self._dropped.is_set():
            raise Dropped

    def _beat(self) -> None:
        renewed = time.monotonic()
        while not self._over.wait(BEAT):
            began = time.monotonic()
            try:
                wanted = self._queue.beat(self._work, self._share, self._stage)
            except (sqlite3.Error, OSError):  # after the lease has ended, another worker may have started the job
                wanted = began - renewed < LEASE
            else:
                renewed = began
            if not wanted:
                self._dropped.set()
                return


def work(queue: Queue, means: Means, say: Say, *, parent: int | None = None, once: bool = False) -> None:
    """Do jobs until a signal stops the worker.

    Args:
        queue: the service's jobs.
        means: what jobs are done with.
        say: called with a line for the log about each job.
        parent: id of the process that started this worker; if it dies, the worker exits after its job.
        once: return when no job is waiting.

    Raises:
        OutputError: the folder cannot be used.
    """
    badge = Badge(queue.store)
    try:
        with _stoppable():
            import_module("sidgan.web.tasks")  # takes seconds, for which the first job then need not wait
            parent_lives = _lives(parent)
            while parent_lives():
                claimed = _when_usable(lambda: queue.claim(badge.name) if parent_lives() else None, say)
                if claimed is not None:
                    _do_one(queue, claimed, means, say)
                elif once:
                    return
                else:
                    time.sleep(IDLE)
    except Stopped:
        say("stopped")
    finally:
        badge.drop()


def _lives(parent: int | None) -> Callable[[], bool]:
    """A function that tells whether the parent process is alive; without a parent, it always returns true.

    On POSIX systems, a process whose parent has ended gets a new parent id. On Windows it keeps the old id, which may
    belong to a new process by then; psutil notices that by the process's start time.
    """
    if parent is None:
        return lambda: True
    from psutil import NoSuchProcess, Process

    try:
        process = Process(parent)
    except NoSuchProcess:
        return lambda: False
    return lambda: os.getppid() == parent and bool(process.is_running())


def _do_one(queue: Queue, job: Work, means: Means, say: Say) -> None:
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
    lines = [tasks.plain(queue, job, note) for note in notes]
    _when_usable(lambda: queue.finish(job, result, error, lines), say)
    say(f"{job.kind} {job.id} {'failed: ' + error if error else 'done'}")


def _when_usable(call: Callable[[], T], say: Say) -> T:
    """The result of a call, which is repeated while the database cannot be used: locked for long, or on a full disk."""
    silent = False
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not silent:
                say(f"the service's database cannot be used now ({error}); trying again until it can")
            silent = True
            time.sleep(PAUSE)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `Stopped` in the block at the first SIGTERM or SIGINT; later ones are ignored."""

    def stop(number: int, frame: FrameType | None) -> None:
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
        raise Stopped

    before = {signum: signal.signal(signum, stop) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
