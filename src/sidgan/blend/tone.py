"""In what tone a redrawn face is used: that of the skin around it."""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from sidgan.blend.mask import polygon
from sidgan.geometry import mask_image
from sidgan.types import Byte, Float

RING = 12 / 512  #: of the crop's side, width of the ring around the hidden box in which tones are compared
GAIN = (0.9, 1.1)  #: a channel's contrast is corrected within these limits
OFFSET = 25.0  #: and its level by at most this much, of 255
MEMORY = 0.9  #: how much less each frame counts in the correction than the one after it
LOOK_BACK = 16  #: frames of the output that the correction of one is made of, itself included


class ToneMatch:
    """Fits the redrawn face's contrast and level, channel by channel, to the source around the hidden box.

    The network sees that ring, so what differs there is its error of tone. One object follows one face: the correction
    is a causal running mean, or the mouth would flicker. Nothing older than `LOOK_BACK` frames counts, so that a video
    can be drawn in pieces: what comes before those makes no difference to a bit.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Float]] = deque()  # place of a frame; gain and offset (2, 3) of each channel

    def __call__(self, drawn: Byte, source: Byte, box: Float, old: Float, place: int | None = None) -> Float:
        """The redrawn face (S, S, 3) uint8 with corrected tone, float32 in [0, 255].

        Args:
            drawn: the network's picture.
            source: the crop it was drawn for.
            box: (4,) hidden box, unit coordinates.
            old: (68, 2) landmarks of the source face; only skin inside their hull is compared.
            place: of the frame in the output; the one after the last if not given.
        """
        place = self._seen[-1][0] + 1 if place is None and self._seen else place or 0
        ring = _ring(len(drawn), box, old)
        if ring.sum() >= 16:
            self._seen.append((place, _fit(drawn[ring], source[ring])))
        while self._seen and self._seen[0][0] <= place - LOOK_BACK:
            self._seen.popleft()
        if not self._seen:
            return drawn.astype(np.float32)
        weights = MEMORY ** np.array([place - one for one, _ in self._seen], np.float64)
        gain, offset = ((weights / weights.sum())[:, None, None] * np.stack([fit for _, fit in self._seen])).sum(0)
        levels = np.arange(256)[:, None] * gain + offset  # once for each of 256, not for each pixel
        return np.asarray(cv2.LUT(drawn, np.clip(levels, 0, 255).astype(np.float32)[None]))


def _ring(size: int, box: Float, old: Float) -> np.ndarray:
    """(S, S) bool: skin close to the hidden box."""
    width = max(1, round(RING * size))
    hidden = (mask_image(box, size) > 0).astype(np.uint8)
    around = cv2.dilate(hidden, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > hidden
    return np.asarray(around & polygon(size, old))


def _fit(drawn: Byte, source: Byte) -> Float:
    """(2, 3) gain and offset that carry pixels (n, 3) of ``drawn`` closest to ``source``, within the limits."""
    x, y = (np.ascontiguousarray(pixels.T, np.float64) for pixels in (drawn, source))  # means along rows are fast
    x_mean, y_mean = x.mean(1), y.mean(1)
    x -= x_mean[:, None]
    slope = (x * (y - y_mean[:, None])).mean(1) / ((x * x).mean(1) + 1.0)
    gain = np.clip(slope, *GAIN)
    return np.stack([gain, np.clip(y_mean - gain * x_mean, -OFFSET, OFFSET)])
