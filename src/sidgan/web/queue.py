"""The job queue: states, limits, order, leases and results.

::

    waiting ─ claim ─▶ running ─ finish ─▶ done | failed
       ▲                  │ release, or the worker has died
       └──────────────────┘            cancel: from waiting and running; retry: from failed and cancelled

A worker renews its job's lease by heartbeats. If it dies, its job goes back to waiting: on the same machine at once,
since the worker's lock file is no longer locked; elsewhere when the lease ends. A remote worker uses a
`sidgan.web.away.Away` instead of this class, which sends requests to the server (`sidgan.web.remote`), which uses this.
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
from sidgan.web.store import Kept, Store, new_id

LEASE = 60.0  #: seconds without a heartbeat after which a worker counts as dead
REMOTE = "remote:"  #: prefix of the names of remote workers
ATTEMPTS = 3  #: a job fails when this many workers have died while doing it
URGENCY = {"look": 2, "frame": 2, "preview": 1, "dub": 0}  #: higher is first: users wait for short jobs
UNFINISHED = ("waiting", "running")
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Work:
    """A snapshot of a job. Times are seconds since the epoch.

    Attributes:
        kind: ``look``, ``frame``, ``preview`` or ``dub``.
        state: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.
        urgency: see `URGENCY`.
        priority: -1 to 1, among the jobs of one owner.
        spec: the order as JSON values, see `sidgan.web.schema`.
        share, stage: progress, 0 to 1 of the named stage.
        notes: lines for the user.
        error: why it failed.
        result: JSON values; ``files`` lists the files that the owner may download.
        worker: name of the worker that has the job, or had it before its lease ended.
        lease: when the worker counts as dead, unless it renews the lease.
        attempts: number of workers that started it.
        expires: when the job and its results are removed.
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
    """The jobs of a store; ``keep``: seconds that a job and its files are kept after it was queued or ended."""

    def __init__(self, store: Store, keep: float = 3600 * Limits.keep) -> None:
        self.store, self._keep = store, keep

    def folder(self, id: str) -> Path:
        """The folder of a job's results."""
        return self.store.folder / "jobs" / id

    # ----------------------------------------------------------------------------------------------------- for owners

    def add(self, owner: str, kind: str, spec: Mapping[str, Any], priority: int, limits: Limits) -> Work:
        """Add a job to the queue.

        Raises:
            RefusedError: there are too many unfinished jobs, one of the job's files was removed meanwhile, or the disk
                is full.
        """
        now, id = time.time(), new_id()
        with self.store.transaction() as db:
            _require_place(self.store, db, owner, limits)
            if not _extend_expiry(db, owner, spec, now + self._keep):
                raise RefusedError(404, "no_file", "one of the files was removed meanwhile; upload it again")
            db.execute(
                "insert into job (id, owner, kind, state, urgency, priority, spec, created, expires) "
                "values (?, ?, ?, 'waiting', ?, ?, ?, ?, ?)",
                (id, owner, kind, URGENCY[kind], priority, json.dumps(spec), now, now + self._keep),
            )  # fmt: skip
        return self._read(id)

    def jobs(self, owner: str) -> list[Work]:
        """All jobs of an owner, the newest first."""
        with self.store.reading() as db:
            rows = db.execute("select * from job where owner = ? order by created desc", (owner,)).fetchall()
        return [_work(row) for row in rows]

    def get(self, id: str, owner: str) -> Work | None:
        """A job; ``None`` if there is none with this id, or it has another owner."""
        with self.store.reading() as db:
            row = db.execute("select * from job where id = ? and owner = ?", (id, owner)).fetchone()
        return None if row is None else _work(row)

    def ahead(self, work: Work) -> int:
        """About how many jobs come before a waiting one; fairness between users may change the order."""
        with self.store.reading() as db:
            row = db.execute(
                "select count(*) from job where state = 'waiting' and (urgency > ? or urgency = ? and created < ?)",
                (work.urgency, work.urgency, work.created),
            ).fetchone()  # fmt: skip
        return int(row[0])

    def cancel(self, id: str, owner: str) -> bool:
        """Cancel an unfinished job; its worker notices at the next heartbeat. Returns false if it is not unfinished."""
        now = time.time()
        return self._change(id, owner, UNFINISHED, "state = 'cancelled', ended = ?, worker = null, expires = ?",
                            (now, now + self._keep))  # fmt: skip

    def retry(self, id: str, owner: str, limits: Limits) -> bool:
        """Queue a failed or cancelled job again, to be resumed; false if it is in another state.

        Raises:
            RefusedError: one of its files was removed, there are too many unfinished jobs, or the disk is full.
        """
        expires = time.time() + self._keep
        with self.store.transaction() as db:
            row = db.execute("select spec from job where id = ? and owner = ? and state in ('failed', 'cancelled')",
                             (id, owner)).fetchone()  # fmt: skip
            if row is None:
                return False
            _require_place(self.store, db, owner, limits)
            if not _extend_expiry(db, owner, json.loads(row["spec"]), expires):
                raise RefusedError(410, "gone", "a file of this job was deleted; upload it and make a new job")
            db.execute("update job set state = 'waiting', error = null, attempts = 0, ended = null, worker = null, "
                       "expires = ? where id = ?", (expires, id))  # fmt: skip
        return True

    def prefer(self, id: str, owner: str, priority: int) -> bool:
        """Set the priority of an unfinished job; false if it is in another state."""
        return self._change(id, owner, UNFINISHED, "priority = ?", (priority,))

    def remove(self, id: str, owner: str) -> bool:
        """Delete a job that has ended, with its results; false if it is in another state."""
        with self.store.transaction() as db:
            cursor = db.execute("delete from job where id = ? and owner = ? and state in "
                                "('done', 'failed', 'cancelled')", (id, owner))  # fmt: skip
            deleted = bool(cursor.rowcount)
        if deleted:
            shutil.rmtree(self.folder(id), ignore_errors=True)
        return deleted

    # ---------------------------------------------------------------------------------------------------- for workers

    def claim(self, worker: str) -> Work | None:
        """Give the next job to a worker; ``None`` if no job is waiting.

        The order: most urgent kind, then the user with the fewest running jobs, then the user's own priority, then age.
        """
        now = time.time()
        with self.store.transaction() as db:
            self._requeue_lost(db, now)
            id = _next_id(db)
            if id is None:
                return None
            _start(db, id, worker, now)
        return self._read(id)

    def next(self) -> str | None:
        """The id of the job that `claim` would give out."""
        with self.store.transaction() as db:
            self._requeue_lost(db, time.time())
            return _next_id(db)

    def take(self, id: str, worker: str) -> Work | None:
        """Give a certain job to a worker; ``None`` if it is not waiting."""
        with self.store.transaction() as db:
            if db.execute("select 1 from job where id = ? and state = 'waiting'", (id,)).fetchone() is None:
                return None
            _start(db, id, worker, time.time())
        return self._read(id)

    def held(self, id: str, worker: str) -> Work | None:
        """A job that a worker has, with its lease renewed if it had ended and nobody else has started the job since."""
        with self.store.transaction() as db:
            db.execute("update job set state = 'running', lease = ? where id = ? and worker = ? and state = 'waiting'",
                       (time.time() + LEASE, id, worker))  # fmt: skip
            row = db.execute("select * from job where id = ? and worker = ? and state = 'running'",
                             (id, worker)).fetchone()  # fmt: skip
        return None if row is None else _work(row)

    def renew(self) -> None:
        """Renew the leases of all remote workers, at the start of a server that they could not reach meanwhile."""
        with self.store.transaction() as db:
            db.execute("update job set lease = ? where state = 'running' and worker like ?",
                       (time.time() + LEASE, f"{REMOTE}%"))  # fmt: skip

    def fetch(self, work: Work, show: Show) -> None:
        """Download a job's files to the worker; nothing to do in a shared folder."""

    def deliver(self, work: Work, result: Mapping[str, Any], show: Show) -> None:
        """Upload a job's results to the server; nothing to do in a shared folder."""

    def beat(self, work: Work, share: float, stage: str) -> bool:
        """Renew the lease of a job and store its progress; false if the job no longer belongs to its worker."""
        with self.store.transaction() as db:
            cursor = db.execute(
                "update job set lease = ?, share = ?, stage = ? where id = ? and worker = ? and state = 'running'",
                (time.time() + LEASE, share, stage, work.id, work.worker),
            )  # fmt: skip
            return bool(cursor.rowcount)

    def release(self, work: Work) -> None:
        """Return a job to the queue, for another worker to resume."""
        with self.store.transaction() as db:
            db.execute("update job set state = 'waiting', worker = null, attempts = attempts - 1 "
                       "where id = ? and worker = ? and state = 'running'", (work.id, work.worker))  # fmt: skip

    def finish(self, work: Work, result: Mapping[str, Any] | None, error: str | None, notes: Sequence[str]) -> None:
        """Store the outcome of a job; does nothing if the job no longer belongs to its worker."""
        now = time.time()
        with self.store.transaction() as db:
            db.execute(
                "update job set state = ?, share = 1, stage = '', result = ?, error = ?, notes = ?, ended = ?, "
                "worker = null, expires = ? where id = ? and worker = ? and state = 'running'",
                ("failed" if error else "done", json.dumps(result), error, json.dumps(notes), now, now + self._keep,
                 work.id, work.worker),
            )  # fmt: skip

    def dismiss(self, worker: str, error: str) -> str | None:
        """Fail the job of a worker that is about to be killed.

        Args:
            worker: prefix of the worker's name.
            error: the reason.

        Returns:
            The id of the job, if the worker had one.
        """
        now = time.time()
        with self.store.transaction() as db:
            row = db.execute("select id from job where state = 'running' and substr(worker, 1, ?) = ?",
                             (len(worker), worker)).fetchone()  # fmt: skip
            if row is not None:
                db.execute("update job set state = 'failed', error = ?, share = 1, stage = '', ended = ?, "
                           "worker = null, expires = ? where id = ?",
                           (error, now, now + self._keep, row["id"]))  # fmt: skip
        for lock in (self.store.folder / "workers").glob(f"{worker}*.lock"):
            lock.unlink(missing_ok=True)
        return None if row is None else str(row["id"])

    def _requeue_lost(self, db: sqlite3.Connection, now: float) -> None:
        """Return the jobs of dead workers to the queue; a job over which too many workers died fails."""
        for row in db.execute("select id, worker, lease, attempts from job where state = 'running'").fetchall():
            if row["lease"] >= now and not _is_dead(self.store, row["worker"]):
                continue
            if row["attempts"] >= ATTEMPTS:
                error = f"{ATTEMPTS} workers died while doing it, perhaps because the machine had too little memory"
                db.execute("update job set state = 'failed', error = ?, ended = ?, worker = null, expires = ? "
                           "where id = ?", (error, now, now + self._keep, row["id"]))  # fmt: skip
            else:  # keeps its worker, see `held`
                db.execute("update job set state = 'waiting' where id = ?", (row["id"],))

    def _change(self, id: str, owner: str, states: Sequence[str], change: str, values: Sequence[Any]) -> bool:
        placeholders = ", ".join("?" * len(states))
        with self.store.transaction() as db:
            cursor = db.execute(f"update job set {change} where id = ? and owner = ? and state in ({placeholders})",
                                (*values, id, owner, *states))  # fmt: skip
            return bool(cursor.rowcount)

    def _read(self, id: str) -> Work:
        with self.store.reading() as db:
            return _work(db.execute("select * from job where id = ?", (id,)).fetchone())


class Badge:
    """A worker's name, and the lock that shows other processes on its machine that it is alive.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, store: Store) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{new_id()[:8]}"
        try:
            self._file: IO[str] = _lock_file(store, self.name).open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{store.folder} cannot be written ({error}); choose another") from error
        locked(self._file)

    def drop(self) -> None:
        """Release the lock and remove its file."""
        with suppress(OSError):
            Path(self._file.name).unlink()
        self._file.close()


def files_of(spec: Mapping[str, Any]) -> list[str]:
    """The ids of the files that a job needs."""
    ids = [spec["video"], *(part["voice"] for part in spec.get("cast", ())), spec.get("background")]
    return [id for id in ids if id and id != "original"]


def length_of(spec: Mapping[str, Any], files: Mapping[str, Kept]) -> float:
    """Seconds of what a job can show a part of: of the video, or, if that is a photo, of the longest voice.

    Args:
        spec: a job with a cast.
        files: its files by id.
    """
    facts = files[spec["video"]].facts
    if facts.get("still"):
        return max(float(files[part["voice"]].facts["heard"]) for part in spec["cast"])
    return float(facts["seconds"])


def _require_place(store: Store, db: sqlite3.Connection, owner: str, limits: Limits) -> None:
    """Refuse another job if its owner, or all users together, have too many unfinished ones, or the disk is full."""
    own, all_ = (
        db.execute(f"select count(*) from job where state in ('waiting', 'running') {extra}", values).fetchone()[0]
        for extra, values in (("and owner = ?", (owner,)), ("", ()))
    )
    if own >= limits.jobs:
        raise RefusedError(429, "too_many_jobs", f"you have {own} unfinished jobs of {limits.jobs} allowed; "
                           "wait for one or cancel one")  # fmt: skip
    if all_ >= limits.all_jobs:
        raise RefusedError(503, "busy", f"all users together have {all_} unfinished jobs of {limits.all_jobs} allowed; "
                           "try again later")  # fmt: skip
    if shutil.disk_usage(store.folder).free < limits.spare:
        raise RefusedError(507, "disk_full", "the service has no room for more results now; try again later")


def _extend_expiry(db: sqlite3.Connection, owner: str, spec: Mapping[str, Any], expires: float) -> bool:
    """Set the expiry of a job's files; false if one of them does not exist."""
    return all(
        db.execute("update file set expires = ? where id = ? and owner = ?", (expires, file, owner)).rowcount
        for file in files_of(spec)
    )


def _next_id(db: sqlite3.Connection) -> str | None:
    row = db.execute(
        "select id from job as mine where state = 'waiting' order by urgency desc, (select count(*) from job "
        "as other where other.owner = mine.owner and other.state = 'running'), priority desc, created limit 1"
    ).fetchone()  # fmt: skip
    return None if row is None else str(row["id"])


def _start(db: sqlite3.Connection, id: str, worker: str, now: float) -> None:
    db.execute(
        "update job set state = 'running', worker = ?, lease = ?, attempts = attempts + 1, stage = '', "
        "share = 0, notes = '[]', started = coalesce(started, ?) where id = ?",
        (worker, now + LEASE, now, id),
    )  # fmt: skip


def _lock_file(store: Store, worker: str) -> Path:
    return store.folder / "workers" / f"{worker}.lock"


def _is_dead(store: Store, worker: str) -> bool:
    """Whether a worker of this machine is known to be dead; false for workers of other machines."""
    if not worker.startswith(f"{socket.gethostname()}-"):
        return False
    try:
        with _lock_file(store, worker).open("r+", encoding="utf-8") as file:
            free = locked(file)
    except OSError:
        return True
    if free:
        _lock_file(store, worker).unlink(missing_ok=True)
    return free


def locked(file: IO[str]) -> bool:
    """Lock a file until it is closed; false if another process holds the lock."""
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
