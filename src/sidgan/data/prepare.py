"""Raw clips -> packed face crops, mels, landmarks and masks, with a manifest that says why each clip was kept or not.

One clip makes three files, the last of which marks it as done, so that a stopped run goes on where it was::

    OUT/clips/NAME.mp4    crops, S x S, 25 fps, 4:4:4, nearly lossless
    OUT/clips/NAME.npz    mel, landmarks, mask boxes, crop affines, pose (see `KEYS`)
    OUT/clips/NAME.json   the record; OUT/manifest.jsonl holds all records, sorted
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sidgan import audio, faces, geometry, media
from sidgan.config import require
from sidgan.data.offset import estimate_offset
from sidgan.data.splits import FPS, Splits
from sidgan.errors import InputError
from sidgan.types import Byte, Clip, FaceTrack, Float

SUFFIXES = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m4v"}
KEYS = ("mel", "landmarks", "masks", "matrices", "pose")
VERSION = 1  #: of the packed layout and of everything that decides what is in it


@dataclass(frozen=True)
class PrepareConfig:
    """What is cut and what is kept.

    Attributes:
        size: crop side in px.
        min_side: smallest median side of the face square in the source, px.
        min_seconds, max_seconds: shorter clips are rejected, longer ones cut off.
        max_yaw, max_pitch: degrees; frames beyond are counted as turned away.
        max_turned: largest share of such frames.
        min_loudness: dBFS (RMS) below which a clip counts as silent.
    """

    size: int = 128
    min_side: float = 64.0
    min_seconds: float = 1.0
    max_seconds: float = 600.0
    max_yaw: float = 45.0
    max_pitch: float = 30.0
    max_turned: float = 0.1
    min_loudness: float = -55.0

    def __post_init__(self) -> None:
        require(self.size >= 32 and self.size % 2 == 0, f"size must be even and at least 32 px, not {self.size}")


def prepare(
    folder: Path,
    out: Path,
    config: PrepareConfig | None = None,
    *,
    splits: Path | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:
    """Prepare every video below ``folder``; returns the manifest's records, sorted by name.

    The result does not depend on ``workers`` nor on being interrupted. Clips that are done are not done again unless
    their file or the configuration changed.

    Raises:
        InputError: no such folder, or no video in it.
    """
    config = config or PrepareConfig()
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; give the folder that holds the videos")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"no videos ({', '.join(sorted(SUFFIXES))}) in {folder}")
    (out / "clips").mkdir(parents=True, exist_ok=True)
    names = unique_names(folder, paths)
    rules = Splits.read(splits, names) if splits else Splits.default(names)
    jobs = [(path, name, out, config) for path, name in zip(paths, names, strict=True)]
    records = []
    for record in _run(jobs, workers):
        if record["kept"]:
            record["splits"] = rules.ranges(record["name"], record["frames"])
        records.append(record)
        progress(len(records), len(jobs))
    lines = [json.dumps(record, sort_keys=True) for record in records]
    _write_text(out / "manifest.jsonl", "\n".join(lines) + "\n")
    return records


def unique_names(folder: Path, paths: list[Path]) -> list[str]:
    """Clip names: the path below ``folder`` without its ending; with it where two differ in nothing else."""
    stems = [p.relative_to(folder).with_suffix("").as_posix() for p in paths]
    return [
        s if stems.count(s) == 1 else p.relative_to(folder).as_posix() for s, p in zip(stems, paths, strict=True)
    ]


def _run(jobs: list[tuple[Path, str, Path, PrepareConfig]], workers: int) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        yield from map(_job, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_job, jobs)


def _job(job: tuple[Path, str, Path, PrepareConfig]) -> dict[str, Any]:
    cv2.setNumThreads(1)
    return prepare_clip(*job)


def prepare_clip(path: Path, name: str, out: Path, config: PrepareConfig) -> dict[str, Any]:
    """Prepare one clip, or read its record if that was done before."""
    target = out / "clips" / name.replace("/", "__")
    signature = _signature(path, config)
    done = target.with_name(target.name + ".json")
    if done.is_file():
        record: dict[str, Any] = json.loads(done.read_text())
        if record["signature"] == signature:
            return record
    base = {"name": name, "signature": signature, "file": target.name, "size": config.size}
    try:
        record = base | {"kept": True} | _pack(path, target, config)
    except (InputError, _Rejected) as reason:
        record = base | {"kept": False, "reason": str(reason)}
    _write_text(done, json.dumps(record, sort_keys=True))
    return record


class _Rejected(Exception):  # noqa: N818  a verdict, not an error
    """Why a clip is not good for training."""


def _pack(path: Path, target: Path, config: PrepareConfig) -> dict[str, Any]:
    clip = media.probe(path)
    if clip.audio_rate is None:
        raise _Rejected("no sound")
    times: list[Fraction] = []
    tracker = faces.Tracker()
    for frame in media.read_frames(clip):
        if frame.time > config.max_seconds:
            break
        times.append(frame.time)
        tracker.add(frame)
    track = _best_track(tracker.finish(), config)
    pick = ticks(times, track)
    if len(pick) < config.min_seconds * FPS:
        raise _Rejected(f"face seen for {len(pick) / FPS:.1f} s only")
    samples = media.read_audio(path)
    loudness = 10 * np.log10(np.mean(samples**2) + 1e-12)
    if loudness < config.min_loudness:
        raise _Rejected(f"silent ({loudness:.0f} dBFS)")
    rows = np.array(pick) - track.first
    start = times[pick[0]]
    landmarks, matrices = track.landmarks[rows], track.matrices[rows]
    offset = estimate_offset(landmarks, audio.log_mel(_from(samples, start)))
    shift = offset.frames if offset.trusted else 0
    mel = audio.log_mel(_from(samples, start - Fraction(shift, FPS)))
    unit = geometry.to_unit(matrices, landmarks)
    arrays = {"mel": mel[:, : audio.STEPS_PER_SECOND * len(pick) // FPS + 16].astype(np.float16),
              "landmarks": unit, "masks": geometry.mask_boxes(unit), "matrices": matrices,
              "pose": track.pose[rows]}  # fmt: skip
    images = _crops(clip, Counter(pick), track, config.size)
    media.write_clip(target.with_name(target.name + ".mp4"), images, Fraction(FPS), crf=10, chroma444=True)
    _write_npz(target.with_name(target.name + ".npz"), arrays)
    return {
        "frames": len(pick), "start": float(start), "side": round(float(np.median(matrices[:, 0, 0])), 1),
        "score": round(float(np.median(track.scores[track.visible])), 2), "loudness": round(float(loudness), 1),
        "offset": offset.frames, "offset_evidence": round(offset.evidence, 1), "corrected": shift,
        "source_rate": float(clip.frame_rate),
    }  # fmt: skip


def _best_track(tracks: list[FaceTrack], config: PrepareConfig) -> FaceTrack:
    if not tracks:
        raise _Rejected("no face")
    track = tracks[0]
    side = float(np.median(track.matrices[:, 0, 0]))
    if side < config.min_side:
        raise _Rejected(f"face too small ({side:.0f} px)")
    turned = (np.abs(track.pose[:, 0]) > config.max_yaw) | (np.abs(track.pose[:, 1]) > config.max_pitch)
    if turned.mean() > config.max_turned:
        raise _Rejected(f"turned away in {turned.mean():.0%} of the frames")
    return track


def ticks(times: list[Fraction], track: FaceTrack) -> list[int]:
    """The frames nearest to the ticks of a 25-fps clock, over the longest stretch in which the face was seen.

    A frame may be picked twice in slow footage and never in fast footage; none is off by more than half a source frame.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], track.visible.astype(int), [0]])))
    begin, end = max(zip(edges[::2], edges[1::2], strict=True), key=lambda run: run[1] - run[0])
    seconds = np.array([float(t) for t in times[track.first + begin : track.first + end]])
    count = int((seconds[-1] - seconds[0]) * FPS + 1e-6) + 1
    clock = seconds[0] + np.arange(count) / FPS
    right = np.clip(np.searchsorted(seconds, clock - 1e-6), 1, max(1, len(seconds) - 1))
    left = right - 1
    right = np.minimum(right, len(seconds) - 1)
    nearest = np.where(clock - seconds[left] <= seconds[right] - clock, left, right)
    return [int(track.first + begin + i) for i in nearest]


def _crops(clip: Clip, wanted: Counter[int], track: FaceTrack, size: int) -> Iterator[Byte]:
    for frame in media.read_frames(clip):
        if frame.index in wanted:
            image = geometry.crop_face(frame, track.matrices[frame.index - track.first], size).image
            yield from [image] * wanted[frame.index]


def _from(samples: Float, start: Fraction) -> Float:
    """The sound from ``start`` seconds on; silence before its beginning."""
    first = round(start * audio.SAMPLE_RATE)
    return samples[first:] if first >= 0 else np.concatenate([np.zeros(-first, np.float32), samples])


def _signature(path: Path, config: PrepareConfig) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, asdict(config)]).encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text)
    part.replace(path)


def _write_npz(path: Path, arrays: dict[str, Float]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)

