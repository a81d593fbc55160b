"""The reference pictures of a face, which show the network what the person looks like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from sidgan import geometry
from sidgan.blend.focus import clarity
from sidgan.blend.light import levelled
from sidgan.people.opening import completed
from sidgan.people.tracked import TrackedFace
from sidgan.people.views import OPEN, View
from sidgan.types import Byte, Float, Frame

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
        self._lent: dict[tuple[View, int], Best] = {}  # by the lender's view and the reference
        self._wanted: dict[int, list[tuple[TrackedFace, View, int]]] = defaultdict(list)
        missing = [(person, view) for person in people for view in person.views if view.pictures is None]
        for person, view in missing:
            for which, group in enumerate(person.candidates(view, count)):
                for index in () if (view, which) in person.lent else group:
                    self._wanted[index].append((person, view, which))
        self._frames: Iterator[Frame] = iter(read(sorted(self._wanted)))

    def pictures(self, person: TrackedFace, view: View) -> Byte:
        """The sharpest candidate for each reference of a view, (K, S, S, 3) uint8 RGB; kept in ``view``.

        All are in one light (`levelled`). Where no frame shows the lips open or shut, such a picture is made of another
        (`completed`). Views may be asked for in any order.
        """
        if view.pictures is not None:
            return view.pictures
        groups = dict(enumerate(person.candidates(view, self._count)))
        lent = {which: group for which, group in groups.items() if (view, which) in person.lent}
        last = max(max(group) for which, group in groups.items() if which not in lent)
        while self._wanted and min(self._wanted) <= last:
            frame = next(self._frames)
            for seen, side, which in self._wanted.pop(frame.index, []):
                best = self._best[side]
                best[which] = self._better(best.get(which), seen, frame)
        borrowed = {which: self._borrowed(*person.lent[view, which], which, group) for which, group in lent.items()}
        found = [one for _, one in sorted((self._best.pop(view) | borrowed).items())]
        view.shown = np.stack([points for _, _, points in found])
        images, view.light = levelled([image for _, image, _ in found], view.shown)
        view.clear = clarity(images, view.shown)
        view.pictures = completed(images, view.shown, person.mute() and (view, OPEN) not in person.lent)
        return view.pictures

    def _borrowed(self, lender: TrackedFace, view: View, which: int, group: list[int]) -> Best:
        if (view, which) not in self._lent:
            best: Best | None = None
            for frame in self._read(sorted(group)):
                if frame.index in group:
                    best = self._better(best, lender, frame)
            assert best is not None
            self._lent[view, which] = best
        return self._lent[view, which]

    def _better(self, best: Best | None, face: TrackedFace, frame: Frame) -> Best:
        """The sharper one of the best picture so far and that of a face in a frame."""
        row = face.row(frame.index)
        image = geometry.crop_face(frame, face.track.matrices[row], self._size).image
        sharp = sharpness(image)
        return (sharp, image, face.points[row]) if best is None or sharp > best[0] else best


def sharpness(image: Byte) -> float:
    """Variance of the Laplacian of a (S, S, 3) uint8 picture."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
