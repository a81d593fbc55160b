"""A redrawn mouth with contours as clear as those of the filmed one.

A network that cannot know draws what lies between all that may be, and that is soft: lips lose their edges, teeth their
gaps. So fine and coarser contrast is strengthened, band by band, until there is as much of it around the drawn mouth as
around the filmed one in the last frames. A mouth that was filmed soft, or is blurred by its motion, stays soft. Skin
further away gets what it lacks from the source, see `sidgan.blend.detail`.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.blend.mask import polygon
from sidgan.blend.running import RunningMean
from sidgan.geometry import distance_to
from sidgan.types import Byte, Float

# Lengths in shares of the crop's side.
BANDS = (1 / 256, 1 / 128, 1 / 64)  #: standard deviations of the blurs between which the bands lie
RIM = 0.03  #: around a mouth, where contrast is measured; half of it is strengthened in full
FADE = 0.045  #: after that half, over which strengthening ends
REACH = RIM / 2 + FADE + 4 * BANDS[-1]  #: beyond which nothing makes a difference

MOST = 1.5  #: times its own contrast; beyond that, what is drawn wrong is seen more than what is drawn soft
MEMORY = 0.9  #: how much less each frame counts in the contrast than the one after it: mouths open and close
LOOK_BACK = 10  #: frames that count, the present one included: older ones make no difference to a bit


class Contours:
    """The contours of one mouth, frame by frame. One object follows one face; see `LOOK_BACK`."""

    def __init__(self) -> None:
        self._mean = RunningMean(MEMORY, LOOK_BACK)  # of the contrast in each band, filmed and drawn

    def __call__(self, drawn: Float, source: Byte, old: Float, new: Float, place: int) -> Float:
        """What is to be added to each channel of a drawn face, (S, S) in grey levels; 0 away from its mouth.

        Args:
            drawn: (S, S, 3) in [0, 255], in the tone in which it is to be used.
            source: (S, S, 3) uint8, the crop it was drawn for.
            old, new: (12, 2) unit landmarks of outer lips, of the source and of what was drawn.
            place: of the frame in the output.
        """
        size = len(drawn)
        filmed, made = _Mouth(source, old), _Mouth(drawn, new)
        there, here = self._mean(place, np.stack([filmed.contrast(), made.contrast()]))
        gains = np.clip(there / np.maximum(here, 1e-3), 1, MOST) - 1
        share = np.clip((RIM / 2 + FADE - made.away / size) / FADE, 0, 1)
        added = np.zeros((size, size), np.float32)
        added[made.near] = share * sum(gain * band for gain, band in zip(gains, made.bands, strict=True))
        return added


class _Mouth:
    """A mouth in a picture (S, S, 3), with what is around it.

    Attributes:
        near: rows and columns in which all lies that is asked for.
        away: (h, w) px of these from the lips.
        bands: (h, w) each, of brightness.
    """

    def __init__(self, picture: Float | Byte, lips: Float) -> None:
        size = len(picture)
        low = np.clip(size * (lips.min(0) - REACH), 0, size - 1).astype(int)
        high = np.clip(size * (lips.max(0) + REACH), low + 1, size).astype(int)
        self.near = slice(low[1], high[1]), slice(low[0], high[0])
        self.away = distance_to(polygon(size, lips)[self.near])
        self._rim = self.away <= RIM * size
        self.bands = []
        finer = cv2.cvtColor(np.asarray(picture[self.near], np.float32), cv2.COLOR_RGB2GRAY)
        for deviation in BANDS:
            coarser = cv2.GaussianBlur(finer, (0, 0), deviation * size)
            self.bands.append(finer - coarser)
            finer = coarser

    def contrast(self) -> Float:
        """The standard deviation of each band on the mouth and its rim, (3,)."""
        if not self._rim.any():
            return np.zeros(len(self.bands), np.float32)
        return np.array([np.sqrt(np.square(band[self._rim]).mean()) for band in self.bands], np.float32)
