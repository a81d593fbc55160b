"""A second look at a video whose faces are known: who they are, how sure each frame is, short losses bridged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from sidgan import geometry, media
from sidgan.cast import Looks, Member, members, unknown
from sidgan.dubbing.report import Progress
from sidgan.dubbing.trust import GRID, Trust, surface, trust
from sidgan.people import Person
from sidgan.types import Clip

SEEN = 96  #: px of the crops that are looked at
LONGEST_LOSS = Fraction(1, 2)  #: seconds of a loss that may be bridged
MOVED = 0.25  #: of the side, by which a face may have moved on meanwhile
TURNED = 15.0  #: degrees of yaw by which it may have turned


def look(
    clip: Clip, people: Sequence[Person], times: Sequence[Fraction], progress: Progress, *, identify: bool = False
) -> tuple[tuple[Member, ...], dict[Person, Trust]]:
    """Look at every face of a video; `Person.bridged` and `Person.doubts` are filled.

    Args:
        people: all tracks, the most prominent first.
        times: seconds at which the video's frames are shown.
        identify: also take the identity of a single track, which there is nobody to tell apart from.

    Returns:
        The people they belong to, and how sure each track is.
    """
    for person in people:
        person.bridged = bridges(person, times)
    alone = len(people) == 1 and not identify
    looks = Looks({} if alone else dict(enumerate(people)))
    surfaces = {person: np.zeros((len(person.track), GRID, GRID, 3), np.uint8) for person in people}
    here: dict[int, list[Person]] = defaultdict(list)
    for person in people:
        for index in person.track.frames:
            here[index].append(person)
    last = max(here, default=-1)
    for frame in media.read_frames(clip):
        if frame.index > last:
            break
        looks.see(frame)
        for person in here.pop(frame.index, []):
            row = person.row(frame.index)
            image = geometry.crop_face(frame, person.track.matrices[row], SEEN).image
            surfaces[person][row] = surface(image)
        progress("look", frame.index + 1, last + 1)
    who = (unknown(),) if alone else members(dict(enumerate(people)), looks.identities())
    sure = {person: trust(person, surfaces[person]) for person in people}
    for person, verdict in sure.items():
        person.doubts = verdict.refusals()
    return who, sure


def bridges(person: Person, times: Sequence[Fraction]) -> np.ndarray:
    """(N,) bool: frames in which a face was lost for so short, and so near, that it is known where it was."""
    track = person.track
    found = np.zeros(len(track), bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (~track.visible).astype(int), [0]])))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if begin == 0 or end == len(track):
            continue
        lasted = times[track.first + end] - times[track.first + begin]
        before, after = (geometry.face_square(track.landmarks[row]) for row in (begin - 1, end))
        moved = float(np.abs(after - before).max()) / float(before[2])
        turned = abs(float(track.pose[end, 0] - track.pose[begin - 1, 0]))
        found[begin:end] = lasted <= LONGEST_LOSS and moved <= MOVED and turned <= TURNED
    return found
