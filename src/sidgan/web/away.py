"""The queue of a remote worker, which does not share the service's folder: job ids come from the queue engine, and
everything else from the server.

The worker has its own folder, laid out like that of a service, and works in it like all workers (`sidgan.web.worker`,
`sidgan.web.tasks`). Unfinished work stays there under the job's id, so the same machine resumes a job; another machine
starts it from the beginning. Files and jobs that the server no longer knows are removed.
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
from sidgan.web.settings import Means
from sidgan.web.store import DATABASE, Store, new_id
from sidgan.web.terms import ID, RESULTS, Terms
from sidgan.web.worker import Dropped

EVERY = 4.0  #: seconds between two heartbeats
GREETING = 30.0  #: seconds between two greetings while the worker is idle
WAIT = 5  #: seconds that one request to the engine waits for a job
SPARE = 1 << 30  #: bytes that must be free before a job is started, beside its files
LOCK = "worker.lock"
HELD = "held.json"  #: id and worker name of the current job
DISMISSED = "dismissed.json"  #: id and worker name of a job whose worker was killed, and the reason
OWNER = "service"  #: the owner of all files in this folder; the server does not tell the real ones
MAX_IDS = 1000  #: ids in a greeting


@contextmanager
def away(
    folder: Path, engine: str, server: str, secret: str, means: Means, say: Callable[[str], None]
) -> Iterator[Away]:
    """The queue of a remote worker, for use in a ``with`` block, which locks the folder.

    If the previous worker was killed during a job, this waits for a server that does not answer.

    Args:
        folder: the worker's own folder.
        engine: address of the queue engine.
        server: address of the service.
        secret: secret of the service's workers.
        means: what jobs are done with; the server refuses a worker that differs from it.
        say: called with each line for the log.

    Raises:
        ConfigError: engine or server does not answer, or the folder belongs to a service or another worker.
        RefusedError: the server refuses this worker.
        OutputError: the folder cannot be written.
    """
    handout, courier = Handout(engine), Courier(server, secret, say)
    interrupted = (folder / HELD).exists()
    if not interrupted:
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
        if interrupted:
            courier.patiently(jobs.greet)
        else:
            jobs.greet()
        jobs.let_fail()
        yield jobs


def dismiss(folder: Path, error: str) -> str | None:
    """Note that the worker of a folder is killed because of its job; the next worker there reports the job as failed.

    Returns:
        The id of the job, if it had one.

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
    """A `Queue` for a remote worker: of its jobs only the current one exists here, and all state is on the server."""

    def __init__(
        self, store: Store, handout: Handout, courier: Courier, terms: Terms, say: Callable[[str], None]
    ) -> None:
        super().__init__(store)
        self._handout, self._courier, self._terms, self._say = handout, courier, terms, say
        self._key, self._greeted, self._beaten, self._silent = "", 0.0, 0.0, False
        self._sent: dict[str, str] = {}
        self._files: list[dict[str, Any]] = []

    def greet(self) -> None:
        """Register with the server, and remove the files and jobs that it no longer knows.

        Raises:
            RefusedError: the server refuses this worker.
            UnreachableError: the server does not answer.
        """
        kept = [path.name for part in ("files", "jobs") for path in (self.store.folder / part).iterdir()
                if ID.fullmatch(path.name)]  # fmt: skip
        kept = random.sample(kept, min(len(kept), MAX_IDS))  # random, so that all get their turn
        answer = self._courier.ask("hello", {**asdict(self._terms), "kept": kept})
        self._key, self._greeted = str(answer["key"]), time.monotonic()
        for id in set(answer["drop"]) & set(kept):
            self.store.remove_file(id, OWNER)
            shutil.rmtree(self.folder(id), ignore_errors=True)

    def claim(self, worker: str) -> Work | None:
        """The job that the engine offers this worker; ``None`` if it offers none within `WAIT` seconds.

        Raises:
            OutputError: there is not enough disk space for a job.
            RefusedError: the server refuses this worker.
        """
        self._require_room(0)
        if time.monotonic() - self._greeted > GREETING:
            self._courier.patiently(self.greet)
        id = self._offered()
        if id is None:
            return None
        name = f"{worker}-{new_id()[:8]}"  # unique, so that late requests about an earlier attempt are recognised
        try:
            job = self._courier.patiently(lambda: self._courier.ask(f"jobs/{id}/take", {"name": name}))
        except RefusedError as refusal:
            if refusal.code == "not_waiting":  # another worker was faster, or it was cancelled
                return None
            raise
        now = time.time()
        work = Work(
            id=id, owner=OWNER, kind=job["kind"], state="running", urgency=0, priority=0, spec=job["spec"], share=0.0,
            stage="", notes=[], error=None, result=None, worker=job["worker"], lease=None, attempts=1, created=now,
            started=now, ended=None, expires=now,
        )  # fmt: skip
        self._files, self._sent, self._beaten = job["files"], {}, time.monotonic()
        try:
            self._require_room(sum(file["bytes"] for file in self._files))
            write_text(self.store.folder / HELD, json.dumps([work.id, work.worker]))
        except OutputError:
            self.release(work)
            raise
        return work

    def let_fail(self) -> None:
        """If the previous worker was killed because of its job (see `dismiss`), report that job as failed.

        Raises:
            RefusedError: the server refuses this worker.
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
        return id if id is not None and ID.fullmatch(id) else None

    def fetch(self, work: Work, show: Show) -> None:
        """Download the job's files, except those that are here already.

        Raises:
            Dropped: the job no longer belongs to this worker.
            OutputError: the files cannot be written.
        """
        for file in self._files:
            id, suffix = str(file["id"]), str(file["suffix"])
            if not (ID.fullmatch(id) and re.fullmatch(r"\.\w{1,16}", suffix)):
                raise ConfigError(f"the server sent an invalid file name, {id}{suffix}; check --server")
            kept = self.store.file(id, OWNER)
            if kept is not None and self.store.path(kept).is_file():
                continue
            folder = self.store.file_folder(id)
            with writing(folder):
                folder.mkdir(mode=0o700, exist_ok=True)
            with _lost_jobs_dropped():
                self._courier.fetch(f"jobs/{work.id}/files/{id}", str(work.worker), folder / "part", file["bytes"],
                                    lambda share: show(share, "fetch"))  # fmt: skip
            (folder / "part").replace(folder / f"original{suffix}")
            if kept is None:
                self.store.add_file(id, OWNER, file["kind"], file["name"], suffix, file["bytes"], file["facts"], 0.0)

    def deliver(self, work: Work, result: Mapping[str, Any], show: Show) -> None:
        """Upload the results.

        Raises:
            Dropped: the job no longer belongs to this worker.
            RefusedError: the server refuses them.
        """
        for name in result["files"]:
            file = self.folder(work.id) / name
            if file.is_file() and RESULTS[work.kind].fullmatch(name):
                with _lost_jobs_dropped():
                    self._sent[name] = self._courier.send(f"jobs/{work.id}/results", str(work.worker), file,
                                                          lambda share: show(share, "send"))  # fmt: skip

    def beat(self, work: Work, share: float, stage: str) -> bool:
        """Send a heartbeat, at most every `EVERY` seconds; returns whether the job is still wanted, as far as known."""
        if time.monotonic() - self._beaten < EVERY:
            return True
        self._beaten = time.monotonic()
        values = {"worker": work.worker, "share": share, "stage": stage[:400]}
        try:
            return bool(self._courier.ask(f"jobs/{work.id}/beat", values, silence=10.0).get("wanted", True))
        except UnreachableError:  # the server may be back soon, and still know the job
            return True
        except RefusedError as refusal:
            return refusal.status >= 500  # a failure of the server says nothing about the job

    def release(self, work: Work) -> None:
        """Return the job to the queue; if the server does not answer, the lease ends by itself."""
        with suppress(SidganError):
            self._courier.ask(f"jobs/{work.id}/release", {"worker": work.worker}, silence=5.0)
        (self.store.folder / HELD).unlink(missing_ok=True)

    def finish(self, work: Work, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str]) -> None:
        """Report the outcome of the job, after its results were uploaded.

        Raises:
            RefusedError: the server refuses this worker, or the report of a failed job.
        """
        self._finish(work.id, str(work.worker), result, error, notes)

    def _finish(
        self, id: str, worker: str, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str]
    ) -> None:
        (self.store.folder / HELD).unlink(missing_ok=True)
        sent = None if result is None else {**result, "files": [name for name in result["files"] if name in self._sent]}
        values = {"worker": worker, "result": sent, "error": error and error[:4000], "digests": self._sent,
                  "notes": [note[:4000] for note in notes[:200]]}  # fmt: skip
        try:
            self._courier.patiently(lambda: self._courier.ask(f"jobs/{id}/finish", values, silence=600.0))
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
def _lost_jobs_dropped() -> Iterator[None]:
    """Raise `Dropped` if the server refuses a request because the job no longer belongs to this worker."""
    try:
        yield
    except RefusedError as refusal:
        if refusal.code == "not_yours":
            raise Dropped from None
        raise
