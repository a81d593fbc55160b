"""Steps after drawing: verify the output and make the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from sidgan import media
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal, Record, joined
from sidgan.dubbing.plan import Plan
from sidgan.dubbing.report import Clock, DubReport, Progress
from sidgan.dubbing.review.looks import figures, stretches
from sidgan.dubbing.review.proof import Expected
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.silence import soundless
from sidgan.dubbing.voice import Voices
from sidgan.errors import SidganError
from sidgan.types import Clip

BRIEF = 0.1  #: seconds of a voice that may be cut, or of sound that may be missing, without a note
LONG = 1.0  #: seconds by which a video may outlast its voice without a note


def prove(expected: Expected, work: Journal, clock: Clock, show: Progress, file: Path) -> None:
    """Verify the output before it gets its final name; if wrong, remove the saved work and raise `SidganError`."""
    with clock.stage("verify"):
        problem = expected.problem(file, show)
    if problem:
        work.remove()
        raise SidganError(problem)


def lost(
    clip: Clip, given: Inputs, out: Path, plan: Plan, settings: Settings, own_end: Fraction, subtitles: Iterable[str]
) -> Iterator[str]:
    """Notes on what is missing from the output, on options without effect and on who can play it, one line each.

    They name files by their paths as given.
    """
    end, video, length = plan.timeline.voice, plan.seen.end, settings.length
    if length not in ("cut", "keep") and not plan.timeline.repeats and not clip.still:
        yield f"--length {length} had no effect: the voice is not longer than the video"
    if length == "keep" and abs(end - video) <= BRIEF:
        yield "--length keep had no effect: the voice is as long as the video"
    if length in ("cut", "keep") and end > video + BRIEF:
        yield "the voice is longer than the video and was cut; use --length hold, loop or pingpong to keep all of it"
    if length == "keep" and end + BRIEF < video and own_end < end + BRIEF:
        none = f"'s own sound ends at {float(own_end):.2f} s" if own_end else " has no sound of its own to keep"
        yield f"{clip.path}{none}: the result is silent after the voice"
    if length != "keep" and end + LONG < video:
        line = f"the voice ends at {float(end):.2f} s; the rest of the video is left as filmed"
        if settings.background is not None:
            yield f"{line}, with the background only"
        elif clip.audio_rate is None:
            yield f"{line}, in silence"
        else:
            yield f"{line}, in silence; use --length keep to keep its own sound there"
    yield from _silent(plan.voices)
    apart = len(given.heard) < len(given.voices)  # else the sound track holds all voices, and need not be read
    if apart and (heard := media.sound_span(given.heard[0]).end) + LONG < min(end, plan.timeline.end):
        yield (f"{given.heard[0]} ends at {float(heard):.2f} s, and a speaker's voice later: mouths move unheard after "
               "it; give a sound track that holds all voices")  # fmt: skip
    yield from reduced(given.voices, given.heard, media.channels(out))
    yield from (f"not copied from {clip.path}: {what}" for what in (*clip.besides, *subtitles))
    if clip.format.bits > 8 and settings.encoder.startswith(("x264", "libx264", "h264")):
        yield (f"the result is H.264 of {clip.format.bits} bits, as the video has {clip.format.bits}: many phones, "
               "browsers and televisions do not play that; use --encoder x265 for them")  # fmt: skip


def reduced(voices: Iterable[Path], heard: Iterable[Path], channels: int) -> Iterator[str]:
    """Notes on sound tracks of voices that are not used, and on ``heard`` voices with more channels than the output."""
    for voice in dict.fromkeys(voices):
        yield from (f"only the first sound track of {voice} is used; it has {more}" for more in media.unheard(voice))
    for voice in dict.fromkeys(heard):
        if (count := media.channels(voice)) > channels:
            yield (f"the {count} channels of {voice} are mixed to {channels}; only a WAV file of 16 or 24 bits "
                   "that is all of the sound of an .mkv or .mov output keeps more")  # fmt: skip


def _silent(voices: Voices) -> Iterator[str]:
    """A note on each voice that no mouth can follow."""
    named = {} if voices.common is None else {"the voice": voices.common}
    for name, voice in (named | {f"the voice of person {number}": own for number, own in voices.own.items()}).items():
        if soundless(voice.mel):
            yield f"{name}, mixed to one channel, is silent while the video lasts: no mouth follows it; check the file"


def reported(
    plan: Plan, records: Sequence[Record], clock: Clock, model: str, resumed: int, missing: Iterable[str]
) -> DubReport:
    """Make the report; ``missing`` are the lines of `lost`, ``resumed`` the number of frames of an earlier run."""
    done, seen = joined(records), plan.seen
    return DubReport(
        frames=len(plan.timeline), dubbed=done.dubbed, passed=tuple(done.passed),
        shots=tuple(plan.shots()), notes=(*seen.notes, *missing), damaged=seen.damaged,
        seconds={stage: round(s, 3) for stage, s in clock.seconds.items()},
        wall=round(clock.wall, 3), cpu=round(clock.cpu, 3), memory=round(clock.memory, 1),
        face_side=round(float(np.median(done.sides or [0])), 1), model=model,
        engine=", ".join(dict.fromkeys(record.engine for record in records if record.engine)),
        looks=tuple(stretches(done.looks, plan.timeline, done.passed, seen.cuts)), **figures(done.looks),
        resumed=resumed,
    )  # fmt: skip
