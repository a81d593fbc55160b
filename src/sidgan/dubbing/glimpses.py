"""Small pictures of every face, kept while it is followed: to see what covers it needs no second look at the video.

Where exactly a face's steady square lies is known only when its track is complete, since tracks are smoothed. So each
picture shows some room around the face, and remembers which part of its frame it is. All of them together are held in
memory as far as they are few, and else in a file without a name.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import NamedTuple, Self

import cv2
import numpy as np

from sidgan import geometry
from sidgan.dubbing.trust import GRID, surface
from sidgan.types import Byte, Float, Frame, PixelFormat

ROOM = 1.5  #: sides of the face square that a picture shows: for movement that smoothing takes out, and for margins
SIDES = (72, 36, 36)  #: px of its planes
FINE = 4 * GRID  #: px of the crops that surfaces are taken of
HELD = 64 << 20  #: bytes that are held in memory: six minutes of one face
SIZE = sum(side * side for side in SIDES)


class _Glimpse(NamedTuple):
    """Which part of its frame a picture shows, px from left, top, right, bottom, and where it is kept."""

    part: tuple[int, int, int, int]
    place: int


class Glimpses:
    """All small pictures of a video. Use it as a context manager."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=HELD)  # noqa: SIM115  closed by __exit__
        self._kept: dict[int, list[_Glimpse]] = defaultdict(list)
        self._format: PixelFormat | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Forget them."""
        self._file.close()

    def add(self, frame: Frame, faces: Iterable[Float]) -> None:
        """Keep a picture of each face of a frame, of its landmarks (68, 2)."""
        self._format = frame.format
        height, width = frame.planes[0].shape
        for points in faces:
            centre, top, side = (float(v) for v in geometry.face_square(points))
            many = SIDES[0] * max(1, math.ceil(side * ROOM / SIDES[0]))  # px of the frame: whole px for each one kept
            x, y = (round(v - many / 2) & ~1 for v in (centre, top + side / 2))
            left, upper = max(0, min(x, width - many)), max(0, min(y, height - many))
            part = left, upper, min(left + many, width), min(upper + many, height)
            self._kept[frame.index].append(_Glimpse(part, self._file.tell()))
            for plane, size in zip(_cut(frame, part), SIDES, strict=True):
                self._file.write(cv2.resize(plane, (size, size), interpolation=cv2.INTER_AREA).tobytes())

    def surface(self, index: int, unit: Float) -> Byte:
        """What the face in the unit square of ``unit`` (2, 3) looks like in frame ``index``; see `trust.surface`."""
        side, left, top = float(unit[0, 0]), float(unit[0, 2]), float(unit[1, 2])
        assert self._format is not None

        def away(kept: _Glimpse) -> float:
            x0, y0, x1, y1 = kept.part
            return abs(x0 + x1 - 2 * left - side) + abs(y0 + y1 - 2 * top - side)

        part, place = min(self._kept[index], key=away)
        self._file.seek(place)
        pixels, planes = np.frombuffer(self._file.read(SIZE), np.uint8), []
        for size in SIDES:
            plane, pixels = pixels[: size * size].reshape(size, size), pixels[size * size :]
            across, down = size / (part[2] - part[0]), size / (part[3] - part[1])
            step = np.array([  # px of the crop -> px of the kept plane, both by their centres
                [side / FINE * across, 0, (left + side / (2 * FINE) - part[0]) * across - 0.5],
                [0, side / FINE * down, (top + side / (2 * FINE) - part[1]) * down - 0.5],
            ])  # fmt: skip
            planes.append(cv2.warpAffine(plane, step, (FINE, FINE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                         borderMode=cv2.BORDER_REPLICATE))  # fmt: skip
        return surface(geometry.ycc_to_rgb(planes, replace(self._format, bits=8)))


def _cut(frame: Frame, part: tuple[int, int, int, int]) -> Iterable[Byte]:
    """A part of a frame's three planes, 8 bits."""
    left, top, right, bottom = part
    for plane, across, down in zip(frame.planes, *_steps(frame.format), strict=True):
        cut = plane[top // down : bottom // down, left // across : right // across]
        yield np.ascontiguousarray(cut if cut.dtype == np.uint8 else cut >> (frame.format.bits - 8), np.uint8)


def _steps(fmt: PixelFormat) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Luma px for each sample of the three planes, across and down."""
    chroma = fmt.chroma
    return (1, chroma.step_x, chroma.step_x), (1, chroma.step_y, chroma.step_y)
