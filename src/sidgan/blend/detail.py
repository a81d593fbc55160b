"""Fine detail for redrawn skin: a small network's picture, enlarged to a large face, is softer than what is around it.

What is missing is taken from the source: the finest band of its brightness in the same place, pores, stubble and grain,
with strong edges cut off and none of it on or near a mouth. So much is added that the skin has the contrast of fine
detail that the source's has there, and never more: a face that was filmed soft stays soft.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.types import Array, Byte, Float

FINE = 1.0  #: px of the video, standard deviation of the blur that takes fine detail away
LIMIT = 3.0  #: times its usual size that detail is cut off at: beyond lie edges, which may be elsewhere in the dub
REACH = 4  #: px, beyond which that blur sees nothing
FEWEST = 64  #: px of skin that tell how much is missing
LARGEST = 1024  #: px; a face that is larger in the video gets detail of this size


def detailed(luma: Float, drawn: Float, skin: Float) -> Float:
    """A drawn face with detail of the source.

    Args:
        luma: (R, R) brightness of the source in [0, 255], at the face's size in the video.
        drawn: (R, R, 3) in [0, 255].
        skin: (R, R) in [0, 1], where detail is wanted.
    """
    where = skin > 0.5
    if where.sum() < FEWEST:
        return drawn
    near = _around(skin)
    where, skin = where[near], skin[near]
    band = fine(luma[near])
    limit = LIMIT * mean_size(band, where)
    band = np.clip(band, -limit, limit)
    ratio = mean_size(fine(brightness(drawn[near])), where) / max(mean_size(band, where), 1e-3)
    share = float(np.sqrt(max(1 - ratio * ratio, 0.0)))
    sharp = np.array(drawn, np.float32)
    sharp[near] += cv2.merge([share * band * skin] * 3)
    return np.clip(sharp, 0, 255, out=sharp)


def _around(skin: Float) -> tuple[slice, slice]:
    """Rows and columns of some skin, and of all around it that a blur of it sees: all that has to be computed."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero(skin.any(axis))
        spans.append(slice(max(0, int(found[0]) - REACH), int(found[-1]) + REACH + 1))
    return spans[0], spans[1]


def fine(grey: Float) -> Float:
    """What a small blur takes away from a picture (R, R)."""
    grey = np.asarray(grey, np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), FINE))


def mean_size(band: Float, where: Array) -> float:
    """Mean size of a band in a region (R, R) bool; edges, few and strong, count less than in a variance."""
    return float(np.abs(band[where]).mean())


def brightness(picture: Float) -> Float:
    """(R, R) of a picture (R, R, 3) in RGB."""
    return np.asarray(cv2.cvtColor(np.asarray(picture, np.float32), cv2.COLOR_RGB2GRAY))


def resized(picture: Float | Byte, size: int, enlarge: int = cv2.INTER_CUBIC) -> Float:
    """A picture (S, S) or (S, S, 3) at another size."""
    how = enlarge if size > len(picture) else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.asarray(picture, np.float32), (size, size), interpolation=how))
