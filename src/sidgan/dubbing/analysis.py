"""The first passes over a video: when its frames are shown, whose faces they hold, and who is redrawn where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sidgan import media
from sidgan.cast import Member
from sidgan.dubbing.choice import chosen, number_of, speaking
from sidgan.dubbing.looking import look
from sidgan.dubbing.report import Progress
from sidgan.dubbing.trust import Trust
from sidgan.errors import NoFaceError
from sidgan.faces import Tracker
from sidgan.people import MAX_YAW, MIN_SIDE, Person, redrawn
from sidgan.types import Clip


@dataclass(frozen=True)
class Seen:
    """What is known of a video before anybody is chosen.

    Attributes:
        times: seconds at which its frames are shown.
        end: seconds at which the last of them is over.
        cuts: frames at which shots begin, but the first.
        people: every face track, the most prominent first.
        members: the people they belong to.
        trust: how sure each track is.
    """

    times: tuple[Fraction, ...]
    end: Fraction
    cuts: tuple[int, ...]
    people: tuple[Person, ...]
    members: tuple[Member, ...]
    trust: dict[Person, Trust]

    def number(self, person: Person) -> int:
        """Whose track it is."""
        track = self.people.index(person)
        return next(member.number for member in self.members if track in member.tracks)


@dataclass(frozen=True)
class Analysis(Seen):
    """What is known of a video before anything is drawn.

    Attributes:
        usable: tracks that can be redrawn somewhere.
        by_frame: {frame: those who may be redrawn in it}; see `Person.refusal` for whether they are.
        notes: what a user should know about the choice, a line each.
    """

    usable: tuple[Person, ...]
    by_frame: dict[int, list[Person]]
    notes: tuple[str, ...]

    @property
    def side(self) -> float:
        """Median side of the most prominent face's square, px."""
        return float(np.median(self.usable[0].sides))


def survey(clip: Clip, progress: Progress) -> Seen:
    """Follow the faces of a video, and look at them once more."""
    tracker, times, end = Tracker(), list[Fraction](), Fraction(0)
    for frame in media.read_frames(clip):
        times.append(frame.time)
        end = frame.time + frame.duration
        tracker.add(frame)
        progress("analyse", len(times), max(clip.frames, len(times)))
    people = tuple(Person(track) for track in tracker.finish())
    members, trust = look(clip, people, times, progress)
    return Seen(tuple(times), end, tuple(tracker.cuts), people, members, trust)


def analyse(
    clip: Clip, faces: str, progress: Progress, face: int | Path | None = None, speakers: Sequence[int] = ()
) -> Analysis:
    """Follow the faces of a video, and choose who is redrawn.

    Args:
        faces: ``largest``, ``all`` or ``speaking``, see `sidgan.dub`; nothing else chooses then.
        face: the number of a person, or a picture of one.
        speakers: the numbers of those who have voices of their own.

    Raises:
        NoFaceError: no face of the video can be redrawn.
        InputError: nobody is like that.
    """
    seen = survey(clip, progress)
    usable = {i: person for i, person in enumerate(seen.people) if person.candidates()}
    if not usable:
        found = "only small, turned or covered faces" if seen.people else "no face"
        raise NoFaceError(
            f"{found} found in {clip.path}; give a video with a face square of at least {MIN_SIDE} px, "
            f"turned by less than {MAX_YAW} degrees"
        )
    notes: tuple[str, ...] = ()
    if face is not None or speakers:
        numbers = speakers or [number_of(face, seen.members) if isinstance(face, Path) else int(face or 0)]
        by_frame = chosen(usable, seen.members, numbers, clip.path)
    elif faces == "speaking":
        by_frame, notes = speaking(list(usable.values()), seen.cuts, clip, seen.times)
    else:
        by_frame = redrawn(usable.values(), faces)
    return Analysis(**vars(seen), usable=tuple(usable.values()), by_frame=by_frame, notes=notes)
