"""Small pictures of every face, kept while it is followed: what covers it is found without reading the video again.

Tracks are smoothed, so where exactly a face's steady square lies is known only when its track is complete. Therefore
each picture shows some room around the face, and remembers which part of its frame it shows. A few are held in memory;
more of them go to a temporary file without a name.
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

ROOM = 1.5  #: width of a picture in sides of the face square: leaves room for what smoothing moves, and for margins
SIDES = (72, 36, 36)  #: px of its planes
FINE = SEEN  #: px of the faces that are cut out of them
HELD = 16 << 20  #: bytes held in memory: a minute and a half of one face
PART = 16  #: bytes that say which part of its frame a picture shows: int32 left, top, right, bottom px
SIZE = PART + sum(side * side for side in SIDES)


class Glimpses:
    """All small pictures of a video. Use it as a context manager."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115  closed by __exit__
        self._begins = array("q", [0])  # where in the file those of each frame begin, and where the last one's end
        self._format: PixelFormat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget them."""
        self._file.close()

    def add(self, frame: Frame, faces: Iterable[Float]) -> None:
        """Keep a picture of each face of the next frame, of its landmarks (68, 2).

        Raises:
            OutputError: there are many, and the system's folder for temporary files is full.
        """
        self._format, end = frame.format, self._begins[-1]
        height, width = frame.planes[0].shape
        for points in faces:
            centre, top, side = (float(v) for v in geometry.face_square(points))
            many = SIDES[0] * max(1, math.ceil(side * ROOM / SIDES[0]))  # px of the frame: whole px for each one kept
            x, y = (round(v - many / 2) & ~1 for v in (centre, top + side / 2))
            left, upper = max(0, min(x, width - many)), max(0, min(y, height - many))
            part = np.array([left, upper, min(left + many, width), min(upper + many, height)], np.int32)
            planes = zip(_cut(frame, part), SIDES, strict=True)
            small = [cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA) for plane, size in planes]
            with writing(Path(gettempdir())):
                self._file.write(b"".join([part.tobytes(), *(picture.tobytes() for picture in small)]))
            end += SIZE
        self._begins.append(end)

    def picture(self, index: int, unit: Float) -> Byte:
        """The face (48, 48, 3) uint8 RGB in the unit square of ``unit`` (2, 3), the affine to frame ``index``.

        It is cut out of the kept picture whose middle is nearest. One of this face must have been added.
        """
        side, left, top = float(unit[0, 0]), float(unit[0, 2]), float(unit[1, 2])
        assert self._format is not None
        first, stop = self._begins[index : index + 2]
        self._file.seek(first)
        pictures = [self._file.read(SIZE) for _ in range(first, stop, SIZE)]
        kept = [(np.frombuffer(one, np.int32, 4), one) for one in pictures]
        middle = 2 * left + side, 2 * top + side
        part, picture = min(kept, key=lambda one: float(np.abs(one[0][:2] + one[0][2:] - middle).sum()))
        pixels, planes = np.frombuffer(picture, np.uint8, offset=PART), []
        for size in SIDES:
            plane, pixels = pixels[: size * size].reshape(size, size), pixels[size * size :]
            across, down = size / (part[2:] - part[:2])
            step = np.array([  # px of the crop -> px of the kept plane, both by their centres
                [side / FINE * across, 0, (left + side / (2 * FINE) - part[0]) * across - 0.5],
                [0, side / FINE * down, (top + side / (2 * FINE) - part[1]) * down - 0.5],
            ])  # fmt: skip
            planes.append(cv2.warpAffine(plane, step, (FINE, FINE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                         borderMode=cv2.BORDER_REPLICATE))  # fmt: skip
        return geometry.ycc_to_rgb(planes, replace(self._format, bits=8))


def _cut(frame: Frame, part: Array) -> Iterator[Byte]:
    """A part of a frame's three planes, 8 bits."""
    left, top, right, bottom = part.tolist()
    chroma = frame.format.chroma
    steps = ((1, 1), (chroma.step_x, chroma.step_y), (chroma.step_x, chroma.step_y))
    for plane, (across, down) in zip(frame.planes, steps, strict=True):
        cut = plane[top // down : bottom // down, left // across : right // across]
        yield np.ascontiguousarray(cut if cut.dtype == np.uint8 else cut >> (frame.format.bits - 8), np.uint8)
