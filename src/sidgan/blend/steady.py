"""Temporal smoothing of redrawn skin, against flicker.

Only the low-frequency difference between the drawn and the source face is smoothed: each frame gets the running mean of
the differences of the last frames instead of its own. The head's movement is in the source, so it is not smoothed and
nothing swims. Lips are left out, so they move as far and as fast as drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from functools import partial

import cv2
import numpy as np

from sidgan.blend.detail import resized
from sidgan.blend.mask import polygon
from sidgan.blend.running import RunningMean
from sidgan.geometry import distance_to
from sidgan.types import Byte, Float

STEADY = 0.5  #: default strength
LOOK_BACK = 10  #: frames in the mean, including the current one; older ones have no influence at all
COARSE = 64  #: px, side to which differences are reduced
PATCH = 3.0  #: standard deviation of their blur, in px of that size
NEAR, FAR = 0.05, 0.15  #: distances from the lips at which smoothing sets in and is complete, fractions of the side


class Steady:
    """Smooths the skin of several faces, each over its own frames.

    Args:
        strength: weight of each frame in the mean relative to the next one, 0 to 1; 0 turns smoothing off.
    """

    def __init__(self, strength: float = STEADY) -> None:
        self._strength = strength
        self._means: defaultdict[Hashable, RunningMean] = defaultdict(partial(RunningMean, strength, LOOK_BACK))

    def forget(self, face: Hashable) -> None:
        """Drop the past frames of a face that is out of sight."""
        self._means.pop(face, None)

    def __call__(self, face: Hashable, place: int, source: Byte, drawn: Float, mouths: Iterable[Float]) -> Float:
        """The drawn face (S, S, 3) with smoothed skin; values may slightly exceed [0, 255].

        Args:
            face: key of the face, whose past frames are used.
            place: index of the frame in the output.
            source: (S, S, 3) uint8, the source crop.
            drawn: (S, S, 3) in [0, 255].
            mouths: landmarks (12, 2) of the outer lips in unit coordinates, of the source and of the drawn face.
        """
        if self._strength == 0:
            return drawn
        skin = _skin(mouths)
        weight = cv2.GaussianBlur(skin, (0, 0), PATCH)[..., None] + 0.02  # damps the change where there is little skin
        change = resized(drawn - source, COARSE)
        change = cv2.GaussianBlur(change * skin[..., None], (0, 0), PATCH) / weight
        smoothed = self._means[face](place, change)
        return np.asarray(drawn + resized((smoothed - change) * skin[..., None], len(drawn), cv2.INTER_LINEAR))


def _skin(mouths: Iterable[Float]) -> Float:
    """(COARSE, COARSE) weight of smoothing: 0 on the lips and near them, 1 far away."""
    lips = np.logical_or.reduce([polygon(COARSE, mouth) for mouth in mouths])
    distance = distance_to(lips) / COARSE
    return np.asarray(np.clip((distance - NEAR) / (FAR - NEAR), 0, 1), np.float32)
