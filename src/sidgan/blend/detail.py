"""Fine detail for redrawn skin: a network's small picture, enlarged to a large face, is softer than its surroundings.

The missing detail (pores, stubble, grain) is taken from the same pixels of the source, as the finest frequency band of
its brightness. Strong edges are clipped, and nothing is added on or near a mouth. The skin gets as much contrast of
fine detail as the source has there, never more: a face that was filmed soft stays soft.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.types import Array, Byte, Float

FINE = 1.0  #: px of the video, standard deviation of the blur that removes fine detail
LIMIT = 3.0  #: detail is clipped at this multiple of its mean size: stronger are edges, which the dub may have moved
REACH = 4  #: px, radius of that blur
FEWEST = 64  #: least number of skin pixels from which the missing contrast can be estimated
LARGEST = 1024  #: px; a face that is larger in the video gets its detail at this size


def detailed(luma: Float, drawn: Float, skin: Float) -> Float:
    """A drawn face (R, R, 3) with the fine detail of the source.

    Args:
        luma: (R, R) brightness of the source in [0, 255], at the face's size in the video.
        drawn: (R, R, 3) in [0, 255].
        skin: (R, R) in [0, 1], weight of the added detail.
    """
    where = skin > 0.5
    if np.count_nonzero(where) < FEWEST:
        return drawn
    near = around(skin, REACH)
    where, skin = where[near], skin[near]
    band = fine(luma[near])
    limit = LIMIT * mean_size(band, where)
    band = np.clip(band, -limit, limit)
    ratio = mean_size(fine(brightness(drawn[near])), where) / max(mean_size(band, where), 1e-3)
    share = float(np.sqrt(max(1 - ratio * ratio, 0.0)))
    sharp = np.array(drawn, np.float32)
    sharp[near] += cv2.merge([share * band * skin] * 3)
    return np.clip(sharp, 0, 255, out=sharp)


def around(skin: Array, reach: int) -> tuple[slice, slice]:
    """Rows and columns of the skin and of the pixels within ``reach`` px of it: a blur uses only these."""
    left, top, width, height = cv2.boundingRect((skin != 0).view(np.uint8))
    return slice(max(0, top - reach), top + height + reach), slice(max(0, left - reach), left + width + reach)


def fine(grey: Float) -> Float:
    """The finest frequency band of a picture (R, R): what a small blur removes."""
    grey = np.asarray(grey, np.float32)
    return np.asarray(grey - cv2.GaussianBlur(grey, (0, 0), FINE))


def mean_size(band: Float, where: Array) -> float:
    """Mean absolute value of a band in a region (R, R) bool; few strong edges count less than in a variance."""
    return float(np.abs(band[where]).mean())


def brightness(picture: Float) -> Float:
    """Brightness (R, R) of an RGB picture (R, R, 3)."""
    return np.asarray(cv2.cvtColor(np.asarray(picture, np.float32), cv2.COLOR_RGB2GRAY))


def resized(picture: Float | Byte, size: int, enlarge: int = cv2.INTER_CUBIC) -> Float:
    """A picture (S, S) or (S, S, 3) at another size; ``enlarge`` is the interpolation used when it grows."""
    how = enlarge if size > len(picture) else cv2.INTER_AREA
    return np.asarray(cv2.resize(np.asarray(picture, np.float32), (size, size), interpolation=how))
