"""What becomes of each frame of an output: known before the first is drawn, so that the mark can say it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from sidgan.types import Array, Float

FADE = 3  #: frames over which a redrawn mouth comes and goes next to frames that are left alone; not at cuts


@dataclass(frozen=True)
class Plan:
    """Whose mouth is redrawn in which frame.

    Attributes:
        seen: what is known of the video, and who was chosen.
        voices: what is said.
        timeline: which frame is shown when.
    """

    seen: Analysis
    voices: Voices
    timeline: Timeline
    _weights: dict[TrackedFace, tuple[Float, Float]] = field(default_factory=dict)

    def faces(self, shown: Showing) -> list[tuple[TrackedFace, float]] | str:
        """Who is redrawn in a frame, and the share of it that is used, above 0 to 1; or why nobody is."""
        people = self.seen.by_frame.get(shown.source, [])
        refusals = [person.refusal(shown.source) for person in people]
        willing = [p for p, refusal in zip(people, refusals, strict=True) if refusal is None]
        if not willing or shown.time >= self.timeline.voice:
            return next(iter(refusals), None) or ("voice is over" if willing else "no face")
        weights = [(person, self._weight(person, shown)) for person in willing]
        return [(person, weight) for person, weight in weights if weight > 0] or PAUSED

    def shots(self) -> Iterator[Shot]:
        """What becomes of each shot, person by person; where the video is shown again, its shots are listed again."""
        cuts = self.seen.cuts

        def shot_of(shown: Showing) -> tuple[int, int]:
            return bisect_right(cuts, shown.source), shown.index >= len(self.seen.times)

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
            self._weights[person] = fades(person, self.seen.cuts, len(self.seen.times)), opened(person)
        row = person.row(shown.source)
        share, open_ = (float(shares[row]) for shares in self._weights[person])
        if self.timeline.voice < self.seen.end:
            share = min(share, ending(self.timeline.voice - shown.time))
        return min(share, self.voices.of(self.seen.numbers[person]).moves(shown.time, open_))


def planned(seen: Analysis, sound: Path, settings: Settings) -> Plan:
    """Read the voices, and decide which frame is shown when and what becomes of it.

    Args:
        sound: what the voices sound like together.
        settings: with the speakers' voices.

    Raises:
        InputError: a voice has no sound, or cannot be read.
    """
    enough = seen.end + 1 if settings.length in ("cut", "keep") else None
    heard = voices(sound, settings.speakers, settings.silence, enough)
    return Plan(seen, heard, Timeline(seen.times, seen.end, heard.end, settings.length))


def fades(person: TrackedFace, cuts: tuple[int, ...], count: int) -> Float:
    """(N,) share of the redrawn mouth in each frame of a track: lower near frames of its shot that are left alone.

    Args:
        cuts: frames at which shots begin, but the first.
        count: frames of the video.
    """
    track = person.track
    alone = [row for row, index in enumerate(track.frames) if person.refusal(index) is not None]
    alone += [-1] * (track.first > 0 and track.first not in cuts)
    alone += [len(track)] * (track.frames.stop < count and track.frames.stop not in cuts)
    return _rising(len(track), alone)


def opened(person: TrackedFace) -> Float:
    """(N,) 1 where a filmed mouth is open, falling to 0 over the frames next to it in which it is shut."""
    return 1 - _rising(len(person.track), np.flatnonzero(mouth_opening(person.points) > SHUT))


def _rising(count: int, low: Sequence[int] | Array) -> Float:
    """(count,) 0 in the rows ``low``, some of which may lie outside, and 1 more than `FADE` rows away from them."""
    if not len(low):
        return np.ones(count, np.float32)
    rows, places = np.arange(count), np.sort(low)
    after = np.searchsorted(places, rows)
    near = np.minimum(
        np.abs(rows - places[np.minimum(after, len(places) - 1)]), np.abs(rows - places[np.maximum(after - 1, 0)])
    )
    return np.minimum(near / (FADE + 1), 1.0).astype(np.float32)
