"""Small crops of every tracked face, stored during the first pass, so that the video need not be read again.

Tracks are smoothed afterwards, so the final square of a face is known only when its track is complete. Therefore each
crop has a margin around the face and stores which part of the frame it shows. The crops are held in memory up to a
limit, then in an anonymous temporary file.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import SpooledTemporaryFile, gettempdir
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from sidgan import geometry
from sidgan.files import writing
from sidgan.nn.occlusion import SIDE as SEEN
from sidgan.types import Array, Byte, Float, Frame, PixelFormat

ROOM = 1.5  #: width of a crop in sides of the face square: a margin for smoothing and interpolation
SIDES = (72, 36, 36)  #: sides of its planes (Y, Cb, Cr), px
FINE = SEEN  #: side of the faces that `Glimpses.picture` returns, px
HELD = 16 << 20  #: bytes held in memory, enough for 1.5 minutes of one face
PART = 16  #: bytes of a crop's header: its left, top, right and bottom in the frame, int32 px
SIZE = PART + sum(side * side for side in SIDES)  #: bytes of a crop


class Glimpses:
    """The small crops of a video. Use it as a context manager."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115  closed by __exit__
        self._offsets = array("q", [0])  # file offset of each frame's crops, and the end
        self._format: PixelFormat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the crops."""
        self._file.close()

    def add(self, frame: Frame, faces: Iterable[Float]) -> None:
        """Store a crop of each face of the next frame, given by its landmarks (68, 2) in px.

        Raises:
            OutputError: the system's folder for temporary files is full.
        """
        self._format, end = frame.format, self._offsets[-1]
        height, width = frame.planes[0].shape
        for points in faces:
            centre, top, side = (float(v) for v in geometry.face_square(points))
            room = SIDES[0] * max(1, math.ceil(side * ROOM / SIDES[0]))  # px of the frame, a multiple of SIDES[0]
            x, y = (round(v - room / 2) & ~1 for v in (centre, top + side / 2))
            left, upper = max(0, min(x, width - room)), max(0, min(y, height - room))
            part = np.array([left, upper, min(left + room, width), min(upper + room, height)], np.int32)
            planes = zip(_cut(frame, part), SIDES, strict=True)
            small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane, size in planes]
            with writing(Path(gettempdir())):
                self._file.write(b"".join([part.tobytes(), *(picture.tobytes() for picture in small)]))
            end += SIZE
        self._offsets.append(end)

    def picture(self, index: int, unit: Float) -> Byte:
        """A face (48, 48, 3) uint8 RGB of frame ``index``; ``unit`` (2, 3) maps the unit square to px of the frame.

        It is cut out of the stored crop whose centre is nearest; a crop of this face must have been added.
        """
        side, left, top = float(unit[0, 0]), float(unit[0, 2]), float(unit[1, 2])
        assert self._format is not None
        first, stop = self._offsets[index : index + 2]
        self._file.seek(first)
        crops = [self._file.read(SIZE) for _ in range(first, stop, SIZE)]
        parts = [(np.frombuffer(crop, np.int32, 4), crop) for crop in crops]
        middle = 2 * left + side, 2 * top + side  # twice the centre, as left + right and top + bottom below are
        part, crop = min(parts, key=lambda one: float(np.abs(one[0][:2] + one[0][2:] - middle).sum()))
        pixels, planes = np.frombuffer(crop, np.uint8, offset=PART), []
        for size in SIDES:
            plane, pixels = pixels[: size * size].reshape(size, size), pixels[size * size :]
            across, down = size / (part[2:] - part[:2])
            step = np.array([  # px of the result -> px of the stored plane, both at pixel centres
                [side / FINE * across, 0, (left + side / (2 * FINE) - part[0]) * across - 0.5],
                [0, side / FINE * down, (top + side / (2 * FINE) - part[1]) * down - 0.5],
            ])  # fmt: skip
            planes.append(cv2.warpAffine(plane, step, (FINE, FINE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                         borderMode=cv2.BORDER_REPLICATE))  # fmt: skip
        return geometry.ycc_to_rgb(planes, replace(self._format, bits=8))


def _cut(frame: Frame, part: Array) -> Iterator[Byte]:
    """A part (left, top, right, bottom px) of each plane of a frame, reduced to 8 bits."""
    left, top, right, bottom = part.tolist()
    chroma = frame.format.chroma
    steps = ((1, 1), (chroma.step_x, chroma.step_y), (chroma.step_x, chroma.step_y))
    for plane, (across, down) in zip(frame.planes, steps, strict=True):
        cut = plane[top // down : bottom // down, left // across : right // across]
        yield np.ascontiguousarray(cut if cut.dtype == np.uint8 else cut >> (frame.format.bits - 8), np.uint8)
