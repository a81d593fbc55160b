"""Which clips are judged: those of some splits, our test lists of the published data sets, or a list of names.

The paper tests on 3,945 clips of AVSpeech, 171 of HDTF and 1,000 of LRW, but does not publish the lists (Sec. 4). Ours
depend only on names and lengths in the manifest of a prepared folder and on seed 0, so they are the same everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidgan.config import FPS
from sidgan.data.dataset import read_manifest
from sidgan.data.listing import lines_of, rank
from sidgan.data.sources import HDTF_TEST_CLIPS, HDTF_TEST_SECONDS
from sidgan.errors import ConfigError, DataError, InputError
from sidgan.settings import require

AVSPEECH_CLIPS = 3945
HDTF_SECONDS = 7 * 60  #: longer clips are judged up to here
LRW_CLIPS = 1000
LRW_PER_WORD = 2  #: clips per word, if there is no alignment
NOT_TESTED = ("train", "aside")  #: splits that a list of names uses only if a clip has no other
Records = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Choice:
    """Clips to be judged.

    Attributes:
        list: how the clips were chosen, for ``protocol.json``.
        clips: pairs of manifest record and split.
        max_frames: number of frames to which longer clips are cut.
        notes: remarks for readers of the figures.
    """

    list: str
    clips: Sequence[tuple[dict[str, Any], str]]
    max_frames: int | None = None
    notes: Sequence[str] = ()


def by_split(records: Records, splits: Sequence[str]) -> Choice:
    """Every clip that belongs to at least one of the splits, once per split."""
    wanted = list(dict.fromkeys(splits))
    return Choice(", ".join(wanted), [(r, s) for r in records for s in wanted if s in r.get("splits", {})])


def by_name(records: Records, path: Path, splits: Sequence[str] = ()) -> Choice:
    """The clips named in a file, one per line; in the given splits, or by default in all except `NOT_TESTED`.

    Raises:
        InputError: the file does not exist.
        DataError: it names no clip, or one that is not in the manifest or these splits, or one clip twice.
    """
    if not path.is_file():
        raise InputError(f"no list {path}; give a file with one clip name a line, or avspeech, hdtf or lrw")
    by_clip: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_clip.setdefault(record["name"], []).append(record)
    clips, seen = [], dict[str, str]()
    for where, name in lines_of(path, path.parent):
        if name in seen:
            raise DataError(f"{where}: '{name}' is listed twice, first in {seen[name]}; leave one of them out")
        seen[name] = where
        found = [(r, s) for r in by_clip.get(name, ()) for s in _splits_of(r, splits)]
        if not found:
            raise DataError(f"{where}: no clip '{name}' {'in ' + ', '.join(splits) if splits else 'was prepared'}")
        clips += found
    if not clips:
        raise DataError(f"{path} names no clip; write one clip name a line")
    return Choice(path.name, clips)


def _splits_of(record: dict[str, Any], splits: Sequence[str]) -> list[str]:
    own = list(record.get("splits", {}))
    return [s for s in own if s in splits] if splits else [s for s in own if s not in NOT_TESTED] or own


def avspeech(records: Records) -> Choice:
    """Up to 3,945 test clips whose YouTube ids are not used for training, drawn with seed 0."""
    trained = {r.get("identity") for r in records if "train" in r["splits"]} - {None}
    free = [r for r in _tested(records) if r.get("identity") not in trained]
    picked = sorted(free, key=lambda r: rank(r["name"]))[:AVSPEECH_CLIPS]
    return Choice("avspeech", [(r, "test") for r in picked], notes=("our own draw, not the paper's clips",))


def hdtf(records: Records) -> Choice:
    """Up to 171 test clips of at least 30 s, drawn with seed 0; at most 7 minutes of each are judged."""
    long_enough = [r for r in _tested(records) if _seconds(r) >= HDTF_TEST_SECONDS]
    picked = sorted(long_enough, key=lambda r: rank(r["name"]))[:HDTF_TEST_CLIPS]
    notes = ("our own draw, not the paper's clips",)
    return Choice("hdtf", [(r, "test") for r in picked], max_frames=HDTF_SECONDS * FPS, notes=notes)


def lrw(records: Records, spans: Path | None = None) -> Choice:
    """The 1,000 test clips whose annotated word overlaps best with where an aligner found it; ties by name.

    Args:
        records: of the manifest.
        spans: file of lines ``NAME START END``: where an aligner found the word of each clip, in s. Without it, the
            list is the first two clips of each word, and a note says so.

    Raises:
        InputError: the file does not exist, or a line is not a name and two numbers.
    """
    tested = sorted(_tested(records), key=lambda r: r["name"])
    if spans is None:
        words: dict[str, list[dict[str, Any]]] = {}
        for record in tested:
            words.setdefault(record["name"].partition("/")[0], []).append(record)
        picked = [r for clips in words.values() for r in clips[:LRW_PER_WORD]]
        notes: tuple[str, ...] = ("not aligned: the first two clips of each word",)
    else:
        aligned = read_spans(spans)
        annotated = [r for r in tested if r.get("word") and r["name"] in aligned]
        best = sorted(annotated, key=lambda r: (-overlap(r["word"], aligned[r["name"]]), r["name"]))
        picked, notes = best[:LRW_CLIPS], ()
    return Choice("lrw", [(r, "test") for r in picked], notes=("our own draw, not the paper's clips", *notes))


def read_spans(path: Path) -> dict[str, tuple[float, float]]:
    """Clip name -> start and end in s, from lines ``NAME START END``."""
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
    """Intersection over union of two intervals (start, end)."""
    shared = min(a[1], b[1]) - max(a[0], b[0])
    return shared / (max(a[1], b[1]) - min(a[0], b[0])) if shared > 0 else 0.0


def choose(records: Records, clips: str, splits: Sequence[str] = (), spans: Path | None = None) -> Choice:
    """The clips that ``--clips`` selects: ``avspeech``, ``hdtf``, ``lrw``, or a file of names.

    Raises:
        ConfigError: the options contradict each other.
        DataError: no clip is selected.
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
    """Length as annotated; without an annotated end, the length of its frames in the split ``test``."""
    span = record.get("span")
    first, last = record["splits"]["test"]
    return float(span[1] - span[0]) if span and span[1] is not None else (last - first) / FPS


def chosen(data: Path | str | Sequence[Path | str], choose: Callable[[Records], Choice]) -> Choice:
    """Select from the kept clips of prepared folders; their records get a field ``folder``.

    Raises:
        DataError: no clip is selected.
        ConfigError: a clip is in two of the folders.
    """
    folders = [Path(path) for path in ([data] if isinstance(data, Path | str) else data)]
    records = [r | {"folder": str(folder)} for folder in folders for r in read_manifest(folder) if r["kept"]]
    choice = choose(records)
    if not choice.clips:
        raise DataError(f"no clips for {choice.list} in {', '.join(map(str, folders))}; {_splits(records)}")
    seen = set[tuple[str, str]]()
    for record, split in choice.clips:
        if (split, record["file"]) in seen:  # they would share files in the result folder
            raise ConfigError(f"{record['name']} is in two of the folders; judge the folders one by one")
        seen.add((split, record["file"]))
    return choice


def _splits(records: Records) -> str:
    """For messages: the splits that exist, and how to choose one."""
    count = Counter(split for record in records for split in record.get("splits", {}))
    listed = ", ".join(f"{split} ({number})" for split, number in sorted(count.items()))
    return f"the splits are {listed}; choose with --split" if listed else "no clip belongs to a split"
