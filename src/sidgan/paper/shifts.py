"""Figure 4: each loss for a true face whose crop is shifted horizontally by a few pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidgan.config import SYNC_FRAMES
from sidgan.evaluation.results import without_nan
from sidgan.paper.footage import MARGIN, SIZE, Progress, Source
from sidgan.paper.judges import RECONSTRUCTION, Expert, Reconstruction, sync_losses
from sidgan.paper.material import Material
from sidgan.paper.numbers import FLAT_RANGE, RESAMPLES, flatness, interval, resampled, rise
from sidgan.types import Byte, Float

SHIFTS = tuple(range(-MARGIN, MARGIN + 1, 2))  #: shifts k, px at 512
STILL = SHIFTS.index(0)  #: index of the unshifted crop


@dataclass(frozen=True)
class Curve:
    """One loss as a function of the shift.

    Attributes:
        name: for legends. values: (N, K) loss of N windows at K = ``len(SHIFTS)`` shifts.
        videos: (N,) index of each window's video.
        wrong: (N,) loss of the unshifted window with the sound of another moment, for sync losses only: an expert that
            ignores the sound has a flat curve too.
        weights: source of the VGG19 weights, for losses that use them.
    """

    name: str
    values: Float
    videos: Sequence[int]
    wrong: Float | None = None
    weights: str | None = None

    @property
    def mean(self) -> Float:
        """(K,) mean over windows."""
        return self.values.mean(0)

    @property
    def band(self) -> Float:
        """(2, K) bootstrap interval of the mean."""
        return interval(resampled(self.values, self.videos))

    @property
    def relative(self) -> Float:
        """(K,) mean divided by its value at the largest shift, k = 32."""
        return self.mean / max(float(self.mean[-1]), 1e-12)

    @property
    def flatness(self) -> float:
        """`sidgan.paper.numbers.flatness` of the mean curve."""
        return float(flatness(self.mean, np.array(SHIFTS)))

    @property
    def flatness_band(self) -> tuple[float, float]:
        """Bootstrap interval of `flatness`."""
        low, high = interval(flatness(resampled(self.values, self.videos), np.array(SHIFTS)))
        return float(low), float(high)

    @property
    def rise(self) -> float:
        """`sidgan.paper.numbers.rise` of the mean curve."""
        return float(rise(self.mean, np.array(SHIFTS)))

    @property
    def gap(self) -> float | None:
        """Mean loss with wrong sound minus mean loss with the right sound, unshifted; ``None`` if not a sync loss."""
        return None if self.wrong is None else float(self.wrong.mean() - self.mean[STILL])

    @property
    def sway(self) -> float | None:
        """Range of the mean loss over shifts up to 16 px, divided by `gap`; infinite if `gap` is not positive.

        Unlike `flatness`, it is not small for an expert that ignores the sound.
        """
        if self.gap is None:
            return None
        near = self.mean[np.abs(SHIFTS) <= FLAT_RANGE]
        return float(np.ptp(near)) / self.gap if self.gap > 0 else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; an infinite sway (the expert does not prefer the right sound) is null."""
        values: dict[str, Any] = {
            "name": self.name, "flatness": self.flatness, "flatness_interval": self.flatness_band,
            "rise": self.rise,
            "mean": self.mean.tolist(), "interval": self.band.tolist(), "relative": self.relative.tolist(),
        }  # fmt: skip
        if self.wrong is not None:
            values |= {"right_sound": float(self.mean[STILL]), "wrong_sound": float(self.wrong.mean()),
                       "sway": without_nan(self.sway)}  # fmt: skip
        if self.weights is not None:
            values["vgg"] = self.weights
        return values


@dataclass(frozen=True)
class ShiftCurves:
    """The content of Figure 4.

    Attributes:
        sync: a curve for each expert. reconstruction: curves of the L1, perceptual and contextual loss.
        material: what they are computed from.
        replicated: (K,) share of crops that cross the video's edge and so repeat its last column, by shift.
        example: three face crops (S, S, 3) of one window, shifted by -32, 0 and 32 px.
    """

    sync: tuple[Curve, ...]
    reconstruction: tuple[Curve, ...]
    material: Material
    replicated: Float
    example: tuple[Byte, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without images."""
        moved = np.array(SHIFTS) != 0
        return {
            "figure": 4, "shifts_px_at_512": list(SHIFTS), **self.material.to_dict(),
            "replicated": self.replicated.tolist(), "replicated_mean": float(self.replicated[moved].mean()),
            "flat_range_px": FLAT_RANGE, "resamples": RESAMPLES,
            "sync": [c.to_dict() for c in self.sync],
            "reconstruction": [c.to_dict() for c in self.reconstruction],
        }  # fmt: skip


def shift_curves(
    source: Source, experts: Sequence[Expert], reconstruction: Reconstruction,
    progress: Progress = lambda done, total: None,
) -> ShiftCurves:  # fmt: skip
    """Compute Figure 4; only one window of images is in memory at a time.

    Sync losses use all five frames of a window, the other losses its middle frame.

    Args:
        source: supplies the windows.
        experts: there is a sync curve for each.
        reconstruction: computes the other losses.
        progress: called with the number of windows done and wanted.

    Raises:
        InputError: see `Source.windows`.
    """
    sync: list[list[Float]] = [[] for _ in experts]
    wrong: list[list[float]] = [[] for _ in experts]
    others: list[Float] = []
    replicated: list[Float] = []
    videos: list[int] = []
    example: tuple[Byte, ...] = ()
    for window in source.windows():
        for expert, right_losses, wrong_losses in zip(experts, sync, wrong, strict=True):
            seen, (right, other) = expert.see(window.wide, SHIFTS), expert.hear(window.mel, window.wrong_mel)
            right_losses.append(sync_losses(seen, right))
            wrong_losses.append(float(sync_losses(seen[STILL : STILL + 1], other)[0]))
        middle = window.wide[SYNC_FRAMES // 2]
        others.append(reconstruction(middle, middle, SHIFTS))
        replicated.append(window.replicated(SHIFTS))
        videos.append(source.videos.index(window.video))
        example = example or tuple(moved(middle, k) for k in (-MARGIN, 0, MARGIN))
        progress(len(others), source.count)
    material = Material.of(source, reconstruction)
    values = np.stack(others, 1)  # (3, N, K)
    return ShiftCurves(
        sync=tuple(Curve(e.title, np.stack(r), videos, np.array(w))
                   for e, r, w in zip(experts, sync, wrong, strict=True)),
        reconstruction=tuple(
            Curve(name, v, videos, weights=material.vgg if i else None)
            for i, (name, v) in enumerate(zip(RECONSTRUCTION, values, strict=True))
        ),
        material=material, replicated=np.mean(replicated, 0), example=example,
    )  # fmt: skip


def moved(wide: Byte, shift: int) -> Byte:
    """The face crop (S, S, 3) of a wide crop (W, W, 3), shifted ``shift`` px to the right."""
    return wide[MARGIN : MARGIN + SIZE, MARGIN + shift : MARGIN + shift + SIZE]
