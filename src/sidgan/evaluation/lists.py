"""Which clips are judged: the test lists of the published data sets as this project draws them, or a list of names.

The paper tests on 3,945 clips of AVSpeech, 171 of HDTF and 1,000 of LRW and publishes none of the lists (Sec. 4). These
are drawn from the names and lengths in the manifest of a prepared folder, with seed 0, the same on every computer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidgan.config import FPS, require
from sidgan.data.listing import lines_of, rank
from sidgan.data.sources import HDTF_TEST_CLIPS, HDTF_TEST_SECONDS
from sidgan.errors import ConfigError, DataError, InputError

AVSPEECH_CLIPS = 3945
HDTF_LONGEST = 7 * 60  #: seconds of a clip that are judged
LRW_CLIPS = 1000
LRW_EACH = 2  #: clips of each word, where nobody aligned them
NEVER = ("train", "aside")  #: splits that no list of names falls back to where a clip has another one
Records = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Choice:
    """Clips to be judged.

    Attributes:
        list: how they were chosen, for ``protocol.json``.
        clips: pairs of manifest record and split.
        max_frames: only so many frames of each are judged.
        notes: what a reader of the figures must know.
    """

    list: str
    clips: Sequence[tuple[dict[str, Any], str]]
    max_frames: int | None = None
    notes: Sequence[str] = ()


def by_split(records: Records, splits: Sequence[str]) -> Choice:
    """Every clip that has a part in one of the splits."""
    wanted = list(dict.fromkeys(splits))
    return Choice(", ".join(wanted), [(r, s) for r in records for s in wanted if s in r.get("splits", {})])


def by_name(records: Records, path: Path, splits: Sequence[str] = ()) -> Choice:
    """The clips that a file names, one a line; in the given splits, or else in all but training's.

    Raises:
        InputError: no such file.
        DataError: no name, or one that is not in the manifest, or not in these splits, or is listed twice.
    """
    if not path.is_file():
        raise InputError(f"no list {path}; give a file with one clip name a line, or avspeech, hdtf or lrw")
    held: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        held.setdefault(record["name"], []).append(record)
    clips, seen = [], dict[str, str]()
    for where, name in lines_of(path, path.parent):
        if name in seen:
            raise DataError(f"{where}: '{name}' is listed twice, first in {seen[name]}; leave one of them out")
        seen[name] = where
        found = [(r, s) for r in held.get(name, ()) for s in _splits_of(r, splits)]
        if not found:
            raise DataError(f"{where}: no clip '{name}' {'in ' + ', '.join(splits) if splits else 'was prepared'}")
        clips += found
    if not clips:
        raise DataError(f"{path} names no clip; write one clip name a line")
    return Choice(path.name, clips)


def _splits_of(record: dict[str, Any], splits: Sequence[str]) -> list[str]:
    mine = list(record.get("splits", {}))
    return [s for s in mine if s in splits] if splits else [s for s in mine if s not in NEVER] or mine


def avspeech(records: Records) -> Choice:
    """Up to 3,945 test clips whose YouTube ids nobody trains on, drawn with seed 0."""
    trained = {r.get("identity") for r in records if "train" in r["splits"]}
    free = [r for r in _tested(records) if r.get("identity") not in trained]
    picked = sorted(free, key=lambda r: rank(r["name"]))[:AVSPEECH_CLIPS]
    return Choice("avspeech", [(r, "test") for r in picked], notes=("our own draw, not the paper's clips",))


def hdtf(records: Records) -> Choice:
    """Up to 171 test clips of at least 30 s, drawn with seed 0, of which up to 7 minutes are judged."""
    long = [r for r in _tested(records) if _seconds(r) >= HDTF_TEST_SECONDS]
    picked = sorted(long, key=lambda r: rank(r["name"]))[:HDTF_TEST_CLIPS]
    notes = ("our own draw, not the paper's clips",)
    return Choice("hdtf", [(r, "test") for r in picked], max_frames=HDTF_LONGEST * FPS, notes=notes)


def lrw(records: Records, spans: Path | None = None) -> Choice:
    """The 1,000 test clips in which the annotated word lies where an aligner hears it, best first, ties by name.

    Args:
        records: of the manifest.
        spans: a file with lines ``NAME START END``, the seconds at which an aligner heard the word of each clip.
            Without it the first two clips of each word are taken, and a note says so.

    Raises:
        InputError: no such file, or a line that is not a name and two numbers.
    """
    tested = sorted(_tested(records), key=lambda r: r["name"])
    if spans is None:
        words: dict[str, list[dict[str, Any]]] = {}
        for record in tested:
            words.setdefault(record["name"].partition("/")[0], []).append(record)
        picked = [r for mine in words.values() for r in mine[:LRW_EACH]]
        notes: tuple[str, ...] = ("not aligned: the first two clips of each word",)
    else:
        heard = read_spans(spans)
        known = [r for r in tested if r.get("word") and r["name"] in heard]
        best = sorted(known, key=lambda r: (-overlap(r["word"], heard[r["name"]]), r["name"]))
        picked, notes = best[:LRW_CLIPS], ()
    return Choice("lrw", [(r, "test") for r in picked], notes=("our own draw, not the paper's clips", *notes))


def read_spans(path: Path) -> dict[str, tuple[float, float]]:
    """Start and end in s by clip name, from lines ``NAME START END``."""
    if not path.is_file():
        raise InputError(f"no file {path}; give an aligner's words as lines NAME START END")
    spans = {}
    for where, line in lines_of(path, path.parent):
        try:
            name, start, end = line.split()
            spans[name] = (float(start), float(end))
        except ValueError:
            raise InputError(f"{where}: expected NAME START END, not '{line[:60]}'") from None
    return spans


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two spans."""
    both = min(a[1], b[1]) - max(a[0], b[0])
    return both / (max(a[1], b[1]) - min(a[0], b[0])) if both > 0 else 0.0


def choose(records: Records, clips: str, splits: Sequence[str] = (), spans: Path | None = None) -> Choice:
    """What ``--clips`` means: ``avspeech``, ``hdtf``, ``lrw``, or a file of names.

    Raises:
        ConfigError: options that do not go together.
        DataError: nothing is left.
    """
    published = clips in ("avspeech", "hdtf", "lrw")
    require(spans is None or clips == "lrw", "--spans goes with --clips lrw only")
    if published and splits:
        raise ConfigError(f"--clips {clips} takes the split test; leave --split out")
    if not published:
        return by_name(records, Path(clips), splits)
    choice = lrw(records, spans) if clips == "lrw" else avspeech(records) if clips == "avspeech" else hdtf(records)
    if not choice.clips:
        tested = len(_tested(records))
        raise DataError(f"no clip for the {clips} list among {tested} test clips; prepare with --source {clips}")
    return choice


def _tested(records: Records) -> list[dict[str, Any]]:
    return [r for r in records if "test" in r["splits"]]


def _seconds(record: dict[str, Any]) -> float:
    """As annotated; a file that was cut before it came here is as long as its frames."""
    span = record.get("span")
    first, last = record["splits"]["test"]
    return float(span[1] - span[0]) if span and span[1] is not None else (last - first) / FPS
