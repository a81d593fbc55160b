"""Assess the face tracks of a video: who they are, confidence of each frame, and short gaps to bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

from sidgan import geometry, media
from sidgan.dubbing.analysis import covering
from sidgan.dubbing.analysis.captions import Captions
from sidgan.dubbing.analysis.glimpses import Glimpses
from sidgan.dubbing.analysis.trust import Trust, complexion, surface, trust
from sidgan.dubbing.report import Progress
from sidgan.faces import cut_off, lips_inside
from sidgan.people import TrackedFace
from sidgan.people.cast import Looks, Member, members, unknown
from sidgan.people.lending import lend
from sidgan.poses import COMPARED, compared
from sidgan.spans import spans
from sidgan.types import Byte, Clip, Float

LONGEST_LOSS = Fraction(1, 2)  #: longest gap in a track that is bridged, seconds
MOVED = 0.25  #: how far a face may move in a gap, in sides of its square
TURNED = 15.0  #: how far it may turn in a gap, degrees of yaw
KEPT = COMPARED + covering.TOGETHER  #: pictures of a track that are kept while its faces are compared


def look(
    clip: Clip, people: Sequence[TrackedFace], times: Sequence[Fraction], glimpses: Glimpses, captions: Captions,
    progress: Progress, *, identify: bool = False,
) -> tuple[tuple[Member, ...], dict[TrackedFace, Trust]]:  # fmt: skip
    """Assess every track of a video; sets ``bridged``, ``doubts``, ``covers``, ``cut``, ``views``, ``lent``.

    Args:
        people: all tracks, the most prominent first.
        times: seconds at which the video's frames are shown.
        glimpses: small crops of all frames of all tracks.
        captions: what is printed over faces.
        identify: compute an identity even if there is a single track, where it is not needed to tell people apart.

    Returns:
        The people to whom the tracks belong, and the confidence of each track.
    """
    for person in people:
        person.bridged = bridges(person, times)
        person.cut = cut_off(person.track, clip.width, clip.height)
    alone = len(people) == 1 and not identify
    who = (unknown(),) if alone else members(dict(enumerate(people)), _identities(clip, people, progress))
    found, skin = dict[TrackedFace, Trust](), dict[TrackedFace, Float]()
    for person in people:
        surfaces, cells = looks(person, glimpses)
        inside = lips_inside(person.track, clip.width, clip.height)
        found[person] = doubted(person, surfaces, cells, inside, captions.covers(person.track))
        skin[person] = complexion(surfaces, person.points)
        person.find_views()
    for member in who:
        lend([people[i] for i in sorted(member.tracks)], skin)
    return who, found


def looks(person: TrackedFace, glimpses: Glimpses) -> tuple[Byte, Byte]:
    """`surface` (N, 12, 12, 3) and `covering.scores` (N, 24, 24) of the N frames of a track."""
    track = person.track

    def picture(row: int) -> Byte:
        return glimpses.picture(track.first + row, track.matrices[row])

    surfaces, found = [], []
    for begin in range(0, len(track), covering.TOGETHER):
        faces = np.stack([picture(row) for row in range(begin, min(begin + covering.TOGETHER, len(track)))])
        surfaces += [surface(face) for face in faces]
        found.append(covering.alone(faces))
    alone, rows = np.concatenate(found), compared(track.visible)
    clear = covering.bare(rows, alone[rows], person.points)
    again = lru_cache(KEPT)(picture)  # neighbouring frames are compared with the same ones
    return np.stack(surfaces), covering.scores(alone, np.arange(len(track)), again, rows, person.points, clear)


def doubted(person: TrackedFace, surfaces: Byte, cells: Byte, inside: Float, printed: Byte | None = None) -> Trust:
    """The confidence of a track; sets its ``covers`` and ``doubts``.

    Args:
        surfaces, cells: the results of `looks`.
        inside: the result of `sidgan.faces.lips_inside`.
        printed: (N, 24, 24), see `Captions.covers`; without it, there are no captions.
    """
    covers = covering.covers(cells, person.points, person.track.visible)
    found = trust(person, surfaces, covers, printed, inside)
    if printed is not None:
        covers = np.maximum(covers, printed)
    person.covers = {int(row): covers[row].copy() for row in np.flatnonzero(covers.any((1, 2)))}
    person.doubts = found.refusals()
    return found


def _identities(clip: Clip, people: Sequence[TrackedFace], progress: Progress) -> Mapping[int, Float]:
    """Identity (128,) by track number, from a few full-size faces, for which the video is read once more."""
    looks = Looks(dict(enumerate(people)))
    for frame in media.read_frames(clip) if people else ():
        looks.see(frame)
        progress("look", frame.index + 1, looks.last + 1)
        if frame.index >= looks.last:
            break
    return looks.identities()


def bridges(person: TrackedFace, times: Sequence[Fraction] | Mapping[int, Fraction]) -> np.ndarray:
    """(N,) bool: frames in gaps of a track so short, and with so little movement, that they can be interpolated."""
    track = person.track
    found = np.zeros(len(track), bool)
    for begin, end in spans(~track.visible):
        if begin == 0 or end == len(track):
            continue
        gap = times[track.first + end] - times[track.first + begin]
        before, after = (geometry.face_square(track.landmarks[row]) for row in (begin - 1, end))
        moved = float(np.abs(after - before).max()) / float(before[2])
        turned = abs(float(track.pose[end, 0] - track.pose[begin - 1, 0]))
        found[begin:end] = gap <= LONGEST_LOSS and moved <= MOVED and turned <= TURNED
    return found
