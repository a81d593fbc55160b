"""The reference pictures of a face, which show the network what the person looks like."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import cv2

from sidgan import geometry
from sidgan.people.opening import completed
from sidgan.people.tracked import TrackedFace
from sidgan.types import Byte, Frame


class References:
    """Selects the reference pictures of tracked faces. It reads the video itself, ahead of drawing, as far as needed.

    Args:
        frames: the frames of the video in order, or only those that are candidates.
        people: the faces; those without `TrackedFace.candidates` get no pictures.
        size: side of the pictures in px.
        count: number of pictures of each face, 1 to 3.
    """

    def __init__(self, frames: Iterable[Frame], people: Iterable[TrackedFace], size: int, count: int = 1) -> None:
        self._frames: Iterator[Frame] = iter(frames)
        self._size, self._count = size, count
        self._wanted: dict[int, list[tuple[TrackedFace, int]]] = defaultdict(list)
        for person in people:
            for which, group in enumerate(person.candidates(count)):
                for index in group:
                    self._wanted[index].append((person, which))

    def pictures(self, person: TrackedFace) -> Byte:
        """The sharpest candidate for each reference of a face, (K, S, S, 3) uint8 RGB; kept in ``person``.

        Where no frame shows the lips open or shut, such a picture is made of another (`completed`). Faces may be asked
        for in any order.
        """
        if person.pictures is not None:
            return person.pictures
        last = max(map(max, person.candidates(self._count)))
        while self._wanted and min(self._wanted) <= last:
            frame = next(self._frames)
            for seen, which in self._wanted.pop(frame.index, []):
                row = seen.row(frame.index)
                image = geometry.crop_face(frame, seen.track.matrices[row], self._size).image
                sharp = sharpness(image)
                if which not in seen.best or sharp > seen.best[which][0]:
                    seen.best[which] = sharp, image, row
        best, person.best = [person.best[which] for which in sorted(person.best)], {}
        person.shown = [row for _, _, row in best]
        person.pictures = completed([image for _, image, _ in best], person.points[person.shown], person.mute())
        return person.pictures


def sharpness(image: Byte) -> float:
    """Variance of the Laplacian of a (S, S, 3) uint8 picture."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
