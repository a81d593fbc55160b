"""Calm for redrawn skin: what the dub changes about its tones may change only slowly.

The difference between what is drawn and what was there is taken in coarse patches, without mouths, and each frame gets
the running mean of its own and the last frames' differences instead of its own. The head's movement is in the source,
so it is not smoothed and nothing swims; lips are not touched, so they move as far and as fast as before.
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

STEADY = 0.5  #: how steady, unless told otherwise
LOOK_BACK = 10  #: frames that count, the present one included: older ones make no difference to a bit
COARSE = 64  #: px of the side of a face on which differences are held
PATCH = 3.0  #: px of these, standard deviation of the blur
NEAR, FAR = 0.05, 0.15  #: of the side, distances from the lips at which smoothing sets in and is complete


class Steady:
    """Smooths faces, each with a memory of its own.

    Args:
        strength: 0 to 1, how much each frame counts in the mean relative to the one after it; 0 leaves all as drawn.
    """

    def __init__(self, strength: float = STEADY) -> None:
        self._strength = strength
        self._seen: defaultdict[Hashable, RunningMean] = defaultdict(partial(RunningMean, strength, LOOK_BACK))

    def forget(self, face: Hashable) -> None:
        """Free what is held of a face that is out of sight."""
        self._seen.pop(face, None)

    def __call__(self, face: Hashable, place: int, source: Byte, drawn: Float, mouths: Iterable[Float]) -> Float:
        """The drawn face (S, S, 3) in [0, 255] with steady skin.

        Args:
            face: whose memory; any key.
            place: of the frame in the output.
            source: (S, S, 3) uint8, the face as it was.
            drawn: (S, S, 3) in [0, 255].
            mouths: landmarks (12, 2) of outer lips in unit coordinates, before and after.
        """
        if self._strength == 0:
            return drawn
        skin = _skin(mouths)
        share = cv2.GaussianBlur(skin, (0, 0), PATCH)[..., None] + 0.02  # the less skin, the less is known of it
        change = resized(drawn - source, COARSE)
        change = cv2.GaussianBlur(change * skin[..., None], (0, 0), PATCH) / share
        calm = self._seen[face](place, change)
        return np.asarray(drawn + resized((calm - change) * skin[..., None], len(drawn), cv2.INTER_LINEAR))


def _skin(mouths: Iterable[Float]) -> Float:
    """(COARSE, COARSE): 0 on the lips and near them, 1 far away."""
    lips = np.logical_or.reduce([polygon(COARSE, mouth) for mouth in mouths])
    away = distance_to(lips) / COARSE
    return np.asarray(np.clip((away - NEAR) / (FAR - NEAR), 0, 1), np.float32)
