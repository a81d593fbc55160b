"""Captions and banners in front of a face: what stays in its place of the frame while the face moves.

They are part of the picture, so a redrawn mouth would wipe them out, and references with letters would be copied. The
occlusion network (`covering`) knows hands and things, not letters. But no edge on a face stays in the same pixels while
the face moves under it, and letters appear and vanish all at once::

    frame       0   1   2   3   4   5   6   7
    face        .......moves by several px......
    letters         A───────────────B────────────    edges that begin and end together, while those of
    eyes, nose  ─.──.───.──.───.──.──.──.───.──.─    eyes and nose do not last
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from sidgan.dubbing.analysis.covering import CELLS
from sidgan.geometry import JAW, LEFT_EYE_CORNER, NOSE_BASE, RIGHT_EYE_CORNER, STEADY, luma8, to_unit
from sidgan.types import Array, Byte, FaceTrack, Float, Frame

LINES = 360  #: least lines of the reduced frames in which edges are followed
EDGE = 40  #: levels across two pixels, horizontally plus vertically, from which there is an edge
CHANGED, NOISE = 0.25, 6  #: an edge has changed if it did by this share of itself and so many levels
LASTING = 6  #: least frames in which captions stay, and pictures differ: many videos show each picture several times
STIRRED = 0.002  #: share of a picture's pixels whose edges have changed, from which it differs from the one before
MOVED = 0.02  #: in sides of the face square: how far a face must move meanwhile, and
LEAST = 3.0  #: px of the reduced frame
MANY, ON_FACE = 0.01, 0.0003  #: least edge pixels of a caption beside and on the face, relative to the square's area
OWN = 0.3  #: share of the edges of eyes and nose that may last as long: where more do, the face did not move
NEAR = 75  #: frames from a sure caption, in the same lines, within which one is believed although the face hardly moves
OTHERS = 20  #: captions before and after one that are asked for that
FADING = 3  #: frames before and after it in which it may appear and vanish little by little
REMEMBERED = 500  #: last frames of a face that are looked at
MOMENTS = 5  #: frames at which it is looked whether these edges are on the face
INNER = 0.95  #: share of the jaw's outline in which edges are surely on the face, not of a collar or of what is behind
BELOW = 0.5  #: share of a face's height below the chin in which edges of captions are looked for
BETWEEN = 9  #: cells between letters or words that count as covered
SPACE = 0.4  #: in sides of the face square: widest space between the letters or words of a line
LINE = 0.0015  #: least edge pixels of such a line, relative to the square's area
ABOVE = np.array((0.0, 0.5))  #: cells, across and down, between what is kept and the letters below it, at least
SIDE = 2.2  #: side of a face square in distances of the eye corners


@dataclass(frozen=True, eq=False)
class Caption:
    """Edges that lasted from frame ``first`` to ``last``, at ``points`` (K, 2) px of the frame.

    It is ``sure`` if the face moved meanwhile, and ``likely`` if only letters can have appeared on it like this. If it
    is neither, it may be something beside the face.
    """

    first: int
    last: int
    points: Float
    sure: bool
    likely: bool

    def confirms(self, other: Caption) -> bool:
        """Whether this one lies in the same lines as another one, not long before or after it, and is no mere guess."""
        if other is self or not (self.sure or self.likely):
            return False
        (top, bottom), (upper, lower) = ((one.points[:, 1].min(), one.points[:, 1].max()) for one in (self, other))
        near = self.first - NEAR <= other.last and other.first <= self.last + NEAR
        return bool(near and upper <= bottom and top <= lower)


@dataclass(eq=False)
class _Face:
    """A face in the frames from ``begun`` to ``last``: its landmarks (68, 2), px of the reduced frame, of late."""

    begun: int
    last: int = -1
    points: deque[Float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def at(self, index: int) -> Float:
        return self.points[index - self.last - 1]

    def remembered(self, index: int) -> int:
        """Frame ``index``, or the first one later of which there are landmarks."""
        return max(index, self.last + 1 - len(self.points))

    def moved(self, first: int) -> float:
        """How far it has moved since frame ``first`` at most, px."""
        centres = np.stack([self.at(index)[list(STEADY)].mean(0) for index in range(first, self.last + 1)])
        return float(np.linalg.norm(centres - centres[0], axis=1).max())


class Captions:
    """Finds captions in front of faces, frame by frame; then `covers` says what they cover."""

    def __init__(self) -> None:
        self._step = 0  # px of the frame for each of the reduced one; 0 until there is a frame
        self._faces: dict[int, _Face] = {}
        self._found: list[Caption] = []
        self._stirred: list[int] = []  # frames that differ from the one before
        # Of each pixel: the edge across and down there, how strong it is, and the frame since which it is there.
        self._across: Array = np.zeros((0, 0), np.int16)
        self._down = self._strength = self._since = self._across

    def add(self, frame: Frame, faces: Mapping[int, Float]) -> None:
        """Look at the next frame; ``faces`` are the landmarks (68, 2) px of each face in it, by number."""
        if faces or self._faces:
            self._follow(frame)
        for number in [number for number in self._faces if number not in faces]:
            self._end(self._faces.pop(number), frame.index, np.ones_like(self._since, bool))
        for number, points in faces.items():
            face = self._faces.setdefault(number, _Face(frame.index))
            face.points.append((points + 0.5) / self._step - 0.5)
            face.last = frame.index

    def finish(self, count: int) -> None:
        """The video is over after ``count`` frames."""
        for face in self._faces.values():
            self._end(face, count, np.ones_like(self._since, bool))
        self._faces.clear()
        found = self._found
        self._found = [one for i, one in enumerate(found) if one.sure
                       or any(other.confirms(one) for other in found[max(0, i - OTHERS) : i + OTHERS + 1])]  # fmt: skip

    def covers(self, track: FaceTrack) -> Byte:
        """(N, 24, 24) uint8: 255 in the cells of a face that are to stay as filmed in each of N frames, else 0.

        They are those with captions in them and beside them, and all below: chins do not show under captions.
        """
        cover = np.zeros((len(track), CELLS, CELLS), np.uint8)
        for one in self._found:
            for index in range(max(one.first - FADING, track.first), min(one.last + FADING + 1, track.frames.stop)):
                row = index - track.first
                places = to_unit(track.matrices[row][None], one.points[None])[0] * CELLS
                cells = np.floor(np.concatenate([places, places - ABOVE])).astype(int)
                x, y = cells[((cells >= 0) & (cells < CELLS)).all(1)].T
                cover[row, y, x] = 255
        for row in np.flatnonzero(cover.any((1, 2))).tolist():
            lines = cv2.morphologyEx(cover[row], cv2.MORPH_CLOSE, np.ones((1, BETWEEN), np.uint8))
            cover[row] = np.maximum.accumulate(cv2.dilate(lines, np.ones((1, 3), np.uint8)), 0)
        return cover

    def _follow(self, frame: Frame) -> None:
        """Note which edges are still there in a frame."""
        luma = self._reduced(luma8(frame))
        across, down = (np.asarray(cv2.Sobel(luma, cv2.CV_16S, *order, ksize=1)) for order in ((1, 0), (0, 1)))
        strength = np.abs(across) + np.abs(down)
        if not self._faces:
            self._across, self._down, self._strength = across, down, strength
            self._since = np.full(luma.shape, frame.index, np.int32)
        else:
            change = cv2.add(cv2.absdiff(across, self._across), cv2.absdiff(down, self._down))
            gone = np.asarray(cv2.addWeighted(self._strength, CHANGED, change, -1, NOISE)) < 0
            if np.count_nonzero(gone) >= STIRRED * gone.size:
                self._stirred.append(frame.index)
            for face in self._faces.values():
                self._end(face, frame.index, gone)
            now = np.full_like(self._since, frame.index)  # copied as the others: numpy sets single pixels slowly
            kept = self._across, self._down, self._strength, self._since
            for old, new in zip(kept, (across, down, strength, now), strict=True):
                cv2.copyTo(new, gone.view(np.uint8), old)

    def _pictures(self, first: int, stop: int) -> int:
        """How many different pictures the frames from ``first`` to ``stop - 1`` show."""
        return 1 + bisect_left(self._stirred, stop) - bisect_right(self._stirred, first)

    def _reduced(self, luma: Byte) -> Byte:
        step = self._step = self._step or max(1, min(luma.shape) // LINES)
        height, width = luma.shape[0] // step, luma.shape[1] // step
        part = luma[: height * step, : width * step]
        return part if step == 1 else np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA))

    def _end(self, face: _Face, index: int, gone: Array) -> None:
        """Keep what may be captions on a face among the edges that are ``gone`` in frame ``index``."""
        points = face.points[-1]
        side = SIDE * float(np.linalg.norm(points[LEFT_EYE_CORNER] - points[RIGHT_EYE_CORNER]))
        (left, top), (right, bottom) = points.min(0), points.max(0)
        part = _part(left, points[NOSE_BASE, 1], right, bottom + BELOW * (bottom - top))
        since = self._since[part]
        ended = gone[part] & (self._strength[part] >= EDGE) & (since <= index - LASTING)
        if np.count_nonzero(ended) < MANY * side * side:
            return  # as nearly always
        own = _part(left, top, right, points[NOSE_BASE, 1])
        eyes = self._since[own][self._strength[own] >= EDGE / 2]
        starts, counts = np.unique(since[ended], return_counts=True)
        for start in starts[counts >= MANY * side * side].tolist():
            first, here = max(start, face.begun), _lines(ended & (since == start), side)
            seen, few = face.remembered(first), OWN * eyes.size
            if self._pictures(first, index) < LASTING or np.count_nonzero(here) < MANY * side * side:
                continue
            touches = _on_face(face, seen, part, here) >= ON_FACE * side * side
            sure = touches and face.moved(seen) >= max(LEAST, MOVED * side) and bool((eyes <= seen).sum() <= few)
            alone = start > face.begun and bool((np.abs(eyes - start) <= 1).sum() <= few)
            if sure or alone or (touches and start <= face.begun):
                y, x = np.nonzero(here)
                at = (np.stack([x + part[1].start, y + part[0].start], 1) + 0.5) * self._step - 0.5
                self._found.append(Caption(first, index - 1, at.astype(np.float32), sure, touches and alone))


def _on_face(face: _Face, first: int, part: tuple[slice, slice], edges: Array) -> int:
    """How many edge pixels in a part of the frame are on the face at some time from frame ``first`` on.

    As they last, they cannot be behind it.
    """
    hulls = np.zeros(edges.shape, np.uint8)
    for index in np.linspace(first, face.last, MOMENTS).round().astype(int).tolist():
        jaw = face.at(index)[JAW]
        middle = jaw.mean(0)
        inner = middle + INNER * (jaw - middle) - (part[1].start, part[0].start)
        cv2.fillConvexPoly(hulls, cv2.convexHull(np.round(inner).astype(np.int32)), 1)
    return int(np.count_nonzero(edges & (hulls > 0)))


def _part(left: float, top: float, right: float, bottom: float) -> tuple[slice, slice]:
    """Rows and columns of a rectangle, as far as they are not above or left of the frame."""
    x0, y0, x1, y1 = (max(0, round(float(v))) for v in (left, top, right, bottom))
    return slice(y0, y1), slice(x0, x1)


def _lines(edges: Array, side: float) -> Array:
    """The edges that form lines of letters, without those that happen to last as long; ``side`` of a face, px."""
    joined = cv2.dilate(edges.astype(np.uint8), np.ones((1, round(SPACE * side)), np.uint8))
    _, lines = cv2.connectedComponents(joined)
    counts = np.bincount(lines[edges], minlength=lines.max() + 1)
    return np.asarray(edges & (counts >= LINE * side * side)[lines])
