"""The first pass over a video: when its frames are shown, whose faces they hold, and who is redrawn where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from sidgan import media
from sidgan.dubbing.report import Progress
from sidgan.errors import NoFaceError
from sidgan.faces import Tracker
from sidgan.files import finished, writing
from sidgan.media.source import CUT_OFF
from sidgan.people import MAX_YAW, MIN_SIDE, Person, redrawn
from sidgan.types import Clip, FaceTrack

KEPT = ("visible", "landmarks", "matrices", "scores", "pose")  #: of each track, in the order of `FaceTrack`


@dataclass(frozen=True)
class Analysis:
    """What is known of a video before anything is drawn.

    Attributes:
        times: seconds at which its frames are shown.
        end: seconds at which the last of them is over.
        glances: of each of them, what `sidgan.media.glance` saw.
        damaged: (from, to) seconds of what could not be decoded; the picture before it is shown that long.
        people: every face track, the most prominent first.
        usable: those who can be redrawn somewhere.
        by_frame: {frame: those who may be redrawn in it}; see `Person.refusal` for whether they are.
    """

    times: tuple[Fraction, ...]
    end: Fraction
    glances: tuple[int, ...]
    damaged: tuple[tuple[float, float], ...]
    people: tuple[Person, ...]
    usable: tuple[Person, ...]
    by_frame: dict[int, list[Person]]

    @property
    def side(self) -> float:
        """Median side of the most prominent face's square, px."""
        return float(np.median(self.usable[0].sides))

    @classmethod
    def of(
        cls, tracks: Sequence[FaceTrack], faces: str, times: Sequence[Fraction], end: Fraction, glances: Sequence[int],
        damaged: Sequence[tuple[float, float]],
    ) -> Analysis:  # fmt: skip
        """What follows from the tracks and times of a video."""
        people = tuple(Person(track) for track in tracks)
        usable = tuple(person for person in people if person.candidates())
        return cls(tuple(times), end, tuple(glances), tuple(damaged), people, usable, redrawn(usable, faces))

    def save(self, file: Path) -> None:
        """Keep it, so that the video need not be searched again.

        Raises:
            OutputError: it cannot be written.
        """
        arrays = {f"{i}/{name}": getattr(person.track, name) for i, person in enumerate(self.people) for name in KEPT}
        arrays["first"] = np.array([person.track.first for person in self.people], np.int64)
        arrays["times"] = np.array([str(time) for time in (*self.times, self.end)])
        arrays["glances"], arrays["damaged"] = np.array(self.glances, np.uint32), np.array(self.damaged, np.float64)
        with finished(file) as part, writing(file), part.open("wb") as target:
            np.savez(target, **arrays)
            target.flush()
            os.fsync(target.fileno())

    @classmethod
    def load(cls, file: Path, faces: str) -> Analysis:
        """What `save` kept.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as kept:
                tracks = [
                    FaceTrack(int(first), *(kept[f"{i}/{name}"] for name in KEPT))
                    for i, first in enumerate(kept["first"])
                ]
                *times, end = (Fraction(str(time)) for time in kept["times"])
                damaged = [(float(first), float(last)) for first, last in kept["damaged"]]
                return cls.of(tracks, faces, times, end, kept["glances"].tolist(), damaged)
        except (KeyError, EOFError, BadZipFile) as error:
            raise ValueError(f"{file} is damaged") from error


def analyse(clip: Clip, faces: str, progress: Progress) -> Analysis:
    """Follow the faces of a video.

    Args:
        faces: ``largest`` or ``all``, see `sidgan.dub`.

    Raises:
        NoFaceError: no face of the video can be redrawn.
    """
    tracker, times, glances, damaged, end = Tracker(), list[Fraction](), list[int](), [], Fraction(0)
    for frame in media.read_frames(clip):
        if frame.gap:
            damaged.append((float(times[-1]) if times else 0.0, float(frame.time)))
        times.append(frame.time)
        glances.append(media.glance(frame))
        end = frame.time + frame.duration
        tracker.add(frame)
        progress("analyse", len(times), max(clip.frames, len(times)))
    if clip.tolerant and clip.duration - end > CUT_OFF:
        damaged.append((float(end), clip.duration))
    seen = Analysis.of(tracker.finish(), faces, times, end, glances, damaged)
    if not seen.usable:
        found = "only small or turned faces" if seen.people else "no face"
        raise NoFaceError(
            f"{found} found in {clip.path}; give a video with a face square of at least {MIN_SIDE} px, "
            f"turned by less than {MAX_YAW} degrees"
        )
    return seen
