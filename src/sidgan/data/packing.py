"""Prepare one clip: track its face, apply the filters, and pack crops, mel, landmarks and masks, or reject it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from sidgan import audio, faces, geometry, media, provenance
from sidgan.config import FPS
from sidgan.data.listing import ClipSource
from sidgan.data.offset import estimate_offset
from sidgan.errors import InputError, SidganError
from sidgan.faces import fan, yunet
from sidgan.files import write_arrays, write_text
from sidgan.settings import require, require_between
from sidgan.spans import spans
from sidgan.types import Byte, Clip, FaceTrack, Float, Frame

VERSION = 2  #: of the packed layout; raise it when anything changes what is packed, so that clips are prepared again
MARGIN = 1.0  #: seconds of sound read on either side of a clip, so that the offset can be corrected
SHARP_SIZE = 128  #: px; sharpness is measured at this crop size, whatever size is packed
MAX_SIZE = 2048  #: px; above it, a clip does not fit into memory
BEYOND = 0.1  #: share of the frames in which the edge of the picture may cut off the mouth or an eye
OVERLAP = 0.05  #: share of the crop's area that another face may cover


@dataclass(frozen=True)
class PrepareConfig:
    """Crop size and filters. A limit of ``None`` is off.

    Attributes:
        size: crop side in px.
        min_side: smallest median side of the face square in the source, px.
        min_seconds, max_seconds: shorter clips are rejected, longer ones truncated.
        max_yaw, max_pitch: degrees; frames beyond them count as turned away.
        max_turned: largest share of frames that are turned away.
        min_loudness: dBFS (RMS) below which a clip counts as silent.
        max_roll: degrees, as ``max_yaw``.
        min_sharpness: smallest median Laplacian variance of the crop at 128 px, in squared grey levels.
        max_crowded: largest share of frames in which another face reaches into the crop.
        max_offset: largest audio-video offset in frames, where the estimate is trusted.
        min_evidence: smallest evidence for the offset, in robust standard deviations; short clips seldom reach 10.
        detector: ``yunet`` finds faces with `sidgan.faces.yunet`, a download, instead of dlib's detector.
        landmarks: ``fan`` finds the 68 points with `sidgan.faces.fan`, a download, instead of dlib's model.
    """

    size: int = 128
    min_side: float = 64.0
    min_seconds: float = 1.0
    max_seconds: float = 600.0
    max_yaw: float = 45.0
    max_pitch: float = 30.0
    max_turned: float = 0.1
    min_loudness: float = -55.0
    max_roll: float | None = None
    min_sharpness: float | None = None
    max_crowded: float | None = None
    max_offset: int | None = None
    min_evidence: float | None = None
    detector: Literal["yunet"] | None = None
    landmarks: Literal["fan"] | None = None

    def __post_init__(self) -> None:
        fits = 32 <= self.size <= MAX_SIZE and self.size % 2 == 0
        require(fits, f"size must be even and from 32 to {MAX_SIZE} px, not {self.size}")
        require_between(self, 0, 1, "max_turned", "max_crowded")
        require_between(self, 0, math.inf, "min_side", "min_seconds", "min_sharpness", "max_offset", "min_evidence")
        require_between(self, 0, 180, "max_yaw", "max_pitch", "max_roll")
        require_between(self, self.min_seconds, math.inf, "max_seconds")
        require(not math.isnan(self.min_loudness), "min_loudness must be a number, not nan")


#: Filters for published data sets, by source; the rest is as in `PrepareConfig`.
STRICT: dict[str, Any] = {
    "min_seconds": 2.0, "max_roll": 30.0, "min_loudness": -45.0, "min_sharpness": 30.0, "max_crowded": 0.1,
    "max_offset": 6,
}  # fmt: skip
DEFAULTS: dict[str, dict[str, Any]] = {
    "folder": {}, "avspeech": STRICT, "hdtf": STRICT, "voxceleb2": STRICT,
    "lrw": STRICT | {"min_seconds": 1.0}, "lrs2": STRICT | {"min_seconds": 1.0},
}  # fmt: skip


def helpers(config: PrepareConfig) -> tuple[faces.Detector | None, faces.Landmarker | None]:
    """The optional face detector and landmarker that ``config`` selects.

    Raises:
        DownloadError: a model is missing and cannot be fetched, or its digest is not the published one.
    """
    detector = yunet.detector() if config.detector == "yunet" else None
    return detector, fan.landmarker() if config.landmarks == "fan" else None


class Rejected(Exception):  # noqa: N818  a verdict, not an error
    """Why a clip is rejected: one of a few fixed reasons, with the measured value in brackets."""


def prepare_clip(source: ClipSource, out: Path, config: PrepareConfig) -> dict[str, Any]:
    """Prepare one clip, or read its record if it was prepared before; returns the record.

    A clip that cannot be read raises nothing; its record is marked ``failed``.

    Raises:
        SidganError: the result cannot be written, or a model is missing.
    """
    target = out / "clips" / source.name.replace("/", "__")
    try:
        signature, digest = _signature(source, config)
    except OSError as error:
        reason = f"{source.path} cannot be read ({error.strerror})"
        return {"name": source.name, "file": target.name, "kept": False, "failed": True, "reason": reason}
    done = _with_suffix(target, ".json")
    record = _read_record(done, signature)
    if record is None:
        done.unlink(missing_ok=True)  # until it is written again, the clip's files may be from different runs
        record = _judge(source, target, config, signature)
        write_text(done, json.dumps(record, sort_keys=True))
    return record | {"sha256": digest}


def _judge(source: ClipSource, target: Path, config: PrepareConfig, signature: str) -> dict[str, Any]:
    """Pack a clip and return its record; a rejected or failed clip leaves no video and no arrays."""
    base = {"name": source.name, "signature": signature, "file": target.name, "size": config.size}
    facts: dict[str, Any] = {}
    try:
        _pack(source, target, config, facts)
        return base | facts | {"kept": True}
    except Rejected as verdict:
        outcome = {"kept": False, "reason": str(verdict)}
    except InputError as error:
        outcome = {"kept": False, "failed": True, "reason": str(error)}
    except SidganError:
        raise
    except Exception as error:  # one odd file among a million must not end the run; `prepare` stops at too many
        text = f"{source.path} cannot be processed ({type(error).__name__}: {error})"
        outcome = {"kept": False, "failed": True, "reason": " ".join(text.split())}
    for suffix in (".mp4", ".npz"):  # left by a run with other settings
        _with_suffix(target, suffix).unlink(missing_ok=True)
    return base | facts | outcome


def _read_record(path: Path, signature: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    complete = not record.get("kept") or all(_with_suffix(path.with_suffix(""), s).is_file() for s in (".mp4", ".npz"))
    return record if record.get("signature") == signature and complete else None


def _pack(source: ClipSource, target: Path, config: PrepareConfig, facts: dict[str, Any]) -> None:
    """Measure, filter and pack a clip; measurements go into ``facts``, even of a clip that is then rejected."""
    clip = media.probe(source.path)
    if provenance.altered(source.path):
        facts["altered"] = True
    if clip.audio_rate is None and source.audio is None:
        raise Rejected("no sound")
    times: list[Fraction] = []
    tracker = faces.Tracker(*helpers(config))
    for frame in _frames(clip, source):
        if frame.time - source.span[0] > config.max_seconds:
            break
        times.append(frame.time)
        tracker.add(frame)
    tracks = tracker.finish()
    track = _best_track(tracks, clip, source, facts)
    _judge_track(track, tracks, clip, config, facts)
    pick = ticks(times, track)
    if len(pick) < config.min_seconds * FPS:
        raise Rejected(f"face seen too briefly ({len(pick) / FPS:.1f} s)")
    samples, sound_start = _sound(source)
    _judge_loudness(samples, sound_start, source, config, facts)
    rows = np.array(pick) - track.first
    start = times[pick[0]]
    landmarks, matrices = track.landmarks[rows], track.matrices[rows]
    shift = _judge_offset(landmarks, audio.log_mel(_samples_from(samples, start - sound_start)), config, facts)
    mel = audio.log_mel(_packed_part(samples, sound_start, start, shift))
    if shift:  # the offset estimated after the correction; far from 0, the correction was wrong
        facts["offset_left"] = estimate_offset(landmarks, mel).frames
    unit = geometry.to_unit(matrices, landmarks)
    arrays = {"mel": mel[:, : audio.STEPS_PER_SECOND * len(pick) // FPS + 16].astype(np.float16),
              "landmarks": unit, "masks": geometry.mask_boxes(unit), "matrices": matrices,
              "pose": track.pose[rows]}  # fmt: skip
    sharpness: list[float] = []
    images = _crops(clip, source, Counter(pick), track, config.size, sharpness)
    media.write_clip(_with_suffix(target, ".mp4"), images, Fraction(FPS), crf=10, chroma444=True)
    facts |= {"frames": len(pick), "start": float(start), "sharpness": round(float(np.median(sharpness)), 1)}
    if config.min_sharpness is not None and facts["sharpness"] < config.min_sharpness:
        raise Rejected(f"blurred ({facts['sharpness']:.0f})")
    write_arrays(_with_suffix(target, ".npz"), arrays)


def _best_track(tracks: list[FaceTrack], clip: Clip, source: ClipSource, facts: dict[str, Any]) -> FaceTrack:
    """The annotated face, or the most prominent one."""
    facts["source_rate"] = float(clip.frame_rate)
    if not tracks:
        raise Rejected("no face")
    if source.point is None:
        return tracks[0]
    x, y = source.point[0] * clip.width, source.point[1] * clip.height
    early = [t for t in tracks if t.first <= clip.frame_rate] or tracks  # the annotation is for the clip's start
    distance, _, number = min((*_distance(t, x, y), n) for n, t in enumerate(early))
    if distance > 1:
        raise Rejected(f"no face at the annotated point ({distance:.1f} sides away)")
    return early[number]


def _distance(track: FaceTrack, x: float, y: float) -> tuple[float, float]:
    """Distances of a point (px) from a track's first face square and from its centre, in sides of the square."""
    side, left, top = (float(track.matrices[0][i]) for i in ((0, 0), (0, 2), (1, 2)))
    across, down = (x - left) / side - 0.5, (y - top) / side - 0.5
    outside = np.hypot(max(abs(across) - 0.5, 0), max(abs(down) - 0.5, 0))
    return float(outside), float(np.hypot(across, down))


def _judge_track(
    track: FaceTrack, tracks: list[FaceTrack], clip: Clip, config: PrepareConfig, facts: dict[str, Any]
) -> None:
    side = float(np.median(track.matrices[:, 0, 0]))
    limits = (config.max_yaw, config.max_pitch, np.inf if config.max_roll is None else config.max_roll)
    turned = float((np.abs(track.pose) > limits).any(1).mean())
    crowded = _crowded(track, tracks)
    beyond = float((faces.lips_inside(track, clip.width, clip.height) < 0).mean())
    yaw, pitch, roll = (round(float(v), 1) for v in np.median(track.pose, 0))
    facts |= {"side": round(side, 1), "score": round(float(np.median(track.scores[track.visible])), 2),
              "yaw": yaw, "pitch": pitch, "roll": roll, "turned": round(turned, 3),
              "crowded": round(crowded, 3), "beyond": round(beyond, 3)}  # fmt: skip
    if side < config.min_side:
        raise Rejected(f"face too small ({side:.0f} px)")
    if turned > config.max_turned:
        raise Rejected(f"turned away (in {turned:.0%} of the frames)")
    if beyond > BEYOND:  # landmarks there are guesses
        raise Rejected(f"mouth or eyes beyond the edge of the picture (in {beyond:.0%} of the frames)")
    if config.max_crowded is not None and crowded > config.max_crowded:
        raise Rejected(f"another face in the crop (in {crowded:.0%} of the frames)")


def _crowded(track: FaceTrack, tracks: list[FaceTrack]) -> float:
    """Share of the track's frames in which another face's bounding box covers more than `OVERLAP` of its crop."""
    covered = np.zeros(len(track), bool)
    for other in tracks:
        shared = range(max(track.first, other.first), min(track.frames.stop, other.frames.stop))
        if other is track or not shared:
            continue
        own, its = (slice(shared.start - t.first, shared.stop - t.first) for t in (track, other))
        matrices, boxes = track.matrices[own], np.array([faces.box_of(p) for p in other.landmarks[its]])
        side, low = matrices[:, 0, 0], matrices[:, :, 2]
        inside = np.minimum(boxes[:, 2:], low + side[:, None]) - np.maximum(boxes[:, :2], low)
        covered[own] |= (np.clip(inside, 0, None).prod(1) > OVERLAP * side**2) & other.visible[its]
    return float(covered.mean())


def _judge_loudness(
    samples: Float, sound_start: Fraction, source: ClipSource, config: PrepareConfig, facts: dict[str, Any]
) -> None:
    begin, end = source.span
    clip_samples = samples[round((begin - sound_start) * audio.SAMPLE_RATE) :]
    clip_samples = clip_samples if end is None else clip_samples[: round((end - begin) * audio.SAMPLE_RATE)]
    loudness = 10 * np.log10(np.mean(clip_samples**2) + 1e-12) if len(clip_samples) else -120.0
    facts["loudness"] = round(float(loudness), 1)
    if loudness < config.min_loudness:
        raise Rejected(f"silent ({loudness:.0f} dBFS)")


def _judge_offset(landmarks: Float, mel: Float, config: PrepareConfig, facts: dict[str, Any]) -> int:
    """The correction in frames: the estimated offset where it is trusted, else 0."""
    offset = estimate_offset(landmarks, mel)
    shift = offset.frames if offset.trusted else 0
    facts |= {"offset": offset.frames, "offset_evidence": round(offset.evidence, 1), "corrected": shift}
    if config.max_offset is not None and abs(shift) > config.max_offset:
        raise Rejected(f"sound and picture are too far apart ({shift:+d} frames)")
    if config.min_evidence is not None and offset.evidence < config.min_evidence:
        raise Rejected(f"no evidence that sound and picture match ({offset.evidence:.1f})")
    return shift


def ticks(times: Sequence[Fraction], track: FaceTrack) -> list[int]:
    """Resample to 25 fps: the frame nearest to each tick, over the longest run of frames with the face visible.

    Frames of slower footage may be repeated, those of faster footage skipped; the error is at most half a source frame.

    Args:
        times: seconds of all frames of the clip.
        track: the face.
    """
    begin, end = longest_seen(track)
    seconds = np.array([float(t) for t in times[begin:end]])
    count = int((seconds[-1] - seconds[0]) * FPS + 1e-6) + 1
    clock = seconds[0] + np.arange(count) / FPS
    right = np.clip(np.searchsorted(seconds, clock - 1e-6), 1, max(1, len(seconds) - 1))
    left = right - 1
    right = np.minimum(right, len(seconds) - 1)
    nearest = np.where(clock - seconds[left] <= seconds[right] - clock, left, right)
    return [int(begin + i) for i in nearest]


def longest_seen(track: FaceTrack) -> tuple[int, int]:
    """The longest run of frames with the face visible: its first frame, and one past its last."""
    begin, end = max(spans(track.visible), key=lambda span: span[1] - span[0])
    return track.first + begin, track.first + end


def _frames(clip: Clip, source: ClipSource) -> Iterator[Frame]:
    return media.read_span(clip, *source.span)


def _crops(
    clip: Clip, source: ClipSource, wanted: Counter[int], track: FaceTrack, size: int, sharpness: list[float]
) -> Iterator[Byte]:
    """Crops of the ``wanted`` frames, each as often as counted; appends each frame's sharpness to ``sharpness``."""
    last = max(wanted)
    for frame in _frames(clip, source):
        if frame.index > last:
            break
        if frame.index in wanted:
            image = geometry.crop_face(frame, track.matrices[frame.index - track.first], size).image
            sharpness.append(sharpness_of(image))
            yield from [image] * wanted[frame.index]


def sharpness_of(image: Byte) -> float:
    """Variance of the Laplacian of an RGB crop (S, S, 3) at 128 px, in squared grey levels; low where it is blurred."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if grey.shape[0] != SHARP_SIZE:
        how = cv2.INTER_AREA if grey.shape[0] > SHARP_SIZE else cv2.INTER_LINEAR
        grey = cv2.resize(grey, (SHARP_SIZE, SHARP_SIZE), interpolation=how)
    return float(cv2.Laplacian(grey, cv2.CV_32F).var())


def _sound(source: ClipSource) -> tuple[Float, Fraction]:
    """A clip's samples with `MARGIN` on either side, or the whole file's; and the first one's time in the file."""
    if source.end is None and not source.start:
        return media.read_audio(source.heard), Fraction(0)
    first = max(0, round((source.start - MARGIN) * audio.SAMPLE_RATE))
    last = None if source.end is None else round((source.end + MARGIN) * audio.SAMPLE_RATE)
    blocks, done = [np.zeros(0, np.float32)], 0
    for block in media.decode_audio(source.heard):
        blocks.append(block[max(0, first - done) : None if last is None else max(0, last - done)])
        done += len(block)
        if last is not None and done >= last:
            break
    return np.concatenate(blocks), Fraction(first, audio.SAMPLE_RATE)


def read_sound(source: ClipSource, start: float, shift: int) -> Float:
    """Read the samples from which a packed clip's mel was made; sample 0 belongs to its first frame.

    Args:
        source: the clip.
        start: seconds into the file at which the packed clip begins, the record's ``start``.
        shift: correction of its offset in frames, the record's ``corrected``.

    Raises:
        InputError: the file cannot be read.
    """
    samples, sound_start = _sound(source)
    return _packed_part(samples, sound_start, Fraction(start).limit_denominator(10**6), shift)


def _packed_part(samples: Float, sound_start: Fraction, start: Fraction, shift: int) -> Float:
    return _samples_from(samples, start - sound_start - Fraction(shift, FPS))


def _samples_from(samples: Float, start: Fraction) -> Float:
    """Samples from ``start`` seconds on; a negative start is padded with silence."""
    first = round(start * audio.SAMPLE_RATE)
    return samples[first:] if first >= 0 else np.concatenate([np.zeros(-first, np.float32), samples])


def _signature(source: ClipSource, config: PrepareConfig) -> tuple[str, str]:
    """Digest of the file and of all settings that affect the result, and digest of the file alone.

    Limits that are off and spans that are the whole file are left out of it.
    """
    settings = json.dumps([VERSION, {k: v for k, v in asdict(config).items() if v is not None}])
    digest, plain = _digests(source.path, settings, *_version(source.path))
    digest = digest.copy()
    cut = (source.start, source.end, source.point)
    if cut != (0.0, None, None):
        digest.update(json.dumps(cut).encode())
    if source.audio is not None:
        digest.update(_digests(source.audio, "", *_version(source.audio))[1].encode())
    return digest.hexdigest()[:16], plain


def _version(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=8)  # many clips may come from one long file
def _digests(path: Path, settings: str, size: int, changed: int) -> tuple[Any, str]:
    digest, plain = hashlib.sha256(settings.encode()), hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            plain.update(block)
    return digest, plain.hexdigest()


def _with_suffix(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)
