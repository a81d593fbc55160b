"""Reading an output back and comparing it with what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

from sidgan import media, provenance
from sidgan.dubbing.report import Progress
from sidgan.errors import InputError, MarkError
from sidgan.timeline import Timeline
from sidgan.types import Frame

ROUNDING = Fraction(1, 1000)  #: seconds; Matroska counts in milliseconds


@dataclass(frozen=True)
class Expected:
    """What an output is meant to be.

    Attributes:
        out: its name.
        video: what it was made from.
        timeline: its frames.
        digests: of the samples of each, if they must come back as they went into the encoder.
        said: when what is heard is heard, as far as the timeline goes.
        goes_on: the video's own sound is heard after the voice.
        mark: what it says about itself.
    """

    out: Path
    video: Path
    timeline: Timeline
    digests: Sequence[int]
    said: media.SoundSpan
    goes_on: bool
    mark: provenance.Mark

    def problem(self, file: Path, progress: Progress) -> str | None:
        """What is wrong with a file that is to become the output, and what to do, in words."""
        own = self.video if self.goes_on else None
        wrong = wrong_pictures(file, self.timeline, self.digests, progress)
        wrong = wrong or wrong_sound(file, self.said, self.timeline, own)
        if wrong:
            return f"{self.out} came out with {wrong}; convert {self.video} to mp4 and try again"
        with suppress(MarkError):
            if provenance.read(file) == self.mark:
                return None
        return f"{self.out} came out without its mark; try another container"


def wrong_pictures(out: Path, timeline: Timeline, digests: Sequence[int], progress: Progress) -> str | None:
    """What is wrong with the pictures of an output, in words.

    Every frame must be there at its time, and decode to the samples of its digest if there are any.
    """
    try:
        times = media.shown_times(out)
    except InputError:
        return "pictures that cannot be read back"
    if len(times) != len(timeline):
        return f"{len(times)} frames instead of {len(timeline)}"
    for shown, time in zip(timeline, times, strict=True):
        if abs(time - shown.time) > ROUNDING:
            return f"frame {shown.index} at {float(time):.3f} s instead of {float(shown.time):.3f} s"
    for place, (frame, meant) in enumerate(zip_longest(_frames(out) if digests else (), digests)):
        progress("verify", place + 1, len(timeline))
        if frame is None or media.digest(frame) != meant:
            return f"frame {place} not as it went into the encoder"
    return None


def _frames(out: Path) -> Iterator[Frame]:
    return media.read_frames(media.probe(out))


def wrong_sound(out: Path, said: media.SoundSpan, timeline: Timeline, own: Path | None) -> str | None:
    """What is wrong with the sound of an output, in words.

    It must begin and end within one packet of where it should: packets at its ends may hold silence or padding.

    Args:
        said: when the voice is heard, as far as the timeline goes.
        own: the video whose own sound goes on after the voice, if it does.
    """
    try:
        heard = media.sound_span(out)
    except InputError:
        return "sound that cannot be read back"
    ends = [said.end, timeline.voice] if own is None else [max(timeline.voice, media.sound_span(own).end)]
    first, last = (min(timeline.end, end) for end in (min(ends), max(ends)))
    slack = max(said.packet, heard.packet) + ROUNDING
    if not -slack <= heard.start <= said.start + slack or not first - slack <= heard.end <= last + slack:
        return (
            f"sound from {float(heard.start):.3f} to {float(heard.end):.3f} s instead of "
            f"{float(said.start):.3f} to {float(last):.3f} s"
        )
    return None
