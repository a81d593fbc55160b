"""The people of a video: face tracks put together by identity and numbered, the most prominent first.

A track ends at a shot's end, so one person has many. One numbering holds wherever a user gives or reads a number:
``sidgan faces``, ``dub --face``, ``dub --speaker``, ``adapt --face`` and the report of a dub.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan import faces, geometry
from sidgan.people.tracked import TrackedFace
from sidgan.types import Byte, Clip, FaceTrack, Float, Frame

SAME = 0.5  #: distance of identities below which two tracks show one person; strangers are 0.6 and more apart
LOOKS = 3  #: frames of a track from which its identity is taken
LOOK = 256  #: px, side of the crops for that


@dataclass(frozen=True)
class Member:
    """One person of a video.

    Attributes:
        number: 1 is the most prominent. Those who can be redrawn nowhere come last.
        tracks: places of their tracks among the video's, the most prominent first.
        identity: (128,) mean over the tracks.
    """

    number: int
    tracks: tuple[int, ...]
    identity: Float


class Looks:
    """Takes the identities of some tracks while a video is read once more.

    Args:
        people: by their place among the video's tracks.

    Attributes:
        last: the last frame that is needed, -1 if none is.
    """

    def __init__(self, people: Mapping[int, TrackedFace]) -> None:
        self._people = people
        self._wanted: dict[int, list[int]] = defaultdict(list)  # by frame: whose identity is taken
        self._seen: dict[int, list[Float]] = defaultdict(list)
        for i, person in people.items():
            usable = list(person.usable())
            usable = usable or [index for index in person.track.frames if person.track.visible[person.row(index)]]
            for k in range(LOOKS):
                self._wanted[usable[len(usable) * (2 * k + 1) // (2 * LOOKS)]].append(i)
        self.last = max(self._wanted, default=-1)

    def see(self, frame: Frame) -> None:
        """Look at the next frame."""
        for i in self._wanted.get(frame.index, []):
            person = self._people[i]
            row = person.row(frame.index)
            image = geometry.crop_face(frame, person.track.matrices[row], LOOK).image
            self._seen[i].append(identity(image, person.points[row]))

    def identities(self) -> dict[int, Float]:
        """The mean identity (128,) of each track."""
        return {i: np.mean(found, 0) for i, found in self._seen.items()}


def identity(image: Byte, points: Float) -> Float:
    """Identity (128,) of the face with the unit landmarks (68, 2) in a crop (S, S, 3)."""
    return faces.embed(image, points * len(image) - 0.5)


def members(people: Mapping[int, TrackedFace], identities: Mapping[int, Float]) -> tuple[Member, ...]:
    """Put the tracks of each person together, and number the people.

    Tracks that can be redrawn nowhere are added to the people that the others make up, but have no influence on the
    order of these: their numbers are the same whether such tracks are among ``people`` or not.

    Args:
        people: by their place among the video's tracks, which are in order of prominence.
        identities: of each of them.
    """
    usable = {i for i, person in people.items() if person.candidates()}
    groups = _together({i: people[i].track for i in sorted(people, key=lambda i: (i not in usable, i))}, identities)

    def order(group: list[int]) -> tuple[float, float]:
        seen = {i: faces.prominence(people[i].track) for i in group}
        return -sum(seen[i] for i in group if i in usable), -sum(seen.values())

    groups.sort(key=order)
    return tuple(
        Member(n, tuple(group), np.mean([identities[i] for i in group], 0)) for n, group in enumerate(groups, 1)
    )


def unknown() -> Member:
    """The person of a video with a single track, where nobody needs to know what they look like."""
    return Member(1, (0,), np.full(128, np.inf, np.float32))


def distance(one: Float, other: Float) -> float:
    """How unlike two identities (128,) are, a Euclidean distance; see `SAME`."""
    return float(np.linalg.norm(one - other))


def place(people: Sequence[TrackedFace], times: Sequence[Fraction], clip: Clip) -> str:
    """Where and when a person is seen, so that a user knows who is meant.

    Args:
        people: their tracks, the most prominent first.
        times: seconds at which the video's frames are shown.
        clip: the video.
    """
    track = max(people, key=lambda p: len(p.track)).track
    middle = float(np.median(track.matrices[:, 0, 0] / 2 + track.matrices[:, 0, 2])) / clip.width
    where = "left" if middle < 0.4 else "right" if middle > 0.6 else "in the middle"
    begin = min(float(times[p.track.first]) for p in people)
    return f"{where}, {np.median(people[0].sides):.0f} px, from {begin:.1f} s on"


def _together(tracks: Mapping[int, FaceTrack], identities: Mapping[int, Float]) -> list[list[int]]:
    """Group tracks by person: alike, and never seen in one frame. Each joins the nearest group, or begins a new one."""
    groups: list[list[int]] = []
    for i in tracks:
        strangers = [any(_meet(tracks[i], tracks[j]) for j in group) for group in groups]
        near = [g for g, s in zip(groups, strangers, strict=True) if not s and _apart(i, g, identities) < SAME]
        if near:
            min(near, key=lambda g: _apart(i, g, identities)).append(i)
        else:
            groups.append([i])
    return groups


def _apart(i: int, group: Sequence[int], identities: Mapping[int, Float]) -> float:
    return float(np.mean([distance(identities[i], identities[j]) for j in group]))


def _meet(one: FaceTrack, other: FaceTrack) -> bool:
    """Whether both are seen in one frame."""
    shared = range(max(one.first, other.first), min(one.frames.stop, other.frames.stop))
    if not shared:
        return False
    a, b = (t.visible[shared.start - t.first : shared.stop - t.first] for t in (one, other))
    return bool((a & b).any())
