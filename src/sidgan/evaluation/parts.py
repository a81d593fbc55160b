"""A stretch of a packed clip as evaluation reads it: pictures, mels, the sound that they came from, poses."""

from __future__ import annotations

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
from sidgan.errors import DataError
from sidgan.files import digest
from sidgan.metrics.lag import FRAME_SAMPLES
from sidgan.types import Float


@dataclass(frozen=True)
class Part:
    """Frames ``first`` to before ``last`` of a packed clip; ``end`` is where its split ends, ``sound`` its source."""

    folder: str
    record: dict[str, Any]
    first: int
    last: int
    end: int
    sound: ClipSource | None = None

    def path(self, suffix: str) -> Path:
        """Of one of its files."""
        base = Path(self.folder) / "clips" / self.record["file"]
        return base.with_name(base.name + suffix)

    def readable(self) -> bool:
        """Whether its files are there."""
        return self.path(".mp4").is_file() and self.path(".npz").is_file()

    def load(self) -> PackedClip:
        """Its frames.

        Raises:
            DataError: a file cannot be read, or holds no such clip.
        """
        images = read_crops(self.path(".mp4"))
        if len(images) != self.record["frames"]:
            raise DataError(f"{self.path('.mp4')} has {len(images)} frames, not {self.record['frames']}")
        with packed_arrays(self.path(".npz")) as arrays:
            clip = packed_clip(self.record["name"], images[self.first : self.last], arrays, self.first)
            _whole(len(clip), mels=clip.mels, masks=clip.masks, landmarks=torch.from_numpy(clip.landmarks))
        return clip

    def mels(self) -> Tensor:
        """(N, 1, 80, 28) float16 windows of its frames; a `DataError` where they cannot be read."""
        with packed_arrays(self.path(".npz")) as arrays:
            mel = arrays["mel"].astype(np.float32)
            windows = audio.mel_windows(mel, [Fraction(i, FPS) for i in range(self.first, self.last)])
            mels = torch.from_numpy(windows.astype(np.float16))
            _whole(self.last - self.first, mels=mels)
        return mels

    def samples(self) -> Float | None:
        """Sound of its frames, 640 samples at 16 kHz for each; the same shift is corrected as in the mels."""
        if self.sound is None:
            return None
        samples = read_sound(self.sound, self.record.get("start", 0.0), self.record.get("corrected", 0))
        part = samples[FRAME_SAMPLES * self.first : FRAME_SAMPLES * self.last]
        return np.pad(part, (0, FRAME_SAMPLES * (self.last - self.first) - len(part)))

    def poses(self) -> dict[str, Float]:
        """Pose in degrees and side of the crop in source px, (N,) each, as far as they were packed."""
        found = {}
        with packed_arrays(self.path(".npz")) as arrays:
            if "pose" in arrays.files:
                found = dict(zip(("yaw", "pitch", "roll"), arrays["pose"][self.first : self.last].T, strict=True))
            if "matrices" in arrays.files:
                found["side"] = arrays["matrices"][self.first : self.last, 0, 0]
        return found

    def digest(self) -> list[str]:
        """Digests of its files, and its frames."""
        return [*(digest(self.path(s)) for s in (".mp4", ".npz")), f"{self.first}-{self.last}",
                *([] if self.sound is None else [digest(self.sound.heard)])]  # fmt: skip


def _whole(count: int, **found: Tensor) -> None:
    """Raise a `ValueError`, told by `packed_arrays`, unless there is something for each frame, all of it numbers."""
    for what, values in found.items():
        if len(values) != count:
            raise ValueError(f"{what} of {len(values)} frames, not {count}")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"{what} that are not numbers")
