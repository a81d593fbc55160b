"""How the redrawn mouth meets the rest of the picture: which of its pixels are used, and in what tone.

::

    ┌──────── crop ────────┐
    │     ╭──────────╮     │      region = hidden box ∩ hull of both jaws, the old and the new one, made wider
    │  ┌──┼── nose ──┼──┐  │      depth  = distance from the edge of the region inwards
    │  │  │   lips   │  │  │      alpha  = 0 at the edge, 1 from FEATHER inwards, and sooner where lips are near:
    │  │  ╰── chin ──╯  │  │               no part of the old mouth may shine through
    └──┴────────────────┴──┘
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from sidgan.border import FARTHEST, outline
from sidgan.geometry import OUTER_LIPS, distance_to, mask_image
from sidgan.types import Byte, Float

# Lengths in shares of the crop's side.
INSET = 0.01  #: rim of the region that stays as it was
FEATHER = 0.08  #: over which alpha rises from 0 to 1
LIP_RIM = 0.01  #: around the lips, replaced together with them
RING = 12 / 512  #: width of the ring around the hidden box in which tones are compared

GAIN = (0.9, 1.1)  #: a channel's contrast is corrected within these limits
OFFSET = 25.0  #: and its level by at most this much, of 255
MEMORY = 0.9  #: how much less each frame counts in the correction than the one after it
LOOK_BACK = 16  #: frames of the output that the correction of one is made of, itself included


def mouth_alpha(size: int, box: Float, old: Float, new: Float, reach: Float | float = FARTHEST) -> Float:
    """How much of each redrawn pixel is used.

    Args:
        size: crop side S in px.
        box: (4,) x0, y0, x1, y1, hidden from the network, in unit coordinates.
        old: (68, 2) landmarks of the source face in unit coordinates.
        new: (68, 2) landmarks of the redrawn face in unit coordinates.
        reach: how far beyond the hull of both jaws the region ends, on each ray or everywhere; see `sidgan.border`.

    Returns:
        (S, S) float32 in [0, 1]: 0 outside the box, hence above the nose base, and on the crop's border; 1 on both
        mouths and both chins as far as they lie inside.
    """
    near = _around(size, box)
    region = np.zeros((size, size), np.uint8)
    cv2.fillPoly(region, [_sixteenths(size, outline(old, new, reach))], 1, shift=4)
    inwards = distance_to(region[near] == 0)
    lips = (polygon(size, old[OUTER_LIPS]) | polygon(size, new[OUTER_LIPS]))[near]
    depth = np.minimum(inwards, _depth_in_box(size, box)[near])
    soft = depth - INSET * size
    away = np.maximum(distance_to(lips) - LIP_RIM * size, 0)
    rise = np.minimum(FEATHER * size, np.maximum(soft, 0) + away)
    share = np.clip(soft / np.maximum(rise, 1e-6), 0, 1)
    alpha = np.zeros((size, size), np.float32)
    alpha[near] = share * share * (3 - 2 * share)  # no visible edge at either end
    alpha[near][lips & (depth > 0)] = 1
    return alpha


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


def polygon(size: int, points: Float) -> np.ndarray:
    """(S, S) bool: the convex hull of unit points (K, 2)."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(_sixteenths(size, points)), 1, shift=4)
    return canvas > 0


def _sixteenths(size: int, points: Float) -> np.ndarray:
    """Unit points (K, 2) in sixteenths of a px of a picture of ``size`` px, as OpenCV wants them for ``shift=4``."""
    return np.asarray(np.round((np.clip(points, -1, 2) * size - 0.5) * 16).astype(np.int32))


def _around(size: int, box: Float) -> tuple[slice, slice]:
    """Rows and columns of the box, and of all around it whose distance to a pixel of the box can matter."""
    reach = max(FARTHEST, FEATHER + LIP_RIM) * size + 2
    low = [max(0, int(v * size - reach)) for v in box[:2]]
    high = [min(size, int(v * size + reach) + 1) for v in box[2:]]
    return slice(low[1], high[1]), slice(low[0], high[0])


def _depth_in_box(size: int, box: Float) -> Float:
    """(S, S) px from each pixel inwards to the nearest edge of the box, 0 or less outside it and on the border."""
    place = np.arange(size, dtype=np.float32)
    centre = (place + 0.5) / size
    border = np.minimum(place, size - 1 - place)
    across = np.minimum(np.minimum(centre - box[0], box[2] - centre) * size, border)
    down = np.minimum(np.minimum(centre - box[1], box[3] - centre) * size, border)
    return np.minimum(across[None], down[:, None])
