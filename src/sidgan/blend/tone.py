"""Colour correction: matches the tone of a redrawn face to the skin around it."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from sidgan.blend.mask import polygon
from sidgan.geometry import mask_image
from sidgan.types import Byte, Float

RING = 12 / 512  #: width of the ring around the hidden box in which tones are compared, a fraction of the crop's side
GAIN = (0.9, 1.1)  #: limits of a channel's gain
OFFSET = 25.0  #: largest offset of a channel up or down, of 255 levels
MEMORY = 0.9  #: weight of each frame's correction relative to the next one's
LOOK_BACK = 16  #: frames in the mean, including the current one; older ones have no influence at all


class ToneMatch:
    """Fits gain and offset of each channel of the redrawn face to a ring of source pixels around the hidden box.

    The network sees that ring, so any difference there is its error of tone. One object for each face: the correction
    is a causal running mean, or the mouth would flicker. It depends on `LOOK_BACK` frames, so that a video can be drawn
    in segments.
    """

    def __init__(self) -> None:
        self._fits: deque[tuple[int, Float]] = deque()  # index of a frame; gain and offset (2, 3) of each channel

    def __call__(self, drawn: Byte, source: Byte, box: Float, old: Float, place: int) -> Float:
        """The redrawn face with corrected tone, (S, S, 3) float32 in [0, 255].

        Args:
            drawn: (S, S, 3) uint8, the network's picture.
            source: (S, S, 3) uint8, the source crop.
            box: (4,) hidden box in unit coordinates.
            old: (68, 2) landmarks of the source face; only skin inside their hull is compared.
            place: index of the frame in the output.
        """
        ring = _ring(len(drawn), box, old)
        if len(ring) >= 16:
            self._fits.append((place, _fit(drawn.reshape(-1, 3)[ring], source.reshape(-1, 3)[ring])))
        while self._fits and self._fits[0][0] <= place - LOOK_BACK:
            self._fits.popleft()
        if not self._fits:
            return drawn.astype(np.float32)
        weights = MEMORY ** np.array([place - one for one, _ in self._fits], np.float64)
        gain, offset = ((weights / weights.sum())[:, None, None] * np.stack([fit for _, fit in self._fits])).sum(0)
        levels = np.arange(256)[:, None] * gain + offset  # a table of 256 values instead of arithmetic on each pixel
        return np.asarray(cv2.LUT(drawn, np.clip(levels, 0, 255).astype(np.float32)[None]))


def _ring(size: int, box: Float, old: Float) -> np.ndarray:
    """(n,) the pixels of the ring of skin around the hidden box, as indices into a picture (S * S, 3)."""
    width = max(1, round(RING * size))
    hidden = (mask_image(box, size) > 0).astype(np.uint8)
    around = cv2.dilate(hidden, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > hidden
    return np.flatnonzero(around & polygon(size, old))


def _fit(drawn: Byte, source: Byte) -> Float:
    """(2, 3) gain and offset that map pixels (n, 3) of ``drawn`` to ``source``: a least squares fit, within limits."""
    x, y = (np.ascontiguousarray(pixels.T, np.float64) for pixels in (drawn, source))  # means along rows are faster
    x_mean, y_mean = x.mean(1), y.mean(1)
    x -= x_mean[:, None]
    slope = (x * (y - y_mean[:, None])).mean(1) / ((x * x).mean(1) + 1.0)
    gain = np.clip(slope, *GAIN)
    return np.stack([gain, np.clip(y_mean - gain * x_mean, -OFFSET, OFFSET)])
