"""An exponentially weighted mean over a limited number of past frames.

Frames before these have no influence at all. So a video can be drawn in segments, each started a few frames early, and
the result is the same, bit for bit, as if it were drawn in one go.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from sidgan.types import Float


class RunningMean:
    """The weighted mean of a value over the last frames of an output.

    Args:
        memory: weight of each frame relative to the next one, 0 to 1.
        count: number of frames in the mean, including the current one.
    """

    def __init__(self, memory: float, count: int) -> None:
        self._memory, self._count = memory, count
        self._past: deque[tuple[int, Float]] = deque()  # index of a frame, its value

    def __call__(self, place: int, value: Float) -> Float:
        """Add the value of output frame ``place`` and return the mean; all values must have one shape."""
        self._past.append((place, value))
        while self._past[0][0] <= place - self._count:
            self._past.popleft()
        weights = np.array([self._memory ** (place - one) for one, _ in self._past], value.dtype)
        # Summed one by one: the rounding of a matrix product may depend on how its memory is aligned.
        pairs = zip(weights / weights.sum(), self._past, strict=True)
        return np.asarray(sum(weight * past for weight, (_, past) in pairs))
