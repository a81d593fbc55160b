"""What can be told when the faces of a video are known: who they are, how sure each frame is, short losses bridged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from sidgan import geometry, media
from sidgan.dubbing.analysis import covering
from sidgan.dubbing.analysis.glimpses import Glimpses
from sidgan.dubbing.analysis.trust import Trust, surface, trust
from sidgan.dubbing.report import Progress
from sidgan.people import TrackedFace
from sidgan.people.cast import Looks, Member, members, unknown
from sidgan.spans import spans
from sidgan.types import Byte, Clip, Float

LONGEST_LOSS = Fraction(1, 2)  #: seconds of a loss that may be bridged
MOVED = 0.25  #: of the side, by which a face may have moved on meanwhile
TURNED = 15.0  #: degrees of yaw by which it may have turned


def look(
    clip: Clip, people: Sequence[TrackedFace], times: Sequence[Fraction], glimpses: Glimpses, progress: Progress, *,
    identify: bool = False,
) -> tuple[tuple[Member, ...], dict[TrackedFace, Trust]]:  # fmt: skip
    """Look at every face of a video; `TrackedFace.bridged`, `TrackedFace.doubts` and `TrackedFace.covers` are filled.

    Args:
        people: all tracks, the most prominent first.
        times: seconds at which the video's frames are shown.
        glimpses: of all frames of all tracks.
        identify: also take the identity of a single track, which there is nobody to tell apart from.

    Returns:
        The people they belong to, and how sure each track is.
    """
    for person in people:
        person.bridged = bridges(person, times)
    alone = len(people) == 1 and not identify
    who = (unknown(),) if alone else members(dict(enumerate(people)), _identities(clip, people, progress))
    return who, {person: doubted(person, *looks(person, glimpses)) for person in people}


def looks(person: TrackedFace, glimpses: Glimpses) -> tuple[Byte, Byte]:
    """What a face looks like in the N frames of its track: (N, 12, 12, 3) surfaces, (N, 24, 24) what is before it."""
    surfaces, cells = [], []
    for begin in range(0, len(person.track), covering.TOGETHER):
        rows = range(begin, min(begin + covering.TOGETHER, len(person.track)))
        faces = [glimpses.picture(person.track.first + row, person.track.matrices[row]) for row in rows]
        surfaces += [surface(face) for face in faces]
        cells.append(covering.seen(np.stack(faces)))
    return np.stack(surfaces), np.concatenate(cells)


def doubted(person: TrackedFace, surfaces: Byte, cells: Byte) -> Trust:
    """How sure a track is, of what `looks` gives; its covers and doubts are filled."""
    before = covering.covers(cells, person.points, person.track.visible)
    person.covers = {int(row): before[row].copy() for row in np.flatnonzero(before.any((1, 2)))}
    sure = trust(person, surfaces, before)
    person.doubts = sure.refusals()
    return sure


def _identities(clip: Clip, people: Sequence[TrackedFace], progress: Progress) -> Mapping[int, Float]:
    """The identity of each track by its place: of a few whole faces, for which the video is read once more."""
    looks = Looks(dict(enumerate(people)))
    for frame in media.read_frames(clip) if people else ():
        looks.see(frame)
        progress("look", frame.index + 1, looks.last + 1)
        if frame.index >= looks.last:
            break
    return looks.identities()


def bridges(person: TrackedFace, times: Sequence[Fraction] | Mapping[int, Fraction]) -> np.ndarray:
    """(N,) bool: frames in which a face was lost for so short, and so near, that it is known where it was."""
    track = person.track
    found = np.zeros(len(track), bool)
    for begin, end in spans(~track.visible):
        if begin == 0 or end == len(track):
            continue
        lasted = times[track.first + end] - times[track.first + begin]
        before, after = (geometry.face_square(track.landmarks[row]) for row in (begin - 1, end))
        moved = float(np.abs(after - before).max()) / float(before[2])
        turned = abs(float(track.pose[end, 0] - track.pose[begin - 1, 0]))
        found[begin:end] = lasted <= LONGEST_LOSS and moved <= MOVED and turned <= TURNED
    return found
