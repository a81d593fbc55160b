"""The reference pictures of a face: what a network draws its person after."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from sidgan import geometry
from sidgan.people.tracked import TrackedFace
from sidgan.types import Byte, Frame


class References:
    """Finds people's reference pictures. It reads the video by itself, ahead of the drawing, as far as is needed.

    Args:
        frames: the video in order, or only those of its frames that are candidates.
        people: those with `TrackedFace.candidates`.
        size: side of the pictures in px.
        count: pictures of each person, 1 or 2.
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
        """The sharpest candidates of a person, (K, S, S, 3) uint8 RGB.

        Those of a person are kept. Whoever has none yet must not have been passed by the reader.
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
        person.pictures = np.stack([image for _, image, _ in best])
        return person.pictures


def sharpness(image: Byte) -> float:
    """Variance of the Laplacian of a (S, S, 3) uint8 picture."""
    return float(cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())
