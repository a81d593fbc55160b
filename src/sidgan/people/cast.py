"""The people of a video: face tracks grouped by identity and numbered, the most prominent person first.

A track ends with its shot, so one person may have many. The numbers are the same wherever a user gives or reads one:
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

SAME = 0.5  #: distance of identity embeddings below which two tracks show one person; different people have 0.6 or more
SAMPLES = 3  #: number of frames of a track whose embeddings are averaged
SIDE = 256  #: px, side of the crops for that


@dataclass(frozen=True)
class Member:
    """One person of a video.

    Attributes:
        number: 1 for the most prominent person. People whose face can never be redrawn come last.
        tracks: indices into the video's tracks, the most prominent first.
        identity: (128,) embedding, the mean over the tracks.
    """

    number: int
    tracks: tuple[int, ...]
    identity: Float


class Looks:
    """Computes the identity embeddings of tracks while the video is read a second time.

    Args:
        people: tracked faces, by index into the video's tracks.

    Attributes:
        last: index of the last frame that is needed, -1 if none is.
    """

    def __init__(self, people: Mapping[int, TrackedFace]) -> None:
        self._people = people
        self._wanted: dict[int, list[int]] = defaultdict(list)  # by frame: tracks whose embedding is computed there
        self._found: dict[int, list[Float]] = defaultdict(list)  # by track: its embeddings
        for i, person in people.items():
            usable = list(person.usable())
            usable = usable or [index for index in person.track.frames if person.track.visible[person.row(index)]]
            for k in range(SAMPLES):
                self._wanted[usable[len(usable) * (2 * k + 1) // (2 * SAMPLES)]].append(i)
        self.last = max(self._wanted, default=-1)

    def see(self, frame: Frame) -> None:
        """Compute the embeddings that are wanted of this frame."""
        for i in self._wanted.get(frame.index, []):
            person = self._people[i]
            row = person.row(frame.index)
            image = geometry.crop_face(frame, person.track.matrices[row], SIDE).image
            self._found[i].append(identity(image, person.points[row]))

    def identities(self) -> dict[int, Float]:
        """The mean embedding (128,) of each track."""
        return {i: np.mean(found, 0) for i, found in self._found.items()}


def identity(image: Byte, points: Float) -> Float:
    """Identity embedding (128,) of the face with landmarks (68, 2), in unit coordinates, in a crop (S, S, 3)."""
    return faces.embed(image, points * len(image) - 0.5)


def members(people: Mapping[int, TrackedFace], identities: Mapping[int, Float]) -> tuple[Member, ...]:
    """Group the tracks by person, and number the people.

    Tracks that can never be redrawn are assigned last and do not influence the order. So the numbers of the other
    people are the same whether such tracks are among ``people`` or not.

    Args:
        people: tracked faces, by index into the video's tracks, which are in order of prominence.
        identities: embedding (128,) of each of them.
    """
    usable = {i for i, person in people.items() if person.appears}
    groups = _grouped({i: people[i].track for i in sorted(people, key=lambda i: (i not in usable, i))}, identities)

    def order(group: list[int]) -> tuple[float, float]:
        seen = {i: faces.prominence(people[i].track) for i in group}
        return -sum(seen[i] for i in group if i in usable), -sum(seen.values())

    groups.sort(key=order)
    return tuple(
        Member(n, tuple(group), np.mean([identities[i] for i in group], 0)) for n, group in enumerate(groups, 1)
    )


def unknown() -> Member:
    """The person of a video with a single track, where no embedding is needed: its identity is infinite."""
    return Member(1, (0,), np.full(128, np.inf, np.float32))


def distance(one: Float, other: Float) -> float:
    """Euclidean distance of two identity embeddings (128,); see `SAME`."""
    return float(np.linalg.norm(one - other))


def place(people: Sequence[TrackedFace], times: Sequence[Fraction], clip: Clip) -> str:
    """A text such as ``left, 120 px, from 3.2 s on``: where and when a person is seen, so that a user knows who it is.

    Of a photo, only where.

    Args:
        people: the person's tracks, the most prominent first.
        times: presentation times of the video's frames in seconds.
        clip: the video.
    """
    track = max(people, key=lambda p: len(p.track)).track
    middle = float(np.median(track.matrices[:, 0, 0] / 2 + track.matrices[:, 0, 2])) / clip.width
    where = "left" if middle < 0.4 else "right" if middle > 0.6 else "in the middle"
    begin = min(float(times[p.track.first]) for p in people)
    return f"{where}, {np.median(people[0].sides):.0f} px" + ("" if clip.still else f", from {begin:.1f} s on")


def _grouped(tracks: Mapping[int, FaceTrack], identities: Mapping[int, Float]) -> list[list[int]]:
    """Group tracks by person, greedily and in order: each joins the nearest group, or starts a new one.

    It can only join a group that is nearer than `SAME`, on the mean over its tracks, and of which no track is ever seen
    in the same frame. A film may have thousands of tracks, so all distances to a track are computed at once.
    """
    order = list(tracks)
    looks = np.array([identities[i] for i in order])
    begin = np.array([tracks[i].first for i in order])
    stop = np.array([tracks[i].frames.stop for i in order])
    groups, member_of = list[list[int]](), np.zeros(len(order), int)
    for k, i in enumerate(order):
        distances = np.linalg.norm(looks[:k] - looks[k], axis=1)
        means = np.bincount(member_of[:k], distances) / np.bincount(member_of[:k])
        meeting = {member_of[j] for j in np.flatnonzero((begin[:k] < stop[k]) & (stop[:k] > begin[k]))
                   if _meet(tracks[i], tracks[order[j]])}  # fmt: skip
        near = [g for g in np.flatnonzero(means < SAME) if g not in meeting]
        member_of[k] = min(near, key=lambda g: means[g]) if near else len(groups)
        if not near:
            groups.append([])
        groups[member_of[k]].append(i)
    return groups


def _meet(one: FaceTrack, other: FaceTrack) -> bool:
    """Whether both are visible in the same frame."""
    shared = range(max(one.first, other.first), min(one.frames.stop, other.frames.stop))
    if not shared:
        return False
    a, b = (t.visible[shared.start - t.first : shared.stop - t.first] for t in (one, other))
    return bool((a & b).any())
