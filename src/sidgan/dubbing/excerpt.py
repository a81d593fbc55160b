"""Dub a few frames of a video, drawn as in a dub of all of it, for a preview."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from sidgan import media, provenance
from sidgan.dubbing.analysis import Analysis, analyse
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.plan import planned
from sidgan.dubbing.report import Clock, Progress
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.weights import Weights
from sidgan.engine import Engine
from sidgan.errors import InputError
from sidgan.types import Clip

FILMED = 12  #: constant quality of an excerpt as filmed; better than a dub's, since its source was encoded before


@dataclass(frozen=True)
class Excerpt:
    """What was done to some frames of a video: how many there are, how many of them redrawn, and notes for the user."""

    frames: int
    dubbed: int
    notes: tuple[str, ...]


def write_excerpt(
    engine: Engine, weights: Weights, settings: Settings, clip: Clip, voice: Path, sound: Path, frames: range,
    before: Path, after: Path, found: Analysis, progress: Progress,
) -> Excerpt:  # fmt: skip
    """Write some frames of ``clip`` as filmed and as dubbed; see `sidgan.dubbing.Dubber.excerpt`."""
    settings = settings.fitting(clip)
    seen = analyse(clip, settings.faces, progress, settings.face, list(settings.speakers), found)
    plan = planned(seen, voice, settings)
    shown = list(islice(plan.timeline, frames.start, frames.stop))
    here = {one.source: seen.by_frame[one.source] for one in shown if one.source in seen.by_frame}
    if not here:
        raise InputError("nobody who has a voice is visible at this moment; choose another moment")
    rehearse(clip, replace(seen, by_frame=here), engine, {})

    def drawn(stage: str, done: int, total: int) -> None:
        progress(stage, done - frames.start, len(frames))

    drawing = Drawing(clip, plan, engine, {}, Clock(), drawn, settings.steady)
    begin, end = shown[0].time, shown[-1].time + shown[-1].duration
    spans = [(first - begin, last - begin) for first, last in drawing.edited() if begin <= first < end]
    voices = [provenance.digest_of(file) for file in dict.fromkeys((voice, *settings.speakers.values()))]
    mark = provenance.Mark(
        model=weights.name, weights=weights.digest, source=provenance.digest_of(clip.path), voice=voices[0],
        voices=tuple(voices[1:]), edited=provenance.Stretches.of(spans),
    )  # fmt: skip
    part = replace(clip, origin=clip.start + seen.times[shown[0].source])  # so that its first frame is shown at 0
    with (
        media.Writer(before, part, encoding=media.Encoding(crf=FILMED)) as filmed,
        media.Writer(after, part, audio=sound, encoding=settings.encoding) as dubbed,
        closing(drawing.batches(frames.start, frames.stop)) as batches,
    ):
        dubbed.tags = mark.tags()
        for decoded, edited in chain.from_iterable(batches):
            filmed.write(decoded)
            dubbed.write(edited)
    return Excerpt(len(shown), drawing.done.dubbed, seen.notes)
