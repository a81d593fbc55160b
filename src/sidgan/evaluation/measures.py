"""The metrics that judging takes, as tables: add a line to one of them, and a metric is in every record and table.

Three kinds, by what they need to see::

    FRAME    a function of some frames          -> one value a frame; a record holds their mean
    clip     an object that sees a whole clip   -> values of that clip       (`clip_metrics`)
    SETS     features of each frame, kept on disk -> one Frechet distance between two sets of all clips

Those that need published networks come from `sidgan.evaluation.networks`.
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
class Look:
    """Frames of one clip in their order, beside the truth, as metrics see them.

    Attributes:
        frames: (n,) indices in the clip.
        images, truth: (n, 3, S, S) uint8 crops.
        masks: (n, 1, S, S) 1 in the mouth region.
        pictures: n crops (256, 256, 3), in which ``landmarks`` were found.
        landmarks, true_landmarks: (n, 68, 2) px at 256 px; NaN where there was no face.
        identities, true_identities: (n, 128); NaN where they were not asked for.
        mels: (n, 1, 80, 28), the sound the frames were drawn from.
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

    def some(self, index: Array) -> Look:
        """Only the frames at these places (m,) of the n."""
        picked = {field.name: getattr(self, field.name) for field in fields(self)}
        pictures = [self.pictures[i] for i in index]
        return Look(**{name: value[index] for name, value in picked.items() if name != "pictures"}, pictures=pictures)


FrameMetric = Callable[[Look], "Tensor | Float"]  #: (n,) values, NaN where undefined

FRAME: Mapping[str, FrameMetric] = {
    "mouth_psnr": lambda look: metrics.psnr(look.images, look.truth, look.masks),
    "psnr": lambda look: metrics.psnr(look.images, look.truth),
    "ssim": lambda look: metrics.ssim(look.images, look.truth),
    "mouth_ssim": lambda look: metrics.ssim(look.images, look.truth, look.masks),
    "mouth_l1": lambda look: metrics.l1(look.images, look.truth, look.masks),
    "lmd": lambda look: metrics.lmd(look.landmarks, look.true_landmarks),
    "lmd_c": lambda look: metrics.lmd_centred(look.landmarks, look.true_landmarks),
    "lmd_n": lambda look: metrics.lmd_normalised(look.landmarks, look.true_landmarks),
    "id": lambda look: metrics.identity_distance(look.identities, look.true_identities),
}

#: Values of each frame that are kept for later, and averaged by nobody.
SERIES: Mapping[str, FrameMetric] = {"open": lambda look: mouth_opening(look.landmarks)}


class ClipMetric(Protocol):
    """What sees a clip in pieces and gives its values at the end."""

    def update(self, look: Look) -> None:
        """See the next frames."""

    def values(self) -> dict[str, float]:
        """The clip's values by metric, NaN where undefined."""


def clip_metrics(expert: SyncNet | None) -> list[ClipMetric]:
    """Fresh metrics for one clip as dubbed by one row.

    Args:
        expert: judges synchronisation; ``None`` for nobody to judge, or nothing to hear.
    """
    return [Opening(), Tremor(), Sync(expert)]


FEWEST = 5  #: frames from which on openings are compared: one never correlates, and two always do


class Timeline:
    """Puts values of judged frames back to their moments: references that lie between them leave a gap."""

    def __init__(self) -> None:
        self._next: int | None = None

    def spread(self, look: Look, *values: Float) -> list[Float]:
        """Values (n, ...) of the next frames, NaN for those since the last that are not judged."""
        places = look.frames.numpy()
        first = int(places[0]) if self._next is None else self._next
        self._next = int(places[-1]) + 1
        spread = [np.full((self._next - first, *v.shape[1:]), np.nan) for v in values]
        for target, v in zip(spread, values, strict=True):
            target[places - first] = v
        return spread


class Opening:
    """How the mouth's opening follows the true one; frames without a face, or not judged, are bridged."""

    def __init__(self) -> None:
        self._timeline = Timeline()
        self._mine: list[Float] = []
        self._true: list[Float] = []

    def update(self, look: Look) -> None:
        """See the next frames."""
        openings = mouth_opening(look.landmarks), mouth_opening(look.true_landmarks)
        for kept, part in zip((self._mine, self._true), self._timeline.spread(look, *openings), strict=True):
            kept.append(part)

    def values(self) -> dict[str, float]:
        """Of `sidgan.metrics.opening_match`, and by `sidgan.metrics.leak` the correlation that chance would reach.

        Undefined for less than five frames, and where no face is known in most.
        """
        mine, true = bridged(np.concatenate(self._mine)), bridged(np.concatenate(self._true))
        if mine is None or true is None or len(mine) < FEWEST:
            return dict.fromkeys(("opening", "opening_chance", "opening_lag", "opening_ratio"), math.nan)
        match = metrics.opening_match(mine, true)
        chance = metrics.leak(mine, true).chance
        lag = float(match.lag) if match.correlations.any() else math.nan
        return {"opening": match.correlation, "opening_chance": chance, "opening_lag": lag,
                "opening_ratio": match.ratio}  # fmt: skip


def bridged(series: Float) -> Float | None:
    """A series (N,) with its NaN replaced by a straight line between neighbours; none where most are undefined."""
    known = np.flatnonzero(~np.isnan(series))
    if 2 * len(known) <= len(series):
        return None
    return np.interp(np.arange(len(series)), known, series[known])


class Tremor:
    """Whether lips tremble more than the true ones."""

    def __init__(self) -> None:
        self._timeline, self._jitter = Timeline(), metrics.Jitter()

    def update(self, look: Look) -> None:
        """See the next frames."""
        self._jitter.update(*self._timeline.spread(look, look.landmarks, look.true_landmarks))

    def values(self) -> dict[str, float]:
        """Temporal jitter in px at 256 px."""
        return {"jitter": self._jitter.compute()}


class Sync:
    """An expert's verdict; undefined without one."""

    def __init__(self, expert: SyncNet | None) -> None:
        self._sync = metrics.MouthSync(expert) if expert is not None else None

    def update(self, look: Look) -> None:
        """See the next frames, hear their sound."""
        if self._sync is not None:
            self._sync.update(look.images, look.mels)

    def values(self) -> dict[str, float]:
        """Probability and offset of `sidgan.metrics.sync_match`."""
        match = self._sync.compute() if self._sync is not None else None
        if match is None:
            return dict.fromkeys(("sync", "sync_offset", "sync_near"), math.nan)
        near = float(abs(match.offset) <= 1)
        return {"sync": match.probability, "sync_offset": float(match.offset), "sync_near": near}


class SetMetric(NamedTuple):
    """A distance between all frames of all clips and the true ones, see `sidgan.evaluation.distances`.

    Attributes:
        features: (n, D) of n frames; those with NaN are left out.
        every: only every n-th judged frame is looked at.
    """

    features: Callable[[Look], Float]
    every: int = 1


SETS: dict[str, SetMetric] = {"face_fd": SetMetric(lambda look: look.identities)}
