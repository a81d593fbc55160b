"""A range of frames of a packed clip, as read by the evaluation: crops, mels, head pose, and sound of its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sidgan import audio
from sidgan.config import FPS
from sidgan.data.dataset import PackedClip, packed_arrays, packed_clip, read_crops
from sidgan.data.listing import ClipSource
from sidgan.data.packing import read_sound
from sidgan.data.sources import folder as videos_below
from sidgan.errors import DataError
from sidgan.evaluation.lists import Choice
from sidgan.files import digest
from sidgan.metrics.lag import FRAME_SAMPLES
from sidgan.types import Float


@dataclass(frozen=True)
class Part:
    """Frames [first, last) of a packed clip.

    Attributes:
        folder: prepared folder.
        record: manifest record of the clip.
        first, last: range of frames.
        end: end of the split in this clip; ``last`` is less if ``max_frames`` cuts it.
        sound: source file of the sound, if it is available.
    """

    folder: str
    record: dict[str, Any]
    first: int
    last: int
    end: int
    sound: ClipSource | None = None

    def path(self, suffix: str) -> Path:
        """Path of the file of this clip with a suffix, such as ``.mp4``."""
        base = Path(self.folder) / "clips" / self.record["file"]
        return base.with_name(base.name + suffix)

    def readable(self) -> bool:
        """Whether the files exist."""
        return self.path(".mp4").is_file() and self.path(".npz").is_file()

    def load(self) -> PackedClip:
        """Read the frames.

        Raises:
            DataError: a file cannot be read, or does not match the manifest.
        """
        images = read_crops(self.path(".mp4"))
        if len(images) != self.record["frames"]:
            raise DataError(f"{self.path('.mp4')} has {len(images)} frames, not {self.record['frames']}")
        with packed_arrays(self.path(".npz")) as arrays:
            clip = packed_clip(self.record["name"], images[self.first : self.last], arrays, self.first)
            _check_complete(len(clip), mels=clip.mels, masks=clip.masks, landmarks=torch.from_numpy(clip.landmarks))
        return clip

    def mels(self) -> Tensor:
        """Mel windows (N, 1, 80, 28) float16 of the frames; raises `DataError` if they cannot be read."""
        with packed_arrays(self.path(".npz")) as arrays:
            mel = arrays["mel"].astype(np.float32)
            windows = audio.mel_windows(mel, [Fraction(i, FPS) for i in range(self.first, self.last)])
            mels = torch.from_numpy(windows.astype(np.float16))
            _check_complete(self.last - self.first, mels=mels)
        return mels

    def samples(self) -> Float | None:
        """Sound of the frames, 640 samples each at 16 kHz, with the same offset correction as the mels."""
        if self.sound is None:
            return None
        samples = read_sound(self.sound, self.record.get("start", 0.0), self.record.get("corrected", 0))
        own = samples[FRAME_SAMPLES * self.first : FRAME_SAMPLES * self.last]
        return np.pad(own, (0, FRAME_SAMPLES * (self.last - self.first) - len(own)))

    def poses(self) -> dict[str, Float]:
        """Head pose in degrees and side of the face square in source px, (N,) each, as far as they were packed."""
        found = {}
        with packed_arrays(self.path(".npz")) as arrays:
            if "pose" in arrays.files:
                found = dict(zip(("yaw", "pitch", "roll"), arrays["pose"][self.first : self.last].T, strict=True))
            if "matrices" in arrays.files:
                found["side"] = arrays["matrices"][self.first : self.last, 0, 0]
        return found

    def digest(self) -> list[str]:
        """Digests of the files, and the range of frames."""
        return [*(digest(self.path(s)) for s in (".mp4", ".npz")), f"{self.first}-{self.last}",
                *([] if self.sound is None else [digest(self.sound.heard)])]  # fmt: skip


def _check_complete(count: int, **arrays: Tensor) -> None:
    """Raise `ValueError` unless each array has ``count`` rows of finite numbers; `packed_arrays` reports it."""
    for what, values in arrays.items():
        if len(values) != count:
            raise ValueError(f"{what} of {len(values)} frames, not {count}")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{what} contain values that are not finite")


Sounds = Mapping[tuple[str, str], ClipSource]  #: (folder, name) of a packed clip -> its source


def sounds_below(folder: Path, choice: Choice) -> Sounds:
    """The source files of clips below a folder: as recorded in the manifest, or else files with the clips' names."""
    found, by_name = dict[tuple[str, str], ClipSource](), dict[str, ClipSource]()
    for record, _ in choice.clips:
        source = source_of(record, folder) if "source" in record else None
        if source is None or not source.heard.is_file():
            by_name = by_name or {clip.name: clip for clip in videos_below(folder).clips}
            if record["name"] not in by_name:
                raise DataError(f"{folder} has no file for {record['name']}; give the videos' folder as --sounds")
            source = by_name[record["name"]]
        found[record["folder"], record["name"]] = source
    return found


def original_sounds(choice: Choice) -> Sounds:
    """The source files of clips in the folder that was prepared; empty unless all of them exist."""
    try:
        roots = {folder: origin(folder) for folder in {record["folder"] for record, _ in choice.clips}}
        found = {(r["folder"], r["name"]): source_of(r, roots[r["folder"]]) for r, _ in choice.clips}
    except (DataError, KeyError):  # prepared by an older version, or moved
        return {}
    return found if all(source.heard.is_file() for source in found.values()) else {}


def origin(folder: str) -> Path:
    """The source folder of a prepared folder; raises `DataError` if it is not recorded, or does not exist."""
    path = Path(folder) / "prepare.json"
    try:
        root = Path(json.loads(path.read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError):
        raise DataError(f"{path} does not say where the clips came from") from None
    if not root.is_dir():
        raise DataError(f"{root}, from which {folder} was prepared, does not exist")
    return root


def source_of(record: Mapping[str, Any], root: Path) -> ClipSource:
    """The part of a file below ``root`` that a packed clip came from; raises `KeyError` if it is not recorded."""
    start, end = record.get("span") or (0.0, None)
    audio = root / record["audio"] if record.get("audio") else None
    return ClipSource(root / record["source"], record["name"], start=start, end=end, audio=audio)
