"""The alpha mask of a redrawn face: which of its pixels are used, and with what weight.

::

    ┌──────── crop ────────┐
    │     ╭──────────╮     │      region = hidden box ∩ hull of both jaws, the old and the new one, made wider
    │  ┌──┼── nose ──┼──┐  │      depth  = distance from the edge of the region inwards
    │  │  │   lips   │  │  │      alpha  = 0 at the edge, 1 from FEATHER inwards, and sooner where lips are near:
    │  │  ╰── chin ──╯  │  │               no part of the old mouth may show through
    └──┴────────────────┴──┘
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from sidgan.blend.border import FARTHEST, outline
from sidgan.blend.detail import around
from sidgan.geometry import OUTER_LIPS, distance_to
from sidgan.types import Float

# Lengths as fractions of the crop's side.
INSET = 0.01  #: width of the outermost rim of the region, in which alpha is 0
FEATHER = 0.08  #: width over which alpha rises from 0 to 1
LIP_RIM = 0.01  #: width of the rim around the lips that is replaced together with them


def mouth_alpha(size: int, box: Float, old: Float, new: Float, reach: Float | float = FARTHEST) -> Float:
    """The weight of each redrawn pixel.

    Args:
        size: crop side S in px.
        box: (4,) x0, y0, x1, y1 of the hidden box in unit coordinates.
        old: (68, 2) landmarks of the source face in unit coordinates.
        new: (68, 2) landmarks of the redrawn face in unit coordinates.
        reach: how far the region extends beyond the hull of both jaws, on each ray or everywhere; see `border`.

    Returns:
        (S, S) float32 in [0, 1]: 0 outside the box, hence above the nose base, and on the crop's border; 1 on both
        mouths and both chins as far as they lie inside.
    """
    window = _within(size, box)
    region = np.zeros((size, size), np.uint8)
    cv2.fillPoly(region, [_sixteenths(size, outline(old, new, reach))], 1, shift=4)
    inwards = distance_to(region[window] == 0)
    lips = polygon(size, old[OUTER_LIPS]) | polygon(size, new[OUTER_LIPS])
    depth = np.minimum(inwards, _depth_in_box(size, box)[window])
    inside = depth - INSET * size
    rise = np.minimum(FEATHER * size, np.maximum(inside, 0) + _to_rim(lips)[window])
    share = np.clip(inside / np.maximum(rise, 1e-6), 0, 1)
    alpha = np.zeros((size, size), np.float32)
    alpha[window] = share * share * (3 - 2 * share)  # smoothstep: no visible edge at either end
    alpha[window][lips[window] & (depth > 0)] = 1
    return alpha


def polygon(size: int, points: Float) -> np.ndarray:
    """(S, S) bool: the convex hull of points (K, 2) in unit coordinates."""
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(canvas, cv2.convexHull(_sixteenths(size, points)), 1, shift=4)
    return canvas > 0


def _sixteenths(size: int, points: Float) -> np.ndarray:
    """Points (K, 2) in unit coordinates -> sixteenths of a pixel of a picture of ``size`` px: OpenCV's ``shift=4``."""
    return np.asarray(np.round((np.clip(points, -1, 2) * size - 0.5) * 16).astype(np.int32))


def _within(size: int, box: Float) -> tuple[slice, slice]:
    """Rows and columns of all pixels with their centres in the box.

    An edge of the region that lies outside is further from any of these pixels than the edge of the box.
    """
    (left, top), (right, bottom) = (np.clip(size * box[part], 0, size) for part in (slice(2), slice(2, 4)))
    return slice(int(top), math.ceil(bottom)), slice(int(left), math.ceil(right))


def _to_rim(lips: np.ndarray) -> Float:
    """(S, S) px from each pixel to the rim around the lips (S, S) bool, at most the width of the feather."""
    size = len(lips)
    distance = np.full(lips.shape, FEATHER * size, np.float32)
    near = around(lips, math.ceil((FEATHER + LIP_RIM) * size))
    distance[near] = np.maximum(distance_to(lips[near]) - LIP_RIM * size, 0)
    return distance


def _depth_in_box(size: int, box: Float) -> Float:
    """(S, S) px from each pixel to the nearest edge of the box; 0 or less outside it and on the crop's border."""
    index = np.arange(size, dtype=np.float32)
    centre = (index + 0.5) / size
    border = np.minimum(index, size - 1 - index)
    across = np.minimum(np.minimum(centre - box[0], box[2] - centre) * size, border)
    down = np.minimum(np.minimum(centre - box[1], box[3] - centre) * size, border)
    return np.minimum(across[None], down[:, None])
