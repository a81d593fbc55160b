"""Convert RGB pictures to frames and back; pixels that were not redrawn stay the same, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import cast

import cv2
import numpy as np

from sidgan.errors import InputError
from sidgan.types import Byte, Frame, PixelFormat, PlaneMap

FORMAT = PixelFormat("yuv444p", 8, True, "bt601", PlaneMap())  #: the conversion that OpenCV uses
SMALLEST = 64  #: least width and height of a picture, px


def framed(picture: Byte, index: int, rate: Fraction, size: tuple[int, ...] | None) -> Frame:
    """Convert a picture (H, W, 3) to a frame.

    Its ``handle`` is a copy of the picture, since cameras reuse their memory.

    Args:
        index: its number in the stream.
        rate: pictures per second.
        size: (H, W) of the pictures before it; ``None`` for the first.

    Raises:
        InputError: not an RGB picture, too small, or of another size.
    """
    picture = np.array(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < SMALLEST:
        raise InputError(
            f"picture {index} is {picture.dtype} of shape {picture.shape}; give RGB pictures, uint8 (height, width, 3) "
            f"of {SMALLEST} px and more"
        )
    if size not in (None, picture.shape[:2]):
        raise InputError(f"picture {index} is {picture.shape[1]}x{picture.shape[0]} px, unlike those before it; "
                         "start a new stream where the size changes")  # fmt: skip
    luma, red, blue = cv2.split(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb))
    return Frame(index, index / rate, (luma, blue, red), FORMAT, picture, 1 / rate)


def editable(frame: Frame) -> Frame:
    """A copy of the frame with writable planes."""
    luma, blue, red = (plane.copy() for plane in frame.planes)
    return replace(frame, planes=(luma, blue, red))


def shown(before: Frame, after: Frame) -> Byte:
    """The RGB picture of an edited frame; it reuses the picture in ``before``, and converts only changed pixels."""
    picture = cast(Byte, before.handle)
    changed = np.logical_or.reduce([old != new for old, new in zip(before.planes, after.planes, strict=True)])
    luma, blue, red = after.planes
    rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
    if len(rows):
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        edited = cv2.cvtColor(cv2.merge([luma[part], red[part], blue[part]]), cv2.COLOR_YCrCb2RGB)
        picture[part][changed[part]] = edited[changed[part]]
    return picture
