"""Who is in pictures that are still arriving, and who of them is redrawn after which pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan import geometry
from sidgan.dubbing.glimpses import FINE
from sidgan.dubbing.looking import bridges
from sidgan.dubbing.plan import fades
from sidgan.dubbing.trust import surface, trust
from sidgan.engine import Engine
from sidgan.faces import SMOOTHED, Tracker
from sidgan.geometry import mouth_opening
from sidgan.nn import Features
from sidgan.people import PAIR_FRAMES, Person, sharpness
from sidgan.types import Byte, Float, Frame

REMEMBERED = 75  #: frames that say how a face usually looks and is held; more than smoothing reaches
WIDER = 0.03  #: eye distances by which lips are closer, or farther apart, than in a reference that is exchanged

assert REMEMBERED > SMOOTHED


@dataclass(frozen=True)
class Likeness:
    """What a face is drawn after.

    Attributes:
        engine: of the size that suits the face.
        images: the pictures (K, S, S, 3).
        points: their unit landmarks (K, 68, 2).
        reference: what the network made of them.
    """

    engine: Engine
    images: Byte
    points: Float
    reference: Features


@dataclass(eq=False)
class Known:
    """A face that is being followed.

    Attributes:
        weights: (N,) share of the redrawn face in the frames of its track that are remembered.
        since: the frame from which on it was first redrawn.
        likeness: what it is drawn after, once it was.
    """

    person: Person
    weights: Float
    since: int = 0
    likeness: Likeness | None = None


class Watch:
    """Follows faces, and remembers the last seconds of each.

    Args:
        everybody: whether all faces are redrawn, or at each moment one: the most prominent when it was chosen, as
            long as it is there.
    """

    def __init__(self, *, everybody: bool) -> None:
        self._tracker, self._everybody = Tracker(), everybody
        self._surfaces: dict[int, dict[int, Byte]] = defaultdict(dict)
        self._known: dict[int, Known] = {}
        self._current: Known | None = None

    def add(self, frame: Frame) -> None:
        """Look at the next frame."""
        self._tracker.add(frame)
        for number, points in self._tracker.here().items():
            # Where the steady square will lie is not known yet; cells so large hardly notice how this one trembles.
            unit = geometry.square_matrix(geometry.face_square(points))
            self._surfaces[number][frame.index] = surface(geometry.crop_face(frame, unit, FINE).image)

    def look(self, first: int, arrived: int, rate: Fraction) -> list[Person]:
        """See what is known of the faces in frames from ``first`` on, when so many have ``arrived``; who left since."""
        since = max(0, first - REMEMBERED)
        times = {index: index / rate for index in range(since, arrived + 1)}
        self._tracker.forget(since)
        before, self._known = self._known, {}
        for number, track in self._tracker.recent(since).items():
            person = before[number].person if number in before else Person(track)
            person.follow(track)
            person.bridged = bridges(person, times)
            surfaces = np.stack([self._surfaces[number][index] for index in track.frames])
            person.doubts = trust(person, surfaces).refusals()
            known = before.get(number) or Known(person, np.ones(0))
            known.weights = fades(person, tuple(self._tracker.cuts), arrived)
            self._known[number] = known
        followed = self._known.keys() | self._tracker.here().keys()
        self._surfaces = defaultdict(dict, {
            number: {index: one for index, one in looks.items() if index >= since}
            for number, looks in self._surfaces.items() if number in followed
        })  # fmt: skip
        return [known.person for number, known in before.items() if number not in self._known]

    def willing(self, index: int) -> list[tuple[Known, float]]:
        """Whose mouth is redrawn in a frame, and the share of it that is used, above 0 to 1."""
        here = [known for known in self._known.values() if index in known.person.track.frames]
        if here and not self._everybody:
            self._current = self._current if self._current in here else here[0]
            here = [self._current]
        shares = [(known, float(known.weights[known.person.row(index)])) for known in here]
        return [(known, share) for known, share in shares if share > 0 and known.person.refusal(index) is None]


def likeness(known: Known, frames: Mapping[int, Frame], engine: Engine) -> Likeness:
    """What a face is drawn after: chosen when it is first drawn, and for ten seconds again where lips come closer, or
    farther apart, than they were in a picture.

    Args:
        frames: that have arrived and were not yet handed out, by their indices.
    """
    person, first, old = known.person, min(frames), known.likeness
    if old is None:
        known.since, engine = first, engine.fitting(float(np.median(person.sides)))
    elif len(old.images) < 2 or first - known.since >= PAIR_FRAMES:
        return old
    else:
        engine = old.engine
    images, rows = [], []
    for group in person.candidates(engine.references, first):
        crops = [geometry.crop_face(frames[index], person.track.matrices[person.row(index)], engine.size).image
                 for index in group]  # fmt: skip
        best = int(np.argmax([sharpness(crop) for crop in crops]))
        images.append(crops[best])
        rows.append(person.row(group[best]))
    new, points = np.stack(images), person.points[rows]
    if old is not None:
        change = (mouth_opening(points) - mouth_opening(old.points)) * np.array([-1, 1])
        better = change > WIDER
        if not better.any():
            return old
        new = np.where(better[:, None, None, None], new, old.images)
        points = np.where(better[:, None, None], points, old.points)
    known.likeness = Likeness(engine, new, points, engine.encode_reference(new))
    return known.likeness
