"""Track the faces of a live stream, and decide which of them are redrawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

import numpy as np

from sidgan import geometry
from sidgan.dubbing.analysis import covering
from sidgan.dubbing.analysis.glimpses import FINE
from sidgan.dubbing.analysis.looking import bridges, doubted
from sidgan.dubbing.analysis.trust import surface
from sidgan.dubbing.live.album import Albums
from sidgan.dubbing.plan import fades, opened
from sidgan.faces import SMOOTHED, Tracker, cut_off, lips_inside
from sidgan.people import TrackedFace
from sidgan.poses import compared
from sidgan.types import Byte, Float, Frame

T = TypeVar("T")

REMEMBERED = 75  #: frames kept of each track, to compare a face with; more than smoothing needs

assert REMEMBERED > SMOOTHED


@dataclass(eq=False)
class Known:
    """A face that is being tracked, with the last N frames of its track.

    Attributes:
        person: its track.
        weights: (N,) opacity of the redrawn face, see `sidgan.dubbing.plan.fades`.
        opened: (N,) 1 where its mouth is open, see `sidgan.dubbing.plan.opened`.
        confidence: (N,) see `sidgan.dubbing.analysis.trust`.
        albums: its reference pictures; ``None`` until it is drawn for the first time.
    """

    person: TrackedFace
    weights: Float
    opened: Float
    confidence: Float
    albums: Albums | None = None


class Watch:
    """Tracks faces, and keeps the last `REMEMBERED` frames of each track.

    Args:
        everybody: whether all faces are redrawn, or one at a time: the most prominent one when it was chosen, until
            it disappears.
    """

    def __init__(self, *, everybody: bool) -> None:
        self._tracker, self._everybody = Tracker(), everybody
        self._faces: dict[int, dict[int, Byte]] = defaultdict(dict)  # by track number, then frame: small crops
        self._looks: dict[int, dict[int, tuple[Byte, Byte]]] = defaultdict(dict)  # `surface` and cell scores of these
        self._known: dict[int, Known] = {}
        self._current: TrackedFace | None = None
        self._size = 0, 0  # width and height of the pictures, px

    def add(self, frame: Frame) -> None:
        """Track the faces in the next frame."""
        self._tracker.add(frame)
        self._size = frame.planes[0].shape[1], frame.planes[0].shape[0]
        for number, points in self._tracker.here().items():
            # The smoothed face square is not known yet, but its jitter is small beside the cells of these crops.
            unit = geometry.square_matrix(geometry.face_square(points))
            self._faces[number][frame.index] = geometry.crop_face(frame, unit, FINE).image

    def look(self, first: int, arrived: int, rate: Fraction) -> list[TrackedFace]:
        """Update what is known of each face, before frames from ``first`` on are drawn.

        Args:
            first: the next frame to draw.
            arrived: number of frames that have arrived.
            rate: pictures per second.

        Returns:
            The faces that have disappeared since the last call.
        """
        since = max(0, first - REMEMBERED)
        times = {index: index / rate for index in range(since, arrived + 1)}
        self._tracker.forget(since)
        before, self._known = self._known, {}
        for number, track in self._tracker.recent(since).items():
            person = before[number].person if number in before else TrackedFace(track)
            person.follow(track)
            person.bridged, person.cut = bridges(person, times), cut_off(track, *self._size)
            self._see(number, person)
            surfaces, covered = zip(*(self._looks[number][index] for index in track.frames), strict=True)
            trust = doubted(person, np.stack(surfaces), np.stack(covered), lips_inside(track, *self._size))
            albums = before[number].albums if number in before else None
            person.find_views(albums.known if albums else ())
            weights = fades(person, [*self._tracker.cuts, since], times, arrived)  # what is forgotten is no edge
            self._known[number] = Known(person, weights, opened(person, times), trust.confidence, albums)
        self._faces, self._looks = _since(since, self._faces), _since(since, self._looks)
        return [known.person for number, known in before.items() if number not in self._known]

    def _see(self, number: int, person: TrackedFace) -> None:
        """Rate the frames of a track that have arrived since the last call, compared with what is remembered of it."""
        track, faces, known = person.track, self._faces[number], self._looks[number]

        def picture(row: int) -> Byte:
            return faces[track.first + row]

        new = np.array([row for row, index in enumerate(track.frames) if index not in known], int)
        if len(new):
            seen = np.stack([picture(row) for row in new.tolist()])
            cells = covering.scores(covering.alone(seen), new, picture, compared(track.visible), person.points)
            for row, face, covered in zip(new.tolist(), seen, cells, strict=True):
                known[track.first + row] = surface(face), covered

    def usable(self, index: int) -> list[tuple[Known, float, float]]:
        """Whose mouth is redrawn in a frame, its opacity in (0, 1], and ``opened`` of `Known`."""
        here = [known for known in self._known.values() if index in known.person.track.frames]
        if here and not self._everybody:
            here = [known for known in here if known.person is self._current] or here[:1]
            self._current = here[0].person
        rows = [(known, known.person.row(index)) for known in here]
        found = [(known, float(known.weights[row]), float(known.opened[row])) for known, row in rows]
        return [one for one in found if one[1] > 0 and one[0].person.refusal(index) is None]


def _since(first: int, kept: Mapping[int, Mapping[int, T]]) -> defaultdict[int, dict[int, T]]:
    """What is kept by track number, then frame, from frame ``first`` on."""
    recent: defaultdict[int, dict[int, T]] = defaultdict(dict)
    for number, frames in kept.items():
        if left := {index: one for index, one in frames.items() if index >= first}:
            recent[number] = left
    return recent
