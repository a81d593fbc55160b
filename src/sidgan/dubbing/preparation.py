"""Steps before drawing: check the inputs and the machines, run or load the first pass, plan the output's sound."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from sidgan import executors, media
from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal
from sidgan.dubbing.plan import Plan
from sidgan.dubbing.settings import Background, Settings
from sidgan.engine import check_engine
from sidgan.errors import InputError
from sidgan.executors import Executor
from sidgan.provenance.credentials import Credentials
from sidgan.settings import require
from sidgan.timeline import Length
from sidgan.types import Clip


def check(
    video: Path,
    audio: Path,
    out: Path,
    sign: Credentials | None = None,
    *,
    encoder: str = "x264",
    lossless: bool = False,
    engine: str = "torch",
    device: str = "auto",
    background: Background | None = None,
) -> None:
    """Raise the errors that `dub` would raise about files and tools, before minutes of adaptation or separation."""

    class Enough(Exception):  # noqa: N818  leaving the writer by an exception makes it clean up and want no frames
        pass

    check_engine(engine, device)
    if background == "original":
        if media.probe(video).audio_rate is None:
            raise InputError(f"{video} has no sound of its own for the background; leave the background out")
        media.require_separator()
    encoding = media.Encoding(encoder, lossless=lossless)
    with suppress(Enough), Journal(out):
        draft = out if sign is None else sign.draft(out)
        with media.Writer(draft, media.probe(video), audio=audio, encoding=encoding):
            raise Enough


def cluster_of(ray: str | None, workers: int, audio: Path | None, out: Path) -> Executor | None:
    """Connect to the Ray cluster that draws, before minutes of other work; ``None`` without ``ray``."""
    require(workers > 0, f"workers must be positive, not {workers}")
    if ray is None:
        return None
    require(audio is not None, "give a sound track: other machines cannot read a mix that is made on this one")
    return executors.on_ray(ray, out.parent, workers)


def given_files(video: Path, audio: Path | None, out: Path, sign: Credentials | None, settings: Settings) -> Inputs:
    """The input files of a dub; before a separation, which takes minutes, they are checked completely."""
    given = Inputs(video, audio, settings.speakers, out, settings.background)
    if settings.background == "original":
        check(
            given.video, given.voices[0], out, sign, encoder=settings.encoder, lossless=settings.lossless,
            background=settings.background,
        )  # fmt: skip
    return given


def first_pass(work: Journal, find: Callable[[], Analysis]) -> Analysis:
    """Load the analysis of an earlier run, or make one with ``find`` and save it."""
    if work.analysis.exists():
        with suppress(ValueError):
            return Analysis.load(work.analysis)
    seen = find()
    seen.save(work.analysis)
    return seen


@dataclass(frozen=True)
class Heard:
    """The sound of an output.

    Attributes:
        said: when the sound track starts and ends.
        own_end: seconds at which the video's own sound ends, with length ``keep``; 0 where there is none, and with
            other lengths.
        goes_on: whether the video's own sound continues after the voice.
    """

    said: media.SoundSpan
    own_end: Fraction
    goes_on: bool


def heard(sound: Path, clip: Clip, plan: Plan, length: Length) -> Heard:
    """Determine when the sound track is heard, and whether the clip's own sound continues after it.

    Raises:
        InputError: the sound track begins after the last frame of the output.
    """
    said, timeline = media.sound_span(sound), plan.timeline
    if said.start >= timeline.end:
        raise InputError(
            f"the sound of {sound} starts at {float(said.start):.2f} s, after the end of the video; give one that "
            "starts earlier, or use --length hold, loop or pingpong"
        )
    kept = length == "keep" and clip.audio_rate is not None
    own_end = media.sound_span(clip.path).end if kept else Fraction(0)
    return Heard(said, own_end, timeline.voice < min(own_end, plan.seen.end))
