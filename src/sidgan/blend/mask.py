"""Which pixels of a redrawn face are used, and how much of each.

::

    ┌──────── crop ────────┐
    │     ╭──────────╮     │      region = hidden box ∩ hull of both jaws, the old and the new one, made wider
    │  ┌──┼── nose ──┼──┐  │      depth  = distance from the edge of the region inwards
    │  │  │   lips   │  │  │      alpha  = 0 at the edge, 1 from FEATHER inwards, and sooner where lips are near:
    │  │  ╰── chin ──╯  │  │               no part of the old mouth may shine through
    └──┴────────────────┴──┘
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.blend.border import FARTHEST, outline
from sidgan.geometry import OUTER_LIPS, distance_to
from sidgan.types import Float

# Lengths in shares of the crop's side.
INSET = 0.01  #: rim of the region that stays as it was
FEATHER = 0.08  #: over which alpha rises from 0 to 1
LIP_RIM = 0.01  #: around the lips, replaced together with them


def mouth_alpha(size: int, box: Float, old: Float, new: Float, reach: Float | float = FARTHEST) -> Float:
    """How much of each redrawn pixel is used.

    Args:
        size: crop side S in px.
        box: (4,) x0, y0, x1, y1, hidden from the network, in unit coordinates.
        old: (68, 2) landmarks of the source face in unit coordinates.
        new: (68, 2) landmarks of the redrawn face in unit coordinates.
        reach: how far beyond the hull of both jaws the region ends, on each ray or everywhere; see `border`.

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
