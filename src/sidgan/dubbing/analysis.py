"""The first pass over a video: when its frames are shown, whose faces they hold, and who is redrawn where."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan import media
from sidgan.dubbing.report import Progress
from sidgan.errors import NoFaceError
from sidgan.faces import Tracker
from sidgan.people import MAX_YAW, MIN_SIDE, Person, redrawn
from sidgan.types import Clip


@dataclass(frozen=True)
class Analysis:
    """What is known of a video before anything is drawn.

    Attributes:
        times: seconds at which its frames are shown.
        end: seconds at which the last of them is over.
        people: every face track, the most prominent first.
        usable: those who can be redrawn somewhere.
        by_frame: {frame: those who may be redrawn in it}; see `Person.refusal` for whether they are.
    """

    times: tuple[Fraction, ...]
    end: Fraction
    people: tuple[Person, ...]
    usable: tuple[Person, ...]
    by_frame: dict[int, list[Person]]

    @property
    def side(self) -> float:
        """Median side of the most prominent face's square, px."""
        return float(np.median(self.usable[0].sides))


def analyse(clip: Clip, faces: str, progress: Progress) -> Analysis:
    """Follow the faces of a video.

    Args:
        faces: ``largest`` or ``all``, see `sidgan.dub`.

    Raises:
        NoFaceError: no face of the video can be redrawn.
    """
    tracker, times, end = Tracker(), list[Fraction](), Fraction(0)
    for frame in media.read_frames(clip):
        times.append(frame.time)
        end = frame.time + frame.duration
        tracker.add(frame)
        progress("analyse", len(times), max(clip.frames, len(times)))
    people = tuple(Person(track) for track in tracker.finish())
    usable = tuple(person for person in people if person.candidates())
    if not usable:
        found = "only small or turned faces" if people else "no face"
        raise NoFaceError(
            f"{found} found in {clip.path}; give a video with a face square of at least {MIN_SIDE} px, "
            f"turned by less than {MAX_YAW} degrees"
        )
    return Analysis(tuple(times), end, people, usable, redrawn(usable, faces))
