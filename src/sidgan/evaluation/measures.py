"""The metrics of the evaluation, in registries: a metric that is added to one appears in every record and table.

Three kinds, by the data that they need::

    FRAME    a function of a batch of frames        -> one value per frame; a record holds their mean
    clip     an object that is fed a whole clip     -> values of that clip       (`clip_metrics`)
    SETS     features of each frame, stored on disk -> one Frechet distance between two sets of all clips

Metrics that need published networks are in `sidgan.evaluation.networks`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from sidgan import metrics
from sidgan.geometry import mouth_opening
from sidgan.nn import SyncNet
from sidgan.types import Array, Byte, Float


@dataclass(frozen=True)
class FrameBatch:
    """Consecutive judged frames of one clip with their ground truth: the input of metrics.

    Attributes:
        frames: (n,) indices in the clip.
        images, truth: (n, 3, S, S) uint8 crops.
        masks: (n, 1, S, S), 1 in the mouth region.
        pictures: n crops (256, 256, 3) uint8, in which ``landmarks`` were detected.
        landmarks, true_landmarks: (n, 68, 2) px in crops of 256 px; NaN where no face was found.
        identities, true_identities: (n, 128) identity embeddings; NaN in frames without one (`Subject.id_frames`).
        mels: (n, 1, 80, 28) mel windows of the sound that the frames were drawn from.
    """

    frames: Tensor
    images: Tensor
    truth: Tensor
    masks: Tensor
    pictures: Sequence[Byte]
    landmarks: Float
    true_landmarks: Float
    identities: Float
    true_identities: Float
    mels: Tensor

    def select(self, index: Array) -> FrameBatch:
        """The frames at the positions ``index`` (m,) of this batch."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "pictures"}
        pictures = [self.pictures[i] for i in index]
        return FrameBatch(**{name: value[index] for name, value in values.items()}, pictures=pictures)


FrameMetric = Callable[[FrameBatch], "Tensor | Float"]  #: one value per frame (n,), NaN where undefined

FRAME: Mapping[str, FrameMetric] = {
    "mouth_psnr": lambda batch: metrics.psnr(batch.images, batch.truth, batch.masks),
    "psnr": lambda batch: metrics.psnr(batch.images, batch.truth),
    "ssim": lambda batch: metrics.ssim(batch.images, batch.truth),
    "mouth_ssim": lambda batch: metrics.ssim(batch.images, batch.truth, batch.masks),
    "mouth_l1": lambda batch: metrics.l1(batch.images, batch.truth, batch.masks),
    "lmd": lambda batch: metrics.lmd(batch.landmarks, batch.true_landmarks),
    "lmd_c": lambda batch: metrics.lmd_centred(batch.landmarks, batch.true_landmarks),
    "lmd_n": lambda batch: metrics.lmd_normalised(batch.landmarks, batch.true_landmarks),
    "id": lambda batch: metrics.identity_distance(batch.identities, batch.true_identities),
}

#: Values per frame that are stored, but not averaged.
SERIES: Mapping[str, FrameMetric] = {"open": lambda batch: mouth_opening(batch.landmarks)}


class ClipMetric(Protocol):
    """A metric that is fed a clip in batches and has values at the end."""

    def update(self, batch: FrameBatch) -> None:
        """Add the next frames."""

    def values(self) -> dict[str, float]:
        """The clip's values by metric, NaN where undefined."""


def clip_metrics(expert: SyncNet | None) -> list[ClipMetric]:
    """New metrics for one clip and row.

    Args:
        expert: sync expert; ``None`` if there is none, or for a row without sound.
    """
    return [Opening(), LipJitter(), Sync(expert)]


MIN_FRAMES = 5  #: fewest frames whose openings are compared; the correlation of two frames is always 1 or -1


class _GapFiller:
    """Inserts NaN for the frames between judged ones that are not judged themselves, such as references."""

    def __init__(self) -> None:
        self._next: int | None = None

    def fill(self, batch: FrameBatch, *values: Float) -> list[Float]:
        """Values (n, ...) of the next judged frames -> (m, ...), with NaN for skipped frames since the last batch."""
        indices = batch.frames.numpy()
        first = int(indices[0]) if self._next is None else self._next
        self._next = int(indices[-1]) + 1
        filled = [np.full((self._next - first, *v.shape[1:]), np.nan) for v in values]
        for target, v in zip(filled, values, strict=True):
            target[indices - first] = v
        return filled


class Opening:
    """How the mouth opening follows the true one; frames without a face or not judged are interpolated."""

    def __init__(self) -> None:
        self._gaps = _GapFiller()
        self._mine: list[Float] = []
        self._true: list[Float] = []

    def update(self, batch: FrameBatch) -> None:
        """Add the next frames."""
        openings = mouth_opening(batch.landmarks), mouth_opening(batch.true_landmarks)
        for kept, part in zip((self._mine, self._true), self._gaps.fill(batch, *openings), strict=True):
            kept.append(part)

    def values(self) -> dict[str, float]:
        """The values of `sidgan.metrics.opening_match`, and the chance level of `sidgan.metrics.leak`.

        NaN for fewer than five frames, or if no more than half of the frames have a face.
        """
        mine, true = bridged(np.concatenate(self._mine)), bridged(np.concatenate(self._true))
        if mine is None or true is None or len(mine) < MIN_FRAMES:
            return dict.fromkeys(("opening", "opening_chance", "opening_lag", "opening_ratio"), math.nan)
        match = metrics.opening_match(mine, true)
        chance = metrics.leak(mine, true).chance
        lag = float(match.lag) if match.correlations.any() else math.nan
        return {"opening": match.correlation, "opening_chance": chance, "opening_lag": lag,
                "opening_ratio": match.ratio}  # fmt: skip


def bridged(series: Float) -> Float | None:
    """A series (N,) with NaN replaced by linear interpolation; ``None`` unless more than half is defined."""
    known = np.flatnonzero(~np.isnan(series))
    if 2 * len(known) <= len(series):
        return None
    return np.interp(np.arange(len(series)), known, series[known])


class LipJitter:
    """How much more the lips jitter than the true ones."""

    def __init__(self) -> None:
        self._gaps, self._jitter = _GapFiller(), metrics.Jitter()

    def update(self, batch: FrameBatch) -> None:
        """Add the next frames."""
        self._jitter.update(*self._gaps.fill(batch, batch.landmarks, batch.true_landmarks))

    def values(self) -> dict[str, float]:
        """Temporal jitter in px, in crops of 256 px."""
        return {"jitter": self._jitter.compute()}


class Sync:
    """Synchronisation as judged by a sync expert; NaN without one."""

    def __init__(self, expert: SyncNet | None) -> None:
        self._sync = metrics.MouthSync(expert) if expert is not None else None

    def update(self, batch: FrameBatch) -> None:
        """Add the next frames and their sound."""
        if self._sync is not None:
            self._sync.update(batch.images, batch.mels)

    def values(self) -> dict[str, float]:
        """Probability and offset of `sidgan.metrics.sync_match`, and whether the offset is at most one frame."""
        match = self._sync.compute() if self._sync is not None else None
        if match is None:
            return dict.fromkeys(("sync", "sync_offset", "sync_near"), math.nan)
        near = float(abs(match.offset) <= 1)
        return {"sync": match.probability, "sync_offset": float(match.offset), "sync_near": near}


class SetMetric(NamedTuple):
    """A Frechet distance between the frames of all clips and the true ones, see `sidgan.evaluation.distances`.

    Attributes:
        features: function that returns the features (n, D) of n frames; rows with NaN are left out.
        every: only every n-th judged frame is used.
    """

    features: Callable[[FrameBatch], Float]
    every: int = 1


SETS: dict[str, SetMetric] = {"face_fd": SetMetric(lambda batch: batch.identities)}
