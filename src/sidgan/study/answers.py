"""Ratings in SQLite: every answer is saved at once, so that a viewer can stop at any time and continue later."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sidgan.errors import InputError
from sidgan.paper.published import QUESTIONS
from sidgan.settings import require
from sidgan.study.build import Study

FILE = "ratings.sqlite"
SCORES = range(1, 6)
MAX_NAME = 40  #: characters of a viewer's name
TABLES = """
CREATE TABLE IF NOT EXISTS study (id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS viewers (number INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, joined TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ratings (
    viewer INTEGER NOT NULL REFERENCES viewers, clip INTEGER NOT NULL, method INTEGER NOT NULL, question TEXT NOT NULL,
    score INTEGER NOT NULL CHECK (score BETWEEN 1 AND 5), at TEXT NOT NULL,
    PRIMARY KEY (viewer, clip, method, question));
"""


@dataclass(frozen=True)
class Rating:
    """One answer: the numbers of viewer, clip and method (from 0), a question, and a score from 1 to 5."""

    viewer: int
    clip: int
    method: int
    question: str
    score: int


class Answers:
    """The ratings of one study.

    Args:
        folder: the study's folder.
        study: the study in it.

    Raises:
        InputError: the ratings file belongs to another study, or is not a database of ratings.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self._path, self._study = folder / FILE, study
        with self._open() as db:
            db.executescript(TABLES)
            row = db.execute("SELECT id FROM study").fetchone()
            if row is None:
                db.execute("INSERT INTO study VALUES (?)", (study.id,))
            elif row[0] != study.id:
                raise InputError(f"{self._path} holds ratings of another study; move it away, or rebuild that study")

    def viewer(self, name: str) -> int:
        """The number of a viewer, from 0 in the order in which they joined; a new name adds a viewer.

        Raises:
            ConfigError: the name is empty or too long.
        """
        name = " ".join(name.split())
        require(0 < len(name) <= MAX_NAME, f"a name has 1 to {MAX_NAME} letters; give another")
        with self._open() as db:
            db.execute("INSERT OR IGNORE INTO viewers SELECT COALESCE(MAX(number) + 1, 0), ?, ? FROM viewers",
                       (name, _now()))  # fmt: skip
            return int(db.execute("SELECT number FROM viewers WHERE name = ?", (name,)).fetchone()[0])

    def rate(self, rating: Rating) -> None:
        """Save an answer; it replaces an earlier one to the same question.

        Raises:
            ConfigError: there is no such clip, method, question or score.
        """
        known = rating.clip in range(len(self._study.clips)) and rating.method in range(len(self._study.methods))
        require(known, f"there is no clip {rating.clip} of method {rating.method}; load the page again")
        require(rating.question in QUESTIONS, f"there is no question '{rating.question}'; load the page again")
        require(rating.score in SCORES, f"a score is 1 to 5, not {rating.score}; choose one of these")
        with self._open() as db:
            values = (rating.viewer, rating.clip, rating.method, rating.question, rating.score, _now())
            db.execute("INSERT OR REPLACE INTO ratings VALUES (?, ?, ?, ?, ?, ?)", values)

    def all(self) -> list[Rating]:
        """All answers, ordered by viewer, clip, method and question."""
        with self._open() as db:
            rows = db.execute("SELECT viewer, clip, method, question, score FROM ratings ORDER BY 1, 2, 3, 4")
            return [Rating(*row) for row in rows.fetchall()]

    def of(self, viewer: int) -> list[Rating]:
        """The answers of one viewer."""
        return [rating for rating in self.all() if rating.viewer == viewer]

    def names(self) -> dict[int, str]:
        """Viewer number -> name."""
        with self._open() as db:
            return dict(db.execute("SELECT number, name FROM viewers ORDER BY number").fetchall())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A new connection, since threads cannot share one; committed if the block succeeds, rolled back otherwise."""
        try:
            db = sqlite3.connect(self._path, timeout=20)
            try:
                db.execute("PRAGMA foreign_keys = ON")
                with db:
                    yield db
            finally:
                db.close()
        except sqlite3.Error as error:
            raise InputError(f"{self._path} cannot be used as a file of ratings ({error}); put a copy back, or move it "
                             "away to begin without ratings") from None  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
