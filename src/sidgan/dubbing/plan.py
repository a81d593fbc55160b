"""Which faces are redrawn in which frame of the output, decided before drawing, so that the mark can state it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby
from pathlib import Path

import numpy as np

from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.report import Shot
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.silence import PAUSED
from sidgan.dubbing.voice import Voices, ending, voices
from sidgan.geometry import mouth_opening
from sidgan.people import SHUT, TrackedFace
from sidgan.timeline import Showing, Timeline
from sidgan.types import Float

Times = Sequence[Fraction] | Mapping[int, Fraction]  #: seconds by the index of a frame
FADE = 0.16  #: seconds from a frame left as filmed to the first one with a fully opaque redrawn mouth; not at cuts


@dataclass(frozen=True)
class Plan:
    """Whose mouth is redrawn in which frame.

    Attributes:
        seen: result of the first pass, including who was chosen.
        voices: the voice of each person.
        timeline: which frame of the video is shown when in the output.
    """

    seen: Analysis
    voices: Voices
    timeline: Timeline
    _weights: dict[TrackedFace, tuple[Float, Float]] = field(default_factory=dict)

    def faces(self, shown: Showing) -> list[tuple[TrackedFace, float]] | str:
        """Who is redrawn in a frame of the output, each with the opacity of the drawn mouth in (0, 1].

        Where nobody is, the reason in words.
        """
        people = self.seen.by_frame.get(shown.source, [])
        refusals = [person.refusal(shown.source) for person in people]
        usable = [p for p, refusal in zip(people, refusals, strict=True) if refusal is None]
        if not usable:
            return next(iter(refusals), None) or "no face"
        if shown.time >= self.timeline.voice:
            return "voice is over"
        weights = [(person, self._weight(person, shown)) for person in usable]
        return [(person, weight) for person, weight in weights if weight > 0] or PAUSED

    def shots(self) -> Iterator[Shot]:
        """Each shot once per person in it; where the video is played again, its shots are listed again."""
        cuts, once = self.seen.cuts, len(self.seen.times)

        def shot_of(shown: Showing) -> tuple[int, int]:
            return bisect_right(cuts, shown.source), self.timeline.rewinds and shown.index >= once

        for (_, _), group in groupby(self.timeline, shot_of):
            yield from self._shot(list(group))

    def _shot(self, frames: list[Showing]) -> Iterator[Shot]:
        last = frames[-1]
        span = frames[0].index, last.index, round(float(frames[0].time), 3), round(float(last.time + last.duration), 3)
        redrawn: dict[int, int] = {}
        confidences: dict[int, list[float]] = {}
        for shown in frames:
            found = self.faces(shown)
            drawn = [] if isinstance(found, str) else [person for person, _ in found]
            for person in self.seen.by_frame.get(shown.source, []):
                number = self.seen.numbers[person]
                sure = self.seen.trust[person].confidence[person.row(shown.source)]
                confidences.setdefault(number, []).append(float(sure))
                redrawn[number] = redrawn.get(number, 0) + (person in drawn)
        for number in sorted(confidences):
            yield Shot(*span, number, round(float(np.mean(confidences[number])), 3), redrawn[number])
        if not confidences:
            yield Shot(*span, None, 0.0, 0)

    def _weight(self, person: TrackedFace, shown: Showing) -> float:
        if person not in self._weights:
            times = self.seen.times
            self._weights[person] = fades(person, self.seen.cuts, times, len(times)), opened(person, times)
        row = person.row(shown.source)
        opacity, open_ = (float(values[row]) for values in self._weights[person])
        if self.timeline.voice < self.seen.end:
            opacity = min(opacity, ending(self.timeline.voice - shown.time))
        return min(opacity, self.voices.of(self.seen.numbers[person]).moves(shown.time, open_))


def planned(seen: Analysis, sound: Path, settings: Settings) -> Plan:
    """Read the voices, and plan the timeline of the output and who is redrawn in it.

    Args:
        seen: result of the first pass.
        sound: file with all voices mixed.
        settings: of the dub; ``speakers`` are the files of the single voices.

    Raises:
        InputError: a voice has no sound, or cannot be read.
    """
    enough = seen.end + 1 if settings.length in ("cut", "keep") else None
    heard = voices(sound, settings.speakers, settings.silence, enough)
    return Plan(seen, heard, Timeline(seen.times, seen.end, heard.end, settings.length))


def fades(person: TrackedFace, cuts: Sequence[int], times: Times, count: int) -> Float:
    """(N,) opacity of the redrawn mouth in each frame of a track, fading towards frames that are left as filmed.

    The ends of a track count as such frames, except at cuts and at the ends of the video.

    Args:
        cuts: first frames of all shots except the first.
        times: seconds at which frames are shown.
        count: frames in the video.
    """
    frames = person.track.frames
    kept = [index for index in frames if person.refusal(index) is not None]
    kept += [frames.start - 1] * (frames.start > 0 and frames.start not in cuts)
    kept += [frames.stop] * (frames.stop < count and frames.stop not in cuts)
    return _fade_around(kept, frames, times)


def opened(person: TrackedFace, times: Times) -> Float:
    """(N,) 1 where the filmed mouth is open, fading to 0 over the neighbouring frames in which it is shut.

    Args:
        times: seconds at which frames are shown.
    """
    frames, open_ = person.track.frames, mouth_opening(person.points) > SHUT
    return 1 - _fade_around([frames[row] for row in np.flatnonzero(open_)], frames, times)


def _fade_around(low: Sequence[int], frames: range, times: Times) -> Float:
    """(N,) 0 in the frames ``low``, rising linearly to 1 in those of ``frames`` that are `FADE` away from them."""
    if not low:
        return np.ones(len(frames), np.float32)
    shown, places = (np.array([float(times[index]) for index in some]) for some in (frames, sorted(low)))
    after = np.searchsorted(places, shown)
    near = np.minimum(
        np.abs(shown - places[np.minimum(after, len(places) - 1)]), np.abs(shown - places[np.maximum(after - 1, 0)])
    )
    return np.minimum(near / FADE, 1.0).astype(np.float32)
