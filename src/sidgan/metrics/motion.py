"""Metrics of movement: temporal jitter of the lips, and leaks of the hidden mouth into the generated one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from sidgan.geometry import MOUTH
from sidgan.metrics.checks import check_landmarks, check_series, require
from sidgan.metrics.lips import STILL, correlation
from sidgan.types import Array, Float

CORRELATED = 5  #: frames; at shifts up to this, the opening of a mouth correlates with itself
MIN_SHIFTS = 20  #: with fewer shifts, the chance level is undefined


def acceleration(landmarks: Float) -> Array:
    """Mean norm of the second difference ``p_t - 2 p_(t-1) + p_(t-2)`` of the 20 lip landmarks.

    Args:
        landmarks: (N, 68, 2) px of consecutive frames.

    Returns:
        (N - 2,) float64 px; empty for fewer than three frames. NaN where one of the three frames is NaN.
    """
    lips = landmarks[:, MOUTH].astype(np.float64)
    return np.linalg.norm(lips[2:] - 2 * lips[1:-1] + lips[:-2], axis=-1).mean(-1)


def jitter(landmarks: Float, truth: Float) -> float:
    """Temporal jitter: `acceleration` of the lips minus that of the true lips, mean over frames.

    Args:
        landmarks: (N, 68, 2) px in consecutive frames, detected in each frame independently: smoothing hides jitter.
        truth: (N, 68, 2) px, from the same landmark model. In both, frames without a face are NaN; differences that
            involve such a frame are left out.

    Returns:
        px; above 0, the lips jitter or move more than the true ones, below 0 less. NaN if no three consecutive frames
        have a face.
    """
    meter = Jitter()
    meter.update(landmarks, truth)
    return meter.compute()


class Jitter:
    """Accumulates `jitter` over consecutive parts of one clip; the three frames may lie in different parts."""

    def __init__(self) -> None:
        self._last = np.empty((0, 2, 68, 2))  # landmarks and true landmarks of the last two frames
        self._excess: list[float] = []  # acceleration over the true one, of each frame

    def update(self, landmarks: Float, truth: Float) -> None:
        """Add the next frames: two stacks (n, 68, 2) px."""
        check_landmarks(landmarks, truth)
        both = np.concatenate([self._last, np.stack([landmarks, truth], 1).astype(np.float64)])
        excess = acceleration(both[:, 0]) - acceleration(both[:, 1])
        self._excess += excess[~np.isnan(excess)].tolist()
        self._last = both[-2:]

    def compute(self) -> float:
        """The jitter of all frames so far; NaN if no three consecutive frames have a face."""
        return math.fsum(self._excess) / len(self._excess) if self._excess else math.nan


class Leak(NamedTuple):
    """Whether a generated mouth still follows the original one, although it was driven by another sound or silence.

    Attributes:
        correlation: Pearson correlation of the two openings; 0 where either does not move.
        chance: the 95 % quantile of the correlation of unrelated mouths, simulated by rotating the original in time.
            NaN for clips of fewer than 31 frames, which are too short.
        movement: standard deviation of the opening divided by that of the original, NaN if the original does not move.
            With silence the mouth should rest, so it should be near 0.
    """

    correlation: float
    chance: float
    movement: float


def leak(opening: Float, original: Float) -> Leak:
    """Compare a generated mouth with the original one that was hidden from the network.

    Args:
        opening: (N,) opening of the mouth that was generated from another sound or silence.
        original: (N,) opening of the original mouth in the same frames, in the same unit of length.

    Raises:
        MetricError: fewer than 3 frames, different lengths, or values that are not finite.
    """
    check_series(opening, original)
    require(len(opening) >= 3, f"a leak needs at least 3 frames, not {len(opening)}")
    shifts = range(CORRELATED + 1, len(original) - CORRELATED)
    rotated = [correlation(opening, np.roll(original, shift)) for shift in shifts]
    chance = max(0.0, float(np.quantile(rotated, 0.95))) if len(rotated) >= MIN_SHIFTS else float("nan")
    spread = float(np.std(original.astype(np.float64)))
    movement = float(np.std(opening.astype(np.float64))) / spread if spread > STILL else float("nan")
    return Leak(correlation(opening, original), chance, movement)
