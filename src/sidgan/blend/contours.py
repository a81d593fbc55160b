"""Sharpens a redrawn mouth until its contours are as sharp as those of the filmed one.

Where several pictures are possible, a network draws their average, which is soft: lips lose their edges, teeth their
gaps. So contrast is amplified in three frequency bands until it is as strong around the drawn mouth as around the
filmed one in the last frames. A mouth that was filmed soft, or is blurred by motion, stays soft. Skin further away gets
its fine detail from the source instead, see `sidgan.blend.detail`.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.blend.mask import polygon
from sidgan.blend.running import RunningMean
from sidgan.geometry import distance_to
from sidgan.types import Byte, Float

# Lengths as fractions of the crop's side.
BANDS = (1 / 256, 1 / 128, 1 / 64)  #: standard deviations of the blurs whose differences are the bands
RIM = 0.03  #: width of the rim around a mouth in which contrast is measured; its inner half is amplified in full
FADE = 0.045  #: width beyond that inner half over which the amplification fades out
REACH = RIM / 2 + FADE + 4 * BANDS[-1]  #: distance from the lips beyond which no pixel has any influence

MOST = 1.5  #: largest gain; above it, drawing errors become more visible than softness
MEMORY = 0.9  #: weight of each frame's contrast relative to the next one's; averaged, as mouths open and close
LOOK_BACK = 10  #: frames in the mean, including the current one; older ones have no influence at all


class Contours:
    """The contours of one mouth, frame by frame: one object for each face. They depend on `LOOK_BACK` frames."""

    def __init__(self) -> None:
        self._mean = RunningMean(MEMORY, LOOK_BACK)  # of the contrast in each band, filmed and drawn

    def __call__(self, drawn: Float, source: Byte, old: Float, new: Float, place: int) -> Float:
        """The sharpening to be added to each channel of a drawn face, (S, S) in grey levels; 0 away from its mouth.

        Args:
            drawn: (S, S, 3) in [0, 255], the drawn face after `ToneMatch`.
            source: (S, S, 3) uint8, the source crop.
            old, new: (12, 2) landmarks of the outer lips of the source and of the drawn face, in unit coordinates.
            place: index of the frame in the output.
        """
        size = len(drawn)
        old_mouth, new_mouth = _Mouth(source, old), _Mouth(drawn, new)
        wanted, present = self._mean(place, np.stack([old_mouth.contrast(), new_mouth.contrast()]))
        gains = np.clip(wanted / np.maximum(present, 1e-3), 1, MOST) - 1
        weight = np.clip((RIM / 2 + FADE - new_mouth.distance / size) / FADE, 0, 1)
        added = np.zeros((size, size), np.float32)
        added[new_mouth.window] = weight * sum(gain * band for gain, band in zip(gains, new_mouth.bands, strict=True))
        return added


class _Mouth:
    """A mouth in a picture (S, S, 3), with its surroundings.

    Attributes:
        window: rows and columns of the mouth and all pixels within `REACH` of it.
        distance: (h, w) px from each pixel of the window to the lips.
        bands: frequency bands of brightness in the window, (h, w) each, the finest first.
    """

    def __init__(self, picture: Float | Byte, lips: Float) -> None:
        size = len(picture)
        low = np.clip(size * (lips.min(0) - REACH), 0, size - 1).astype(int)
        high = np.clip(size * (lips.max(0) + REACH), low + 1, size).astype(int)
        self.window = slice(low[1], high[1]), slice(low[0], high[0])
        self.distance = distance_to(polygon(size, lips)[self.window])
        self._rim = self.distance <= RIM * size
        self.bands = []
        finer = cv2.cvtColor(np.asarray(picture[self.window], np.float32), cv2.COLOR_RGB2GRAY)
        for deviation in BANDS:
            coarser = cv2.GaussianBlur(finer, (0, 0), deviation * size)
            self.bands.append(finer - coarser)
            finer = coarser

    def contrast(self) -> Float:
        """The RMS of each band on the mouth and its rim, (3,)."""
        if not self._rim.any():
            return np.zeros(len(self.bands), np.float32)
        return np.array([np.sqrt(np.square(band[self._rim]).mean()) for band in self.bands], np.float32)
