"""The reference pictures of a face, which show the network what the person looks like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from sidgan import geometry
from sidgan.people.likeness import Likeness
from sidgan.people.opening import uncovered
from sidgan.people.tracked import TrackedFace
from sidgan.people.views import OPEN, View
from sidgan.types import Byte, Float, Frame

KEPT = 16  #: lent pictures that are kept, as several tracks may borrow the same
Best = tuple[float, Byte, Float]  #: sharpness, picture (S, S, 3), landmarks (68, 2) of the sharpest candidate so far


class References:
    """Selects the reference pictures of tracked faces. It reads the video itself, ahead of drawing, as far as needed.

    Lent references may be from far ahead, or from before. They are read when needed, and apart from the others,
    or all pictures of all faces in between would have to be read and kept.

    Args:
        read: called with frames that may be needed, in order; returns at least these, in order.
        people: the faces; those that can nowhere be redrawn get no pictures.
        size: side of the pictures in px.
        count: number of pictures of each view of a face, 1 to 3.
    """

    def __init__(
        self, read: Callable[[list[int]], Iterable[Frame]], people: Iterable[TrackedFace], size: int, count: int = 1
    ) -> None:
        self._read, self._size, self._count = read, size, count
        self._best: dict[View, dict[int, Best]] = defaultdict(dict)  # by reference
        self._lent: dict[tuple[object, ...], Best] = {}  # by the lender and the frames to choose from
        self._wanted: dict[int, list[tuple[TrackedFace, View, int]]] = defaultdict(list)
        missing = [(person, view) for person in people for view in person.views if view.likeness is None]
        for person, view in missing:
            for which, (face, frames) in enumerate(person.sources(view, count)):
                for index in frames if face is person else ():
                    self._wanted[index].append((person, view, which))
        self._ends = {view: person.track.frames[-1] for person, view in missing}
        self._frames: Iterator[Frame] = iter(read(sorted(self._wanted)))
        self._at = -1  # the last frame that was read

    def likeness(self, person: TrackedFace, view: View) -> Likeness:
        """The sharpest candidate for each reference of a view; kept in ``view``. They may be asked for in any order."""
        if view.likeness is not None:
            return view.likeness
        sources = person.sources(view, self._count)
        last = max(max(frames) for face, frames in sources if face is person)
        while self._at < last:
            frame = next(self._frames)
            self._at = frame.index
            for seen, side, which in self._wanted.pop(frame.index, []):
                best = self._best[side]
                best[which] = self._better(best.get(which), seen, frame)
        own = self._best.pop(view)
        found = [own[which] if face is person else self._borrowed(face, frames)
                 for which, (face, frames) in enumerate(sources)]  # fmt: skip
        _, pictures, points = zip(*found, strict=True)
        view.likeness = Likeness.of(pictures, np.stack(points), person.mute() and (view, OPEN) not in person.lent)
        return view.likeness

    def forget(self, before: int) -> None:
        """Free what was read of views that nobody asks for any more: of tracks that end before this frame."""
        for view in [view for view in self._best if self._ends[view] < before]:
            del self._best[view]

    def _borrowed(self, lender: TrackedFace, frames: list[int]) -> Best:
        """The sharpest of these frames of another track; the last few are kept."""
        key = lender, *frames
        if key not in self._lent:
            best: Best | None = None
            for frame in self._read(sorted(frames)):
                if frame.index in frames:
                    best = self._better(best, lender, frame)
            assert best is not None
            if len(self._lent) == KEPT:
                del self._lent[next(iter(self._lent))]
            self._lent[key] = best
        return self._lent[key]

    def _better(self, best: Best | None, face: TrackedFace, frame: Frame) -> Best:
        """The sharper one of the best picture so far and that of a face in a frame."""
        row = face.row(frame.index)
        image = geometry.crop_face(frame, face.track.matrices[row], self._size).image
        sharp = sharpness(image)
        if best is not None and sharp <= best[0]:
            return best
        return sharp, uncovered(image, face.covers[row]) if row in face.covers else image, face.points[row]


def sharpness(image: Byte) -> float:
    """Variance of the Laplacian of a (S, S, 3) uint8 picture."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
