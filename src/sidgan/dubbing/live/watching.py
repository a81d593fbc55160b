"""Who is in pictures that are still arriving, and who of them is redrawn."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan import geometry
from sidgan.dubbing.analysis import covering
from sidgan.dubbing.analysis.glimpses import FINE
from sidgan.dubbing.analysis.looking import bridges, doubted
from sidgan.dubbing.analysis.trust import surface
from sidgan.dubbing.live.album import Album
from sidgan.dubbing.plan import fades, opened
from sidgan.faces import SMOOTHED, Tracker
from sidgan.people import TrackedFace
from sidgan.types import Byte, Float, Frame

REMEMBERED = 75  #: frames that say how a face usually looks and is held; more than smoothing reaches

assert REMEMBERED > SMOOTHED


@dataclass(eq=False)
class Known:
    """A face that is being followed.

    Attributes:
        weights: (N,) share of the redrawn face in the frames of its track that are remembered.
        opened: (N,) in these, how far its mouth is not shut, see `sidgan.dubbing.plan`.
        confidence: (N,) in these, see `sidgan.dubbing.analysis.trust`.
        album: what it is drawn after, once it was drawn.
    """

    person: TrackedFace
    weights: Float
    opened: Float
    confidence: Float
    album: Album | None = None


class Watch:
    """Follows faces, and remembers the last seconds of each.

    Args:
        everybody: whether all faces are redrawn, or at each moment one: the most prominent when it was chosen, as
            long as it is there.
    """

    def __init__(self, *, everybody: bool) -> None:
        self._tracker, self._everybody = Tracker(), everybody
        self._faces: dict[tuple[int, int], Byte] = {}  # by number and frame: pictures that nobody has looked at yet
        self._looks: dict[int, dict[int, tuple[Byte, Byte]]] = defaultdict(dict)  # by number, then frame
        self._known: dict[int, Known] = {}
        self._current: TrackedFace | None = None

    def add(self, frame: Frame) -> None:
        """Look at the next frame."""
        self._tracker.add(frame)
        for number, points in self._tracker.here().items():
            # Where the steady square will lie is not known yet; cells so large hardly notice how this one trembles.
            unit = geometry.square_matrix(geometry.face_square(points))
            self._faces[number, frame.index] = geometry.crop_face(frame, unit, FINE).image

    def look(self, first: int, arrived: int, rate: Fraction) -> list[TrackedFace]:
        """See what is known of the faces in frames from ``first`` on, when so many have ``arrived``; who left since."""
        since = max(0, first - REMEMBERED)
        times = {index: index / rate for index in range(since, arrived + 1)}
        self._tracker.forget(since)
        if self._faces:
            before_them = covering.seen(np.stack([*self._faces.values()]))
            for ((number, index), face), seen in zip(self._faces.items(), before_them, strict=True):
                self._looks[number][index] = surface(face), seen
            self._faces = {}
        before, self._known = self._known, {}
        for number, track in self._tracker.recent(since).items():
            person = before[number].person if number in before else TrackedFace(track)
            person.follow(track)
            person.bridged = bridges(person, times)
            surfaces, cells = zip(*(self._looks[number][index] for index in track.frames), strict=True)
            sure = doubted(person, np.stack(surfaces), np.stack(cells))
            weights = fades(person, tuple(self._tracker.cuts), arrived)
            album = before[number].album if number in before else None
            self._known[number] = Known(person, weights, opened(person), sure.confidence, album)
        remembered = ((number, {index: one for index, one in looks.items() if index >= since})
                      for number, looks in self._looks.items())  # fmt: skip
        self._looks = defaultdict(dict, ((number, looks) for number, looks in remembered if looks))
        return [known.person for number, known in before.items() if number not in self._known]

    def willing(self, index: int) -> list[tuple[Known, float, float]]:
        """Whose mouth is redrawn in a frame, the share of it that is used, above 0 to 1, and how far it is not shut."""
        here = [known for known in self._known.values() if index in known.person.track.frames]
        if here and not self._everybody:
            here = [known for known in here if known.person is self._current] or here[:1]
            self._current = here[0].person
        rows = [(known, known.person.row(index)) for known in here]
        shares = [(known, float(known.weights[row]), float(known.opened[row])) for known, row in rows]
        return [found for found in shares if found[1] > 0 and found[0].person.refusal(index) is None]

