"""What happens between frames: landmarks that tremble, and a hidden mouth that shows through."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sidgan.geometry import MOUTH
from sidgan.metrics.checks import landmarks as check_landmarks
from sidgan.metrics.checks import require, series
from sidgan.metrics.frames import FrameMean
from sidgan.metrics.lips import STILL, correlation
from sidgan.types import Array, Float

NEAR = 5  #: frames; a mouth resembles itself at shifts up to this
FEWEST = 20  #: shifts below which chance is not told


def acceleration(landmarks: Float) -> Array:
    """Mean size of the second difference ``p_t - 2 p_(t-1) + p_(t-2)`` of the 20 lip landmarks.

    Args:
        landmarks: (N, 68, 2) px of consecutive frames.

    Returns:
        (N - 2,) float64 px; empty for fewer than three frames. NaN where one of the three frames is.
    """
    lips = landmarks[:, MOUTH].astype(np.float64)
    return np.linalg.norm(lips[2:] - 2 * lips[1:-1] + lips[:-2], axis=-1).mean(-1)


def jitter(landmarks: Float, truth: Float) -> float:
    """Temporal jitter: by how much the lips of a result accelerate more than the true ones, mean over frames.

    Args:
        landmarks: (N, 68, 2) px of consecutive frames, found in each frame by itself: smoothed ones do not tremble.
        truth: (N, 68, 2) px, from the same landmark model. Frames without a face are NaN, in either; whatever they
            take part in is left out.

    Returns:
        px; above 0 the result trembles or moves more, below 0 less. NaN where no three frames in a row have a face.
    """
    meter = Jitter()
    meter.update(landmarks, truth)
    return meter.compute()


class Jitter:
    """Accumulates `jitter` over consecutive pieces of one clip; the three frames may lie in different pieces."""

    def __init__(self) -> None:
        self._last = np.empty((0, 2, 68, 2))
        self._mean = FrameMean()

    def update(self, landmarks: Float, truth: Float) -> None:
        """Add the next frames: two stacks (n, 68, 2) px."""
        check_landmarks(landmarks, truth)
        both = np.concatenate([self._last, np.stack([landmarks, truth], 1).astype(np.float64)])
        excess = acceleration(both[:, 0]) - acceleration(both[:, 1])
        self._mean.update(excess[~np.isnan(excess)])
        self._last = both[-2:]

    def compute(self) -> float:
        """Of everything so far; NaN where no three frames in a row have a face."""
        return self._mean.compute()


class Leak(NamedTuple):
    """Whether a redrawn mouth still follows the one it replaced, though it was given another sound or none.

    Attributes:
        correlation: of the two openings; 0 where either does not move.
        chance: the correlation that one in twenty pairs of mouths reach that have nothing to do with each other: these
            two, one of them rotated in time. NaN for clips of fewer than 31 frames, too short to tell.
        movement: standard deviation of the opening over that of the original. Under silence the mouth should rest, and
            this is what remains; NaN if the original does not move.
    """

    correlation: float
    chance: float
    movement: float

    @property
    def leaks(self) -> bool:
        """Whether the correlation is above chance. Of twenty clips without a leak one will say so too."""
        return self.correlation > self.chance


def leak(opening: Float, original: Float) -> Leak:
    """Look for the hidden mouth in what replaced it.

    Args:
        opening: (N,) of the mouth redrawn under a foreign sound or silence, in the same unit of length.
        original: (N,) of the mouth that was hidden from the network, in the same frames.

    Raises:
        MetricError: fewer than 3 frames, different lengths, or values that are not finite.
    """
    series(opening, original)
    require(len(opening) >= 3, f"a leak needs at least 3 frames, not {len(opening)}")
    shifts = range(NEAR + 1, len(original) - NEAR)
    others = [correlation(opening, np.roll(original, shift)) for shift in shifts]
    chance = max(0.0, float(np.quantile(others, 0.95))) if len(others) >= FEWEST else float("nan")
    spread = float(np.std(original.astype(np.float64)))
    movement = float(np.std(opening.astype(np.float64))) / spread if spread > STILL else float("nan")
    return Leak(correlation(opening, original), chance, movement)
