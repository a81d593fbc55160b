"""What the service knows: sessions, files and jobs, in one SQLite file that server and workers share.

Each call opens the file anew and is one transaction, so any number of threads and processes may use it, and a kill
leaves it as it was before or after. Its journal is SQLite's oldest kind, which also works in folders that machines
share, as long as these lock files properly.
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
    """A file that somebody uploaded.

    Attributes:
        kind: ``video``, or ``voice``: anything with sound.
        name: what the user calls it, for people only. suffix: what the service calls it by.
        facts: see `sidgan.web.prober`.
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
        """All of the block, or nothing of it; nobody writes meanwhile."""
        db = self._connected()
        try:
            db.execute("begin immediate")
            yield db
            db.execute("commit")
        finally:
            db.close()  # what was not committed is rolled back

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For one question."""
        db = self._connected()
        try:
            yield db
        finally:
            db.close()

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.folder / DATABASE, timeout=PATIENCE, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    def name(self) -> str:
        """What tells this service from all others, for as long as its folder is there."""
        with self.transaction() as db:
            db.execute("insert into service select ? where not exists (select 1 from service)", (new_id(),))
            return str(db.execute("select name from service").fetchone()[0])

    def known(self) -> set[str]:
        """Numbers of all files, and of all jobs whose work is of use yet."""
        with self.reading() as db:
            rows = db.execute("select id from file union select id from job where state != 'done'").fetchall()
        return {row["id"] for row in rows}

    # ------------------------------------------------------------------------------------------------------- sessions

    def add_session(self, key: str, owner: str, expires: float) -> None:
        """Let a session, known by the hash of its secret, act for an owner; see `sidgan.web.access`."""
        with self.transaction() as db:
            db.execute("insert or replace into session values (?, ?, ?)", (key, owner, expires))

    def owner_of(self, key: str) -> str | None:
        """For whom a session acts; ``None`` where it is unknown or over."""
        with self.reading() as db:
            row = db.execute("select owner from session where key = ? and expires > ?", (key, time.time())).fetchone()
        return None if row is None else str(row["owner"])

    def end_session(self, key: str) -> None:
        """Let it act for nobody."""
        with self.transaction() as db:
            db.execute("delete from session where key = ?", (key,))

    # ---------------------------------------------------------------------------------------------------------- files

    def file_folder(self, id: str) -> Path:
        """Where a file lies; the number is one of the service's own."""
        return self.folder / "files" / id

    def path(self, file: Kept) -> Path:
        """The file itself."""
        return self.file_folder(file.id) / f"original{file.suffix}"

    def add_file(
        self, id: str, owner: str, kind: str, name: str, suffix: str, size: int, facts: Mapping[str, Any], keep: float
    ) -> Kept:
        """Note a file that lies where it belongs, to be kept for so many seconds."""
        now = time.time()
        with self.transaction() as db:
            db.execute("insert into file values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (id, owner, kind, name, suffix, size, json.dumps(facts), now, now + keep))  # fmt: skip
        return Kept(id, owner, kind, name, suffix, size, dict(facts), now, now + keep)

    def files(self, owner: str) -> list[Kept]:
        """All of somebody's files, the newest first."""
        with self.reading() as db:
            rows = db.execute("select * from file where owner = ? order by created desc", (owner,)).fetchall()
        return [_kept(row) for row in rows]

    def file(self, id: str, owner: str) -> Kept | None:
        """One file, where it is there and theirs."""
        with self.reading() as db:
            row = db.execute("select * from file where id = ? and owner = ?", (id, owner)).fetchone()
        return None if row is None else _kept(row)

    def usage(self, owner: str) -> tuple[int, int]:
        """How many files somebody has, and their bytes."""
        with self.reading() as db:
            row = db.execute("select count(*), coalesce(sum(bytes), 0) from file where owner = ?", (owner,)).fetchone()
        return int(row[0]), int(row[1])

    def remove_file(self, id: str, owner: str) -> bool:
        """Forget a file; not where an unfinished job needs it."""
        with self.transaction() as db:
            if _used(db, id):
                return False
            db.execute("delete from file where id = ? and owner = ?", (id, owner))
        shutil.rmtree(self.file_folder(id), ignore_errors=True)
        return True

    # ----------------------------------------------------------------------------------------------------- forgetting

    def forget(self, idle: float = 3600.0) -> int:
        """Remove what is over its time, and what a kill left behind; how much that was.

        Args:
            idle: seconds without a change after which a folder that nobody knows of was left behind; an upload that
                still comes is known to nobody.
        """
        now = time.time()
        with self.transaction() as db:
            db.execute("delete from session where expires < ?", (now,))
            db.execute("delete from job where expires < ? and state not in ('waiting', 'running')", (now,))
            for row in db.execute("select id from file where expires < ?", (now,)).fetchall():
                if not _used(db, row["id"]):
                    db.execute("delete from file where id = ?", (row["id"],))
            known = {name: {row["id"] for row in db.execute(f"select id from {name}")} for name in ("file", "job")}
        gone = 0
        for name in ("file", "job"):
            for folder in (self.folder / f"{name}s").iterdir():
                with suppress(OSError):
                    if folder.name not in known[name] and now - _touched(folder) > idle:
                        shutil.rmtree(folder)
                        gone += 1
        return gone


def new_id() -> str:
    """A number that nobody guesses: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def _touched(folder: Path) -> float:
    """When something in a folder was last written: what is written into its files does not touch the folder itself."""
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))


def _kept(row: sqlite3.Row) -> Kept:
    return Kept(**{**dict(row), "facts": json.loads(row["facts"])})


def _used(db: sqlite3.Connection, id: str) -> bool:
    rows = db.execute("select 1 from job where state in ('waiting', 'running') and instr(spec, ?) limit 1", (id,))
    return rows.fetchone() is not None
