"""What is to be prepared: clips, where they come from, and the lines of a data set's lists that were skipped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator
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
        name: unique in its data set, with ``/``; training weights clips by the folder part of their names.
        identity: the speaker according to the data set; ``None`` where it does not say.
        start, end: seconds, the part of the file that is the clip; ``end`` ``None`` is the end of the file.
        point: (x, y) of the speaker's face at ``start``, in [0, 1] from the picture's upper left corner.
        audio: file with the sound, where the video has none.
        split: ``train``, ``heldout`` or ``test`` where the data set says so.
        word: start and end of an annotated word, seconds from the clip's start.
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
        """``start`` and ``end`` to the microsecond: the float 1.6 exceeds 8/5, so it would exclude a frame at 1.6 s."""
        first, last = (None if s is None else Fraction(round(1e6 * s), 10**6) for s in (self.start, self.end))
        return first or Fraction(0), last

    @property
    def heard(self) -> Path:
        """The file with the clip's sound."""
        return self.audio or self.path

    @property
    def person(self) -> str:
        """Who must not be in two splits: the identity, or else the clip's own name."""
        return self.identity or self.name


@dataclass(frozen=True)
class Skipped:
    """A line or file that gave no clip.

    Attributes:
        where: file and line, such as ``list.txt:12``.
        what: the reason, in words.
        kind: ``bad`` (cannot be parsed), ``missing`` (the list is fine, the file is not there) or ``left out``
            (the data set itself says not to use it, or another file of the same name is used).
    """

    where: str
    what: str
    kind: Kind


@dataclass
class Listing:
    """The clips of a data set, and what was skipped; ``lines`` counts the lines or files that were examined."""

    clips: list[ClipSource] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    lines: int = 0
    names: set[str] = field(default_factory=set)

    def add(self, clip: ClipSource, where: str) -> None:
        """Add a clip; a second one of the same name is skipped as bad."""
        if clip.name in self.names:
            self.skip(where, f"{clip.name} is listed twice", "bad")
            return
        self.names.add(clip.name)
        self.clips.append(clip)

    def skip(self, where: str, what: str, kind: Kind) -> None:
        """Record a line or file that gave no clip."""
        self.skipped.append(Skipped(where, what, kind))

    @property
    def bad(self) -> list[Skipped]:
        """Lines that cannot be parsed."""
        return [s for s in self.skipped if s.kind == "bad"]

    def finish(self, root: Path, layout: str) -> Listing:
        """Sort the clips by name, whatever the order on disk.

        Raises:
            InputError: there is no clip; the message gives the expected ``layout``.
        """
        if not self.clips:
            first = [f"; first of {len(self.skipped)} skipped: {s.where}: {s.what}" for s in self.skipped[:1]]
            raise InputError(f"no clips in {root}; expected {layout}{''.join(first)}")
        self.clips.sort(key=lambda clip: clip.name)
        return self


def files_below(root: Path) -> list[Path]:
    """All files below ``root``, sorted; links to folders are followed, and links that lead nowhere count as files.

    A set of footage is often a folder of links. If one no longer leads anywhere, reading it fails and says so; left out
    here, the clip would silently be missing.

    Raises:
        InputError: no such folder.
    """
    if not root.is_dir():
        raise InputError(f"no folder {root}; give the folder that holds the videos")
    found, seen = list[Path](), set[str]()
    for folder, inner, names in os.walk(root, followlinks=True):
        inner.sort()  # of several links to one folder, always the same is followed
        if (real := os.path.realpath(folder)) in seen:  # a link to a folder around it, too
            inner.clear()
            continue
        seen.add(real)
        found += [p for p in (Path(folder, name) for name in names) if p.is_file() or p.is_symlink()]
    return sorted(found)


def lines_of(path: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Pairs of position (``list.txt:12``) and text of all lines that are not blank, in normalised Unicode."""
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{shown.as_posix()}:{number}", spelt(line.strip())


def require_distinct(names: Iterable[tuple[Hashable, object]], done: str) -> None:
    """Raise `InputError`, naming both, if two things would be ``done`` (packed, labelled) under one name.

    Args:
        names: pairs of the name, and the thing as the user knows it.
        done: what is done to them.
    """
    taken: dict[Hashable, object] = {}
    for name, thing in names:
        if name in taken:
            raise InputError(f"{taken[name]} and {thing} would be {done} under the same name; rename one of them")
        taken[name] = thing


def rank(text: str) -> str:
    """A sort key that gives a shuffled order, the same on every machine and in every version."""
    return hashlib.sha256(f"0:{text}".encode()).hexdigest()
