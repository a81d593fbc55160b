"""Jobs: who may have how many, who is next, who is at work, and what became of them.

::

    waiting ─ claim ─▶ running ─ finish ─▶ done | failed
       ▲                  │ release, or the worker is gone
       └──────────────────┘            cancel: from waiting and running; retry: from failed and cancelled

A worker that lives says so by its lease. One that does not is found by the lock file that it no longer holds, on its
own machine at once, or after the lease, and its job waits again. A worker that does not share the folder has a
`sidgan.web.away.Away` in place of this, which asks the server (`sidgan.web.remote`), which asks this.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sidgan.errors import OutputError
from sidgan.portable import hold
from sidgan.types import Show
from sidgan.web.limits import Limits, RefusedError
from sidgan.web.store import Store, new_id

LEASE = 60.0  #: seconds after which a worker that said nothing is taken for dead
REMOTE = "remote:"  #: what names of workers begin with that do not share the folder
ATTEMPTS = 3  #: workers that may die over a job
URGENCY = {"look": 2, "frame": 2, "preview": 1, "dub": 0}  #: people wait for the first ones
OPEN = ("waiting", "running")
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Work:
    """A job as it stands.

    Attributes:
        kind: ``look``, ``frame``, ``preview`` or ``dub``.
        state: see above.
        priority: -1 to 1, among the jobs of one owner.
        spec: what is to be done.
        share, stage: how far it is, 0 to 1 of a stage.
        notes: lines that a user should read.
        error: why it failed.
        result: what came of it; ``files``: names of the files that its owner may fetch.
        attempts: workers that began it.
    """

    id: str
    owner: str
    kind: str
    state: str
    urgency: int
    priority: int
    spec: dict[str, Any]
    share: float
    stage: str
    notes: list[str]
    error: str | None
    result: dict[str, Any] | None
    worker: str | None
    lease: float | None
    attempts: int
    created: float
    started: float | None
    ended: float | None
    expires: float


class Queue:
    """The jobs of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def folder(self, id: str) -> Path:
        """Where a job's results lie."""
        return self.store.folder / "jobs" / id

    # ----------------------------------------------------------------------------------------------------- for owners

    def add(self, owner: str, kind: str, spec: Mapping[str, Any], priority: int, limits: Limits) -> Work:
        """Let a job wait.

        Raises:
            RefusedError: there are too many already, or one of its files was removed meanwhile.
        """
        now, id, keep = time.time(), new_id(), limits.keep * 3600
        with self.store.transaction() as db:
            _require_place(db, owner, limits)
            if not _keep_files(db, owner, spec, now + keep):
                raise RefusedError(404, "no_file", "one of the files was removed meanwhile; upload it again")
            db.execute(
                "insert into job (id, owner, kind, state, urgency, priority, spec, created, expires) "
                "values (?, ?, ?, 'waiting', ?, ?, ?, ?, ?)",
                (id, owner, kind, URGENCY[kind], priority, json.dumps(spec), now, now + keep),
            )  # fmt: skip
        return self._must(id)

    def jobs(self, owner: str) -> list[Work]:
        """All of somebody's jobs, the newest first."""
        with self.store.reading() as db:
            rows = db.execute("select * from job where owner = ? order by created desc", (owner,)).fetchall()
        return [_work(row) for row in rows]

    def get(self, id: str, owner: str) -> Work | None:
        """One job, where it is there and theirs."""
        with self.store.reading() as db:
            row = db.execute("select * from job where id = ? and owner = ?", (id, owner)).fetchone()
        return None if row is None else _work(row)

    def ahead(self, work: Work) -> int:
        """How many jobs come before one that waits, about: others' fairness may change it."""
        with self.store.reading() as db:
            row = db.execute(
                "select count(*) from job where state = 'waiting' and (urgency > ? or urgency = ? and created < ?)",
                (work.urgency, work.urgency, work.created),
            ).fetchone()  # fmt: skip
        return int(row[0])

    def cancel(self, id: str, owner: str) -> bool:
        """Stop a job; whether it was one that could be stopped. A worker notices within a second or two."""
        return self._change(id, owner, OPEN, "state = 'cancelled', ended = ?, worker = null", (time.time(),))

    def retry(self, id: str, owner: str, limits: Limits) -> bool:
        """Let a job that failed or was cancelled wait again; it goes on where it was.

        Raises:
            RefusedError: its files are gone, or there are too many jobs already, as for a new one.
        """
        expires = time.time() + limits.keep * 3600
        with self.store.transaction() as db:
            row = db.execute("select spec from job where id = ? and owner = ? and state in ('failed', 'cancelled')",
                             (id, owner)).fetchone()  # fmt: skip
            if row is None:
                return False
            _require_place(db, owner, limits)
            if not _keep_files(db, owner, json.loads(row["spec"]), expires):
                raise RefusedError(410, "gone", "a file of this job was deleted; upload it and make a new job")
            db.execute("update job set state = 'waiting', error = null, attempts = 0, ended = null, worker = null, "
                       "expires = ? where id = ?", (expires, id))  # fmt: skip
        return True

    def prefer(self, id: str, owner: str, priority: int) -> bool:
        """Set the priority of an unfinished job."""
        return self._change(id, owner, OPEN, "priority = ?", (priority,))

    def remove(self, id: str, owner: str) -> bool:
        """Forget a job that is over, with its results."""
        with self.store.transaction() as db:
            done = db.execute("delete from job where id = ? and owner = ? and state in ('done', 'failed', 'cancelled')",
                              (id, owner))  # fmt: skip
            found = bool(done.rowcount)
        if found:
            shutil.rmtree(self.folder(id), ignore_errors=True)
        return found

    # ---------------------------------------------------------------------------------------------------- for workers

    def claim(self, worker: str) -> Work | None:
        """The job that is next, for a worker to do; ``None`` where none waits.

        Urgent kinds come first; then whoever has the fewest at work; then their own priority; then the oldest.
        """
        now = time.time()
        with self.store.transaction() as db:
            self._take_back(db, now)
            id = _first(db)
            if id is None:
                return None
            _begin(db, id, worker, now)
        return self._must(id)

    def next(self) -> str | None:
        """The job that `claim` would give."""
        with self.store.transaction() as db:
            self._take_back(db, time.time())
            return _first(db)

    def take(self, id: str, worker: str) -> Work | None:
        """One job, for a worker to do, where it still waits."""
        with self.store.transaction() as db:
            if db.execute("select 1 from job where id = ? and state = 'waiting'", (id,)).fetchone() is None:
                return None
            _begin(db, id, worker, time.time())
        return self._must(id)

    def held(self, id: str, worker: str) -> Work | None:
        """A job that a worker is at, or was taken from as it said nothing, and that nobody else has begun since."""
        with self.store.transaction() as db:
            db.execute("update job set state = 'running', lease = ? where id = ? and worker = ? and state = 'waiting'",
                       (time.time() + LEASE, id, worker))  # fmt: skip
            row = db.execute("select * from job where id = ? and worker = ? and state = 'running'",
                             (id, worker)).fetchone()  # fmt: skip
        return None if row is None else _work(row)

    def renew(self) -> None:
        """Let workers elsewhere, who could not reach a server that was stopped, say in time that they live."""
        with self.store.transaction() as db:
            db.execute("update job set lease = ? where state = 'running' and worker like ?",
                       (time.time() + LEASE, f"{REMOTE}%"))  # fmt: skip

    def fetch(self, work: Work, show: Show) -> None:
        """Bring a job's files to where the worker reads them: here they are there."""

    def deliver(self, work: Work, result: Mapping[str, Any], show: Show) -> None:
        """Bring results to where their owner finds them: here they are there."""

    def beat(self, work: Work, share: float, stage: str) -> bool:
        """Say that a job is still worked on; whether it still should be."""
        with self.store.transaction() as db:
            done = db.execute(
                "update job set lease = ?, share = ?, stage = ? where id = ? and worker = ? and state = 'running'",
                (time.time() + LEASE, share, stage, work.id, work.worker),
            )  # fmt: skip
            return bool(done.rowcount)

    def release(self, work: Work) -> None:
        """Give a job back, for another worker to go on with."""
        with self.store.transaction() as db:
            db.execute("update job set state = 'waiting', worker = null, attempts = attempts - 1 "
                       "where id = ? and worker = ? and state = 'running'", (work.id, work.worker))  # fmt: skip

    def finish(
        self, work: Work, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str], keep: float
    ) -> None:
        """Say what came of a job; nothing, where it is not this worker's any more."""
        now = time.time()
        with self.store.transaction() as db:
            db.execute(
                "update job set state = ?, share = 1, stage = '', result = ?, error = ?, notes = ?, ended = ?, "
                "worker = null, expires = ? where id = ? and worker = ? and state = 'running'",
                ("failed" if error else "done", json.dumps(result), error, json.dumps(notes), now, now + keep, work.id,
                 work.worker),
            )  # fmt: skip

    def dismiss(self, worker: str, error: str, keep: float) -> str | None:
        """Let the job of a worker fail for good, as the worker, whose name begins so, is to be ended; its number."""
        now = time.time()
        with self.store.transaction() as db:
            row = db.execute("select id from job where state = 'running' and substr(worker, 1, ?) = ?",
                             (len(worker), worker)).fetchone()  # fmt: skip
            if row is not None:
                db.execute("update job set state = 'failed', error = ?, share = 1, stage = '', ended = ?, "
                           "worker = null, expires = ? where id = ?", (error, now, now + keep, row["id"]))  # fmt: skip
        for badge in (self.store.folder / "workers").glob(f"{worker}*.lock"):
            badge.unlink(missing_ok=True)
        return None if row is None else str(row["id"])

    def _take_back(self, db: sqlite3.Connection, now: float) -> None:
        """Let the jobs of dead workers wait again; a job that killed too many fails."""
        for row in db.execute("select id, worker, lease, attempts from job where state = 'running'").fetchall():
            if row["lease"] >= now and not _gone(self.store, row["worker"]):
                continue
            if row["attempts"] >= ATTEMPTS:
                error = f"{ATTEMPTS} workers stopped over it without a word, perhaps for want of memory"
                db.execute("update job set state = 'failed', error = ?, ended = ?, worker = null where id = ?",
                           (error, now, row["id"]))  # fmt: skip
            else:
                db.execute("update job set state = 'waiting' where id = ?", (row["id"],))  # see `held`

    def _change(self, id: str, owner: str, states: Sequence[str], what: str, values: Sequence[Any]) -> bool:
        marks = ", ".join("?" * len(states))
        with self.store.transaction() as db:
            done = db.execute(f"update job set {what} where id = ? and owner = ? and state in ({marks})",
                              (*values, id, owner, *states))  # fmt: skip
            return bool(done.rowcount)

    def _must(self, id: str) -> Work:
        with self.store.reading() as db:
            return _work(db.execute("select * from job where id = ?", (id,)).fetchone())


class Badge:
    """A worker's name, and the lock by which others on its machine know that it lives.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, store: Store) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_id()[:8]}"
        try:
            self._file: IO[str] = _badge(store, self.name).open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{store.folder} cannot be written ({error}); choose another") from error
        _lock(self._file)

    def drop(self) -> None:
        """Be no worker any more."""
        with suppress(OSError):
            Path(self._file.name).unlink()
        self._file.close()


def files_of(spec: Mapping[str, Any]) -> list[str]:
    """The numbers of the files that a job needs."""
    found = [spec["video"], *(part["voice"] for part in spec.get("cast", ())), spec.get("background")]
    return [file for file in found if file and file != "original"]


def _require_place(db: sqlite3.Connection, owner: str, limits: Limits) -> None:
    """Refuse one more job where somebody, or everybody together, has too many that are not over."""
    mine, all_ = (
        db.execute(f"select count(*) from job where state in ('waiting', 'running') {extra}", given).fetchone()[0]
        for extra, given in (("and owner = ?", (owner,)), ("", ()))
    )
    if mine >= limits.jobs:
        raise RefusedError(429, "too_many_jobs", f"you have {mine} unfinished jobs of {limits.jobs} allowed; "
                           "wait for one or cancel one")  # fmt: skip
    if all_ >= limits.waiting:
        raise RefusedError(503, "busy", "too many jobs are waiting; try again later")


def _keep_files(db: sqlite3.Connection, owner: str, spec: Mapping[str, Any], expires: float) -> bool:
    """Keep the files of a job until then; whether all are there."""
    return all(
        db.execute("update file set expires = ? where id = ? and owner = ?", (expires, file, owner)).rowcount
        for file in files_of(spec)
    )


def _first(db: sqlite3.Connection) -> str | None:
    row = db.execute(
        "select id from job as mine where state = 'waiting' order by urgency desc, (select count(*) from job "
        "as other where other.owner = mine.owner and other.state = 'running'), priority desc, created limit 1"
    ).fetchone()  # fmt: skip
    return None if row is None else str(row["id"])


def _begin(db: sqlite3.Connection, id: str, worker: str, now: float) -> None:
    db.execute(
        "update job set state = 'running', worker = ?, lease = ?, attempts = attempts + 1, stage = '', "
        "share = 0, notes = '[]', started = coalesce(started, ?) where id = ?",
        (worker, now + LEASE, now, id),
    )  # fmt: skip


def _badge(store: Store, worker: str) -> Path:
    return store.folder / "workers" / f"{worker}.lock"


def _gone(store: Store, worker: str) -> bool:
    """Whether a worker of this machine is known to be dead."""
    if not worker.startswith(f"{socket.gethostname()}-"):
        return False
    try:
        with _badge(store, worker).open("r+", encoding="utf-8") as file:
            free = _lock(file)
    except OSError:
        return True
    if free:
        _badge(store, worker).unlink(missing_ok=True)
    return free


def _lock(file: IO[str]) -> bool:
    """Whether nobody else holds it; it is held until the file is closed."""
    try:
        hold(file)
    except BlockingIOError:
        return False
    return True


def _work(row: sqlite3.Row) -> Work:
    values = dict(row)
    for name in ("spec", "notes", "result"):
        values[name] = json.loads(values[name] or "null")
    return Work(**values)
