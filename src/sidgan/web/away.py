"""The jobs of a service whose folder a worker does not share: numbers from the queue engine, the rest from the server.

The worker has a folder like that of a service, of its own, and does in it what all workers do (`sidgan.web.worker`,
`sidgan.web.tasks`). What it began stays there by the job's number, so the same machine goes on where it was; another
one begins anew. What the server does not know any more is removed.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidgan.errors import ConfigError, OutputError, SidganError
from sidgan.files import write_text, writing
from sidgan.portable import hold
from sidgan.types import Show
from sidgan.web.courier import Courier, UnreachableError
from sidgan.web.handout import EngineError, Handout
from sidgan.web.limits import RefusedError
from sidgan.web.queue import Queue, Work
from sidgan.web.store import DATABASE, Store, new_id
from sidgan.web.terms import NUMBER, RESULTS, Terms
from sidgan.web.worker import Dropped, Means

EVERY = 4.0  #: seconds between two signs of life
GREETING = 30.0  #: seconds between two greetings of a worker that has nothing to do
WAIT = 5  #: seconds that it waits at the engine at a time
SPARE = 1 << 30  #: bytes that must be free before a job is begun, beside its files
LOCK = "worker.lock"
HELD = "held.json"  #: the number of the job that is worked on, and what its worker is called
DISMISSED = "dismissed.json"  #: the same of a worker that was ended over its job, and why it was
OWNER = "service"  #: whose files they are in this folder; the server does not tell
SENT = 1000  #: numbers in a greeting


@contextmanager
def away(
    folder: Path, engine: str, server: str, secret: str, means: Means, say: Callable[[str], None]
) -> Iterator[Away]:
    """The jobs of a service elsewhere, for as long as the block runs.

    Where the worker before this one was ended in the middle of a job, a server that is away is waited for.

    Args:
        folder: of this worker alone.
        engine: address of the queue engine. server: of the service. secret: of its workers.

    Raises:
        ConfigError: something does not answer, or refuses, or the folder is another's.
        OutputError: it cannot be written.
    """
    handout, courier = Handout(engine), Courier(server, secret, say)
    amid = (folder / HELD).exists()
    if not amid:
        handout.check()
    if (folder / DATABASE).exists() and not (folder / LOCK).exists():
        raise ConfigError(f"{folder} is the folder of a service; give this worker a folder of its own: --folder")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / LOCK).open("w", encoding="utf-8")
    with lock:
        try:
            hold(lock)
        except BlockingIOError:
            raise ConfigError(f"{folder} is used by another worker; give each a folder of its own: --folder") from None
        jobs = Away(Store(folder), handout, courier, Terms.of(means.model, means.engine), say)
        if amid:
            courier.patiently(jobs.greet)
        else:
            jobs.greet()
        jobs.let_fail()
        yield jobs


def dismiss(folder: Path, error: str) -> str | None:
    """Note that the worker of a folder is to be ended over its job; the next one there lets that fail.

    Returns:
        The number of the job, if it had one.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        id, worker = json.loads((folder / HELD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    write_text(folder / DISMISSED, json.dumps([id, worker, error]))
    return str(id)


class Away(Queue):
    """See above."""

    def __init__(
        self, store: Store, handout: Handout, courier: Courier, terms: Terms, say: Callable[[str], None]
    ) -> None:
        super().__init__(store)
        self._handout, self._courier, self._terms, self._say = handout, courier, terms, say
        self._key, self._greeted, self._beaten, self._silent = "", 0.0, 0.0, False
        self._sent: dict[str, str] = {}
        self._files: list[dict[str, Any]] = []

    def greet(self) -> None:
        """Ask whether this worker is welcome, and what it need not keep.

        Raises:
            RefusedError: it is not.
            UnreachableError: the server does not answer.
        """
        kept = [path.name for part in ("files", "jobs") for path in (self.store.folder / part).iterdir()
                if NUMBER.fullmatch(path.name)]  # fmt: skip
        kept = random.sample(kept, min(len(kept), SENT))  # of more, others the next time
        told = self._courier.ask("hello", {**asdict(self._terms), "kept": kept})
        self._key, self._greeted = str(told["key"]), time.monotonic()
        for id in set(told["drop"]) & set(kept):
            self.store.remove_file(id, OWNER)
            shutil.rmtree(self.folder(id), ignore_errors=True)

    def claim(self, worker: str) -> Work | None:
        """The job that the engine gives this worker, if it gives one soon.

        Raises:
            OutputError: there is no room for one.
            RefusedError: this worker is not welcome any more.
        """
        self._require_room(0)
        if time.monotonic() - self._greeted > GREETING:
            self._courier.patiently(self.greet)
        id = self._offered()
        if id is None:
            return None
        name = f"{worker}-{new_id()[:8]}"  # so that what is late is told from what is not
        try:
            told = self._courier.patiently(lambda: self._courier.ask(f"jobs/{id}/take", {"name": name}))
        except RefusedError as refusal:
            if refusal.code == "not_waiting":  # somebody else was faster, or it was cancelled
                return None
            raise
        now = time.time()
        work = Work(
            id=id, owner=OWNER, kind=told["kind"], state="running", urgency=0, priority=0, spec=told["spec"], share=0.0,
            stage="", notes=[], error=None, result=None, worker=told["worker"], lease=None, attempts=1, created=now,
            started=now, ended=None, expires=now,
        )  # fmt: skip
        self._files, self._sent, self._beaten = told["files"], {}, time.monotonic()
        try:
            self._require_room(sum(file["bytes"] for file in self._files))
            write_text(self.store.folder / HELD, json.dumps([work.id, work.worker]))
        except OutputError:
            self.release(work)
            raise
        return work

    def let_fail(self) -> None:
        """Say that the job failed over which the worker before this one was ended, if one was.

        Raises:
            RefusedError: this worker is not welcome any more.
        """
        note = self.store.folder / DISMISSED
        if note.exists():
            id, worker, error = json.loads(note.read_text(encoding="utf-8"))
            note.unlink()
            self._finish(id, worker, None, error, ())

    def _offered(self) -> str | None:
        try:
            id = self._handout.next(self._key, WAIT)
        except EngineError as error:
            if not self._silent:
                self._say(f"{error}; trying again until it does")
            self._silent = True
            time.sleep(WAIT)
            return None
        self._silent = False
        return id if id is not None and NUMBER.fullmatch(id) else None

    def fetch(self, work: Work, show: Show) -> None:
        """Bring the job's files, unless they are here.

        Raises:
            Dropped: the job is not this worker's any more.
            OutputError: they cannot be written.
        """
        for file in self._files:
            id, suffix = str(file["id"]), str(file["suffix"])
            if not (NUMBER.fullmatch(id) and re.fullmatch(r"\.\w{1,16}", suffix)):
                raise ConfigError(f"the server sent an invalid file name, {id}{suffix}; check --server")
            kept = self.store.file(id, OWNER)
            if kept is not None and self.store.path(kept).is_file():
                continue
            folder = self.store.file_folder(id)
            with writing(folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            with _ours():
                self._courier.fetch(f"jobs/{work.id}/files/{id}", str(work.worker), folder / "part", file["bytes"],
                                    lambda share: show(share, "fetch"))  # fmt: skip
            (folder / "part").replace(folder / f"original{suffix}")
            if kept is None:
                self.store.add_file(id, OWNER, file["kind"], file["name"], suffix, file["bytes"], file["facts"], 0.0)

    def deliver(self, work: Work, result: Mapping[str, Any], show: Show) -> None:
        """Send the results.

        Raises:
            Dropped: the job is not this worker's any more.
            RefusedError: the server does not take them.
        """
        for name in result["files"]:
            file = self.folder(work.id) / name
            if file.is_file() and RESULTS[work.kind].fullmatch(name):
                with _ours():
                    self._sent[name] = self._courier.send(f"jobs/{work.id}/results", str(work.worker), file,
                                                          lambda share: show(share, "send"))  # fmt: skip

    def beat(self, work: Work, share: float, stage: str) -> bool:
        """Say that the job is worked on; whether it still should be, as far as is known."""
        if time.monotonic() - self._beaten < EVERY:
            return True
        self._beaten = time.monotonic()
        given = {"worker": work.worker, "share": share, "stage": stage[:400]}
        try:
            return bool(self._courier.ask(f"jobs/{work.id}/beat", given, silence=10.0).get("wanted", True))
        except UnreachableError:  # it may be back soon, and then says whether it waited
            return True
        except RefusedError as refusal:
            return refusal.status >= 500  # it failed, which says nothing about the job

    def release(self, work: Work) -> None:
        """Give the job back, where the server answers; else it finds out by itself."""
        with suppress(SidganError):
            self._courier.ask(f"jobs/{work.id}/release", {"worker": work.worker}, silence=5.0)
        (self.store.folder / HELD).unlink(missing_ok=True)

    def finish(
        self, work: Work, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str], keep: float
    ) -> None:
        """Say what came of the job, once the results are there; how long they are kept is the server's to say.

        Raises:
            RefusedError: this worker is not welcome any more.
        """
        self._finish(work.id, str(work.worker), result, error, notes)

    def _finish(
        self, id: str, worker: str, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str]
    ) -> None:
        (self.store.folder / HELD).unlink(missing_ok=True)
        told = None if result is None else {**result, "files": [name for name in result["files"] if name in self._sent]}
        given = {"worker": worker, "result": told, "error": error and error[:4000], "digests": self._sent,
                 "notes": [note[:4000] for note in notes[:200]]}  # fmt: skip
        try:
            self._courier.patiently(lambda: self._courier.ask(f"jobs/{id}/finish", given, silence=600.0))
        except RefusedError as refusal:
            if refusal.code == "not_yours":
                return
            if error is not None or refusal.status == 401:
                raise
            self._finish(id, worker, None, str(refusal), notes)
            return
        if error is None:
            shutil.rmtree(self.folder(id), ignore_errors=True)

    def _require_room(self, size: int) -> None:
        if shutil.disk_usage(self.store.folder).free - size < SPARE:
            raise OutputError(f"{self.store.folder} has less than the {(size + SPARE) / 1e9:.1f} GB free that a job "
                              "needs; free space or choose another --folder")  # fmt: skip


@contextmanager
def _ours() -> Iterator[None]:
    """A refusal because the job is not this worker's any more ends the work on it without a word."""
    try:
        yield
    except RefusedError as refusal:
        if refusal.code == "not_yours":
            raise Dropped from None
        raise
