"""What is to be prepared: clips, where they come from, and what of a data set's lists could not be used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

from sidgan.errors import InputError
from sidgan.portable import spelt

SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v"}

Kind = Literal["bad", "missing", "left out"]


@dataclass(frozen=True)
class ClipSource:
    """A clip to prepare.

    Attributes:
        path: video file.
        name: unique in its data set, with ``/``; clips of one folder of names are drawn together in training.
        identity: who speaks, as far as the data set says; ``None`` where it says nothing.
        start, end: seconds of the file that belong to the clip; to its end where ``end`` is ``None``.
        point: (x, y) in [0, 1] of the speaker's face at ``start``, from the picture's upper left corner.
        audio: file with the sound, where the video has none.
        split: ``train``, ``heldout`` or ``test`` where the data set says so.
        word: seconds within the clip in which an annotated word is spoken.
    """

    path: Path
    name: str
    identity: str | None = None
    start: float = 0.0
    end: float | None = None
    point: tuple[float, float] | None = None
    audio: Path | None = None
    split: str | None = None
    word: tuple[float, float] | None = None

    @property
    def span(self) -> tuple[Fraction, Fraction | None]:
        """``start`` and ``end`` to the microsecond: as floats, 1.6 s lies behind a frame that is shown at 1.6 s."""
        first, last = (None if s is None else Fraction(round(1e6 * s), 10**6) for s in (self.start, self.end))
        return first or Fraction(0), last

    @property
    def heard(self) -> Path:
        """The file with its sound."""
        return self.audio or self.path

    @property
    def person(self) -> str:
        """What may not be on two sides of a split: the identity, or else the clip itself."""
        return self.identity or self.name


@dataclass(frozen=True)
class Skipped:
    """A line or file that gave no clip.

    Attributes:
        where: file and line, as ``list.txt:12``.
        what: why, for people.
        kind: ``bad`` (cannot be understood), ``missing`` (the list is fine, the file is not there) or ``left out``
            (the data set itself says not to use it).
    """

    where: str
    what: str
    kind: Kind


@dataclass
class Listing:
    """The clips of a data set, and what was skipped. ``lines`` counts what was looked at."""

    clips: list[ClipSource] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    lines: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, clip: ClipSource, where: str) -> None:
        """Take a clip in, unless one of its name is there already."""
        if clip.name in self.names:
            self.skip(where, f"{clip.name} is listed twice", "bad")
            return
        self.names.add(clip.name)
        self.clips.append(clip)

    def skip(self, where: str, what: str, kind: Kind) -> None:
        """Note what gave no clip."""
        self.skipped.append(Skipped(where, what, kind))

    @property
    def bad(self) -> list[Skipped]:
        """Lines that cannot be understood."""
        return [s for s in self.skipped if s.kind == "bad"]

    def finish(self, root: Path, layout: str) -> Listing:
        """Sort by name, whatever order the disk gave.

        Raises:
            InputError: there is no clip at all.
        """
        if not self.clips:
            first = [f"; first of {len(self.skipped)} skipped: {s.where}: {s.what}" for s in self.skipped[:1]]
            raise InputError(f"no clips in {root}; expected {layout}{''.join(first)}")
        self.clips.sort(key=lambda clip: clip.name)
        return self


def files_below(root: Path) -> list[Path]:
    """All files below ``root``, sorted.

    Raises:
        InputError: no such folder.
    """
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder that holds the videos")
    return sorted(p for p in root.rglob("*") if p.is_file())


def lines_of(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Pairs of place (``list.txt:12``) and text of the lines that say something, spelt as names are compared."""
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{shown.as_posix()}:{number}", spelt(line.strip())


def rank(text: str) -> str:
    """A key that sorts into an order which looks random and is the same everywhere, for ever."""
    return hashlib.sha256(f"0:{text}".encode()).hexdigest()
