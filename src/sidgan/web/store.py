"""The state of a service: sessions, files and jobs, in one SQLite database that server and workers share.

Each call opens a new connection and is one transaction, so any number of threads and processes may use the database,
and a kill leaves no call half done. SQLite's default rollback journal is used, not WAL, since it also works in network
folders, provided that they lock files properly.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidgan.errors import OutputError

TABLES = """
create table if not exists session (key text primary key, owner text not null, expires real not null);
create table if not exists file (
    id text primary key, owner text not null, kind text not null, name text not null, suffix text not null,
    bytes integer not null, facts text not null, created real not null, expires real not null);
create table if not exists job (
    id text primary key, owner text not null, kind text not null, state text not null, urgency integer not null,
    priority integer not null, spec text not null, share real not null default 0, stage text not null default '',
    notes text not null default '[]', error text, result text, worker text, lease real, attempts integer not null
    default 0, created real not null, started real, ended real, expires real not null);
create table if not exists service (name text primary key);
create index if not exists file_of on file (owner, created);
create index if not exists job_of on job (owner, created);
create index if not exists job_in on job (state, created);
"""
DATABASE = "service.sqlite"
PATIENCE = 30.0  #: seconds that a transaction waits for another


@dataclass(frozen=True)
class Kept:
    """An uploaded file. Times are seconds since the epoch.

    Attributes:
        kind: ``video``, also for a photo, or ``voice`` for anything with sound.
        name: the user's file name, only for display.
        suffix: file name extension, determined from the content.
        bytes: size.
        facts: length, size and more, see `sidgan.web.prober`.
        expires: when the file is removed, unless an unfinished job uses it.
    """

    id: str
    owner: str
    kind: str
    name: str
    suffix: str
    bytes: int
    facts: dict[str, Any]
    created: float
    expires: float


class Store:
    """The folder of a service.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder).resolve()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("files", "jobs", "workers"):
                (self.folder / name).mkdir(exist_ok=True, mode=0o700)
            with self.transaction() as db:
                for statement in TABLES.split(";\n"):
                    db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"{folder} cannot be the folder of a service ({error}); choose another") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A write transaction: committed if the block succeeds, rolled back otherwise; excludes other writers."""
        db = self._connect()
        try:
            db.execute("begin immediate")
            yield db
            db.execute("commit")
        finally:
            db.close()  # what was not committed is rolled back

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for a single query."""
        db = self._connect()
        try:
            yield db
        finally:
            db.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.folder / DATABASE, timeout=PATIENCE, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    def name(self) -> str:
        """The unique name of this service, which is chosen once and stored in its folder."""
        with self.transaction() as db:
            db.execute("insert into service select ? where not exists (select 1 from service)", (new_id(),))
            return str(db.execute("select name from service").fetchone()[0])

    def known(self) -> set[str]:
        """The ids of all files, and of all jobs that are not done, whose partial work may still be of use."""
        with self.reading() as db:
            rows = db.execute("select id from file union select id from job where state != 'done'").fetchall()
        return {row["id"] for row in rows}

    # ------------------------------------------------------------------------------------------------------- sessions

    def add_session(self, key: str, owner: str, expires: float) -> None:
        """Add a session for an owner; ``key`` is the hash of the session's secret. See `sidgan.web.access`."""
        with self.transaction() as db:
            db.execute("insert or replace into session values (?, ?, ?)", (key, owner, expires))

    def owner_of(self, key: str) -> str | None:
        """The owner of a session; ``None`` if it is unknown or has expired."""
        with self.reading() as db:
            row = db.execute("select owner from session where key = ? and expires > ?", (key, time.time())).fetchone()
        return None if row is None else str(row["owner"])

    def end_session(self, key: str) -> None:
        """Delete a session."""
        with self.transaction() as db:
            db.execute("delete from session where key = ?", (key,))

    # ---------------------------------------------------------------------------------------------------------- files

    def file_folder(self, id: str) -> Path:
        """The folder of a file, by its id."""
        return self.folder / "files" / id

    def path(self, file: Kept) -> Path:
        """The path of the file's content."""
        return self.file_folder(file.id) / f"original{file.suffix}"

    def add_file(
        self, id: str, owner: str, kind: str, name: str, suffix: str, size: int, facts: Mapping[str, Any], keep: float
    ) -> Kept:
        """Add a file whose content is already at its path; it expires after ``keep`` seconds."""
        now = time.time()
        with self.transaction() as db:
            db.execute("insert into file values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (id, owner, kind, name, suffix, size, json.dumps(facts), now, now + keep))  # fmt: skip
        return Kept(id, owner, kind, name, suffix, size, dict(facts), now, now + keep)

    def files(self, owner: str) -> list[Kept]:
        """All files of an owner, the newest first."""
        with self.reading() as db:
            rows = db.execute("select * from file where owner = ? order by created desc", (owner,)).fetchall()
        return [_kept(row) for row in rows]

    def file(self, id: str, owner: str) -> Kept | None:
        """A file; ``None`` if there is none with this id, or it has another owner."""
        with self.reading() as db:
            row = db.execute("select * from file where id = ? and owner = ?", (id, owner)).fetchone()
        return None if row is None else _kept(row)

    def usage(self, owner: str) -> tuple[int, int]:
        """The number of files of an owner, and their total bytes."""
        with self.reading() as db:
            row = db.execute("select count(*), coalesce(sum(bytes), 0) from file where owner = ?", (owner,)).fetchone()
        return int(row[0]), int(row[1])

    def remove_file(self, id: str, owner: str) -> bool:
        """Delete a file; false if an unfinished job uses it."""
        with self.transaction() as db:
            if _used(db, id):
                return False
            deleted = db.execute("delete from file where id = ? and owner = ?", (id, owner)).rowcount
        if deleted:
            shutil.rmtree(self.file_folder(id), ignore_errors=True)
        return True

    # --------------------------------------------------------------------------------------------------------- expiry

    def forget(self, idle: float = 3600.0) -> int:
        """Delete expired sessions, jobs and files, and folders without a file or job; returns how many folders.

        Args:
            idle: seconds since its last change after which a folder is deleted. Uploads in progress are not in the
                database either, and must not be deleted.
        """
        now = time.time()
        with self.transaction() as db:
            db.execute("delete from session where expires < ?", (now,))
            db.execute("delete from job where expires < ? and state not in ('waiting', 'running')", (now,))
            for row in db.execute("select id from file where expires < ?", (now,)).fetchall():
                if not _used(db, row["id"]):
                    db.execute("delete from file where id = ?", (row["id"],))
            known = {name: {row["id"] for row in db.execute(f"select id from {name}")} for name in ("file", "job")}
        deleted = 0
        for name in ("file", "job"):
            for folder in (self.folder / f"{name}s").iterdir():
                with suppress(OSError):
                    if folder.name not in known[name] and now - _last_change(folder) > idle:
                        shutil.rmtree(folder)
                        deleted += 1
        return deleted


def new_id() -> str:
    """A random id that cannot be guessed: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def _last_change(folder: Path) -> float:
    """When a folder or anything in it was last written; a folder's own time does not change with its files' content."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _kept(row: sqlite3.Row) -> Kept:
    return Kept(**{**dict(row), "facts": json.loads(row["facts"])})


def _used(db: sqlite3.Connection, id: str) -> bool:
    rows = db.execute("select 1 from job where state in ('waiting', 'running') and instr(spec, ?) limit 1", (id,))
    return rows.fetchone() is not None
