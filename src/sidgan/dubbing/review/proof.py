"""Verify an output: read it back, and compare frames, timestamps, sound and mark with what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

from sidgan import media, provenance
from sidgan.dubbing.report import Progress
from sidgan.errors import InputError, MarkError
from sidgan.timeline import Timeline

ROUNDING = Fraction(1, 1000)  #: seconds; Matroska timestamps are in milliseconds


@dataclass(frozen=True)
class Expected:
    """What an output is expected to contain.

    Attributes:
        out: its final name.
        video: the source video.
        timeline: its frames and timestamps.
        digests: digest of each frame before encoding; empty unless the encoding is lossless.
        said: when the sound track starts and ends; the output may end earlier.
        goes_on: whether the video's own sound continues after the voice.
        mark: its provenance mark.
    """

    out: Path
    video: Path
    timeline: Timeline
    digests: Sequence[int]
    said: media.SoundSpan
    goes_on: bool
    mark: provenance.Mark

    def problem(self, file: Path, progress: Progress) -> str | None:
        """What is wrong with the finished output, still named ``file``, and what to do; ``None`` if it is fine."""
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
    """What is wrong with the frames of an output, in words; ``None`` if they are fine.

    Every frame must exist with its timestamp, and must match its digest if ``digests`` is not empty.
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
    frames = media.read_frames(media.probe(out)) if digests else ()
    for place, (frame, digest) in enumerate(zip_longest(frames, digests)):
        progress("verify", place + 1, len(timeline))
        if frame is None or media.digest(frame) != digest:
            return f"frame {place} not as it went into the encoder"
    return None


def wrong_sound(out: Path, said: media.SoundSpan, timeline: Timeline, own: Path | None) -> str | None:
    """What is wrong with the sound of an output, in words; ``None`` if it is fine.

    It must begin and end within one packet of the expected times: packets at its ends may hold silence or padding.

    Args:
        said: when the sound track starts and ends; the output may end earlier.
        own: the video whose own sound continues after the voice, if it does.
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
