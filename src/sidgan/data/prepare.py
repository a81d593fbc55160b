"""Prepare raw clips: packed face crops, mels, landmarks and masks, and a manifest that says why clips were rejected.

Each clip makes three files. The last one marks it as done, so that a stopped run can resume::

    OUT/clips/NAME.mp4    crops, S x S px, 25 fps, 4:4:4, nearly lossless
    OUT/clips/NAME.npz    mel, landmarks, mask boxes, crop affines, pose
    OUT/clips/NAME.json   the record: whether the clip was kept, and all measurements
    OUT/manifest.jsonl    all records, sorted, with person, file, digest and split
    OUT/skipped.jsonl     lines of the data set's lists that gave no clip, and why
    OUT/prepare.json      where the clips came from, and the settings
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2

from sidgan import media
from sidgan.arguments import checked
from sidgan.data.listing import ClipSource, Listing, require_distinct
from sidgan.data.packing import DEFAULTS, VERSION, PrepareConfig, helpers, prepare_clip
from sidgan.data.sources import read_source
from sidgan.data.splits import Splits, by_identity
from sidgan.errors import InputError, OutputError
from sidgan.executors import Executor, local
from sidgan.files import write_text, writing
from sidgan.settings import require

TOLERATED = 10  #: failures that never stop a run, whatever their share


@checked
def prepare(
    folder: Path | str,
    out: Path | str,
    config: PrepareConfig | None = None,
    *,
    source: str = "folder",
    splits: Path | str | None = None,
    executor: Executor | None = None,
    cut: float | None = None,
    max_failures: float = 0.2,
    progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Prepare every clip of a data set; returns the manifest's records, sorted by name.

    The result does not depend on ``executor`` or on interruptions. Clips that are done are not prepared again unless
    their file or the configuration changed.

    Args:
        folder: the data set.
        out: folder for the packed clips; created if missing.
        config: crop size and filters; by default `DEFAULTS` of the source.
        source: one of `sidgan.data.sources.SOURCES`.
        splits: a TOML file with split rules. Without it, every 20th video of a plain folder is held out (one person may
            be in both splits), and a data set is split by person, see `sidgan.data.splits`.
        executor: runs the jobs, see `sidgan.executors`; by default this process.
        cut: longer clips are cut into equal pieces of at most this many seconds, except the test clips of a data set.
        max_failures: the largest share of lines, and of clips, that may fail; ten always may.
        progress: called with the number of clips done and the total.
        report: called with one line about each line, clip or split rule that cannot be used.

    Raises:
        InputError: no such folder, nothing in it, or too much of it cannot be read.
        OutputError: the result cannot be written, or ``out`` holds shards.
    """
    folder, out, splits = Path(folder), Path(out), None if splits is None else Path(splits)
    if (out / "shards.json").exists():
        raise OutputError(f"{out} holds shards, which cannot share a folder with prepared clips; give another folder")
    require(cut is None or cut > 0, f"the longest piece must be longer than 0 s, not {cut}")
    config = config or PrepareConfig(**DEFAULTS.get(source, {}))
    listing = read_source(source, folder)
    _check_lines(listing, folder, max_failures, report)
    plain = source == "folder" or splits is not None
    clips = listing.clips if plain else by_identity(listing.clips)
    uncut = "" if plain else "test"  # test lists choose whole clips (`sidgan.evaluation.lists`)
    pieces = [(piece, clip.name) for clip in clips for piece in _cut(clip, None if clip.split == uncut else cut)]
    clips, wholes = [piece for piece, _ in pieces], {piece.name: whole for piece, whole in pieces}
    # / and __ give the same file name, and a piece's name may be another clip's.
    require_distinct(((clip.name.replace("/", "__"), clip.name) for clip in clips), "packed")
    rules = Splits.read(splits, list(wholes), wholes) if splits else Splits.default(list(wholes), wholes)
    for pattern in rules.idle:
        report(f"a rule of {splits}: no clip matches '{pattern}'")
    helpers(config)  # download errors are raised before the workers start
    with writing(out):
        (out / "clips").mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    failed = 0
    jobs = [(clip, out, config) for clip in clips]
    for clip, measured in zip(clips, (executor or local())(_job, jobs), strict=True):
        record = measured | _about(clip, folder)
        if record["kept"]:
            whole = {clip.split or "train": (0, record["frames"])}
            record["splits"] = rules.ranges(clip.name, record["frames"]) if plain else whole
        if record.get("failed"):
            failed += 1
            report(f"{clip.name}: {record['reason']}")
            _check_share(failed, len(clips), max_failures, f"clips of {folder}", record["reason"])
        records.append(record)
        progress(len(records), len(clips))
    settings = {"source": source, "root": str(folder.resolve()), "version": VERSION, "cut": cut} | asdict(config)
    _write(out / "skipped.jsonl", [json.dumps(asdict(s), sort_keys=True) for s in listing.skipped])
    _write(out / "prepare.json", [json.dumps(settings, indent=1)])
    _write(out / "manifest.jsonl", [json.dumps(record, sort_keys=True) for record in records])
    return records


def _about(clip: ClipSource, root: Path) -> dict[str, Any]:
    """The facts in a manifest record that come from the data set, and not from measuring the clip."""
    facts: dict[str, Any] = {"identity": clip.identity, "source": clip.path.relative_to(root).as_posix(), "span": None,
             "word": clip.word}  # fmt: skip
    if clip.audio is not None:
        facts["audio"] = clip.audio.relative_to(root).as_posix()
    return facts | ({"span": (clip.start, clip.end)} if clip.start or clip.end is not None else {})


def _check_lines(listing: Listing, root: Path, share: float, report: Callable[[str], None]) -> None:
    for line in listing.bad:
        report(f"{line.where}: {line.what}")
    if listing.bad:
        worst = f"{listing.bad[-1].where}: {listing.bad[-1].what}"
        _check_share(len(listing.bad), listing.lines, share, f"lines in {root}", worst)


def _check_share(failed: int, total: int, share: float, what: str, last: str) -> None:
    if failed > max(TOLERATED, share * total):
        raise InputError(
            f"{failed} of {total} {what} cannot be used, the last: {last}; fix them, or allow more with --max-failures"
        )


def _cut(clip: ClipSource, seconds: float | None) -> list[ClipSource]:
    """Equal pieces of at most ``seconds``; a clip that is short enough, or unreadable, stays whole."""
    if seconds is None:
        return [clip]
    try:
        length = (media.probe(clip.path).duration if clip.end is None else clip.end) - clip.start
    except InputError:  # reported when the clip itself is prepared
        length = 0.0
    count = math.ceil(length / seconds - 1e-3)
    if count < 2:
        return [clip]
    edges = [round(clip.start + length * i / count, 3) for i in range(count + 1)]
    return [replace(clip, name=f"{clip.name}_p{i:03}", start=edges[i], end=edges[i + 1],
                    point=clip.point if i == 0 else None) for i in range(count)]  # fmt: skip


Job = tuple[ClipSource, Path, PrepareConfig]


def _job(job: Job) -> dict[str, Any]:
    cv2.setNumThreads(1)
    return prepare_clip(*job)


def _write(path: Path, lines: list[str]) -> None:
    write_text(path, "".join(line + "\n" for line in lines))
