"""A mean over the last frames, which forgets: what was long ago makes no difference to a bit.

So a video can be drawn in pieces, each begun a few frames before it, and is the same as in one.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from sidgan.types import Float


class RunningMean:
    """The mean of a value in the frames of an output so far.

    Args:
        memory: how much less each frame counts than the one after it, 0 to 1.
        count: frames that count, the present one included.
    """

    def __init__(self, memory: float, count: int) -> None:
        self._memory, self._count = memory, count
        self._seen: deque[tuple[int, Float]] = deque()  # place of a frame, its value

    def __call__(self, place: int, value: Float) -> Float:
        """The mean with the value of one more frame, at ``place`` in the output; all values are of one shape."""
        self._seen.append((place, value))
        while not place - self._count < self._seen[0][0] <= place:
            self._seen.popleft()
        weights = np.array([self._memory ** (place - one) for one, _ in self._seen], value.dtype)
        # Summed one by one: a matrix product may round otherwise where memory happens to be aligned otherwise.
        pairs = zip(weights / weights.sum(), self._seen, strict=True)
        return np.asarray(sum(weight * past for weight, (_, past) in pairs))
