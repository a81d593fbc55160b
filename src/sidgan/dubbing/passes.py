"""One dub: its three passes, the saved work of an earlier run, the mark and the signature, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from sidgan import checkpoint, media, provenance
from sidgan.dubbing.analysis import Analysis, Find, analyse
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.conclusion import lost, prove, reported
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal, Record, surroundings, work_folder
from sidgan.dubbing.kept import settings_digest
from sidgan.dubbing.plan import Plan, planned
from sidgan.dubbing.preparation import first_pass, heard
from sidgan.dubbing.report import Clock, DubReport, Progress
from sidgan.dubbing.review.proof import Expected
from sidgan.dubbing.segments import OnFrame, Scheme, WorkerSetup, complete
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.weights import Weights
from sidgan.engine import Engine
from sidgan.executors import Executor
from sidgan.files import ending
from sidgan.nn import Generator
from sidgan.provenance.credentials import Credentials
from sidgan.timeline import Timeline
from sidgan.types import Clip


@dataclass(frozen=True)
class Request:
    """The validated arguments of one call of `sidgan.dub`.

    Attributes:
        engine, weights: the loaded model.
        given: the input files.
        clip: the probed video.
        own, ready: networks for single faces and their engines, by track number.
        cluster: the machines that draw; ``None`` where this one does.
        show: called with progress, see `sidgan.dub`.
        find: see `sidgan.dubbing.Dubber.dub`.
    """

    engine: Engine
    weights: Weights
    given: Inputs
    clip: Clip
    out: Path
    settings: Settings
    own: Mapping[int, Generator]
    ready: Mapping[int, Engine]
    sign: Credentials | None
    workers: int
    cluster: Executor | None
    on_frame: OnFrame | None
    show: Progress
    tell: Callable[[str], None] | None
    find: Find | None
    clock: Clock


@dataclass(frozen=True)
class _Written:
    """What was written, for the report.

    Attributes:
        plan: what was to happen to each frame.
        records: what was done, segment by segment.
        mark: the provenance mark in the output.
        own_end: see `sidgan.dubbing.preparation.Heard`.
        left: parts of the video that could not be copied to the output, one line each.
    """

    plan: Plan
    records: Sequence[Record]
    mark: provenance.Mark
    own_end: Fraction
    left: Sequence[str]


def dubbed(request: Request) -> DubReport:
    """Dub one video: write, verify and sign its output, and remove the saved work."""
    given, out, sign, clock = request.given, request.out, request.sign, request.clock
    with ExitStack() as stack:
        work = stack.enter_context(Journal(out))
        with clock.stage("listen"):
            kept = work_folder(out) / "separated"
            stack.enter_context(given.mixed(kept, request.settings.device, request.show, request.tell))
        draft = out
        if sign is not None:
            draft = sign.draft(out)
            stack.callback(draft.unlink, missing_ok=True)
        written = _write_output(request, work, draft)
        if sign is not None:
            with clock.stage("sign"):
                sign.sign(draft, out, given.video, written.mark.to_dict(), written.mark.edited.spans)
        work.remove()
    label = request.weights.label
    return reported(
        written.plan, written.records, clock, f"{label}, adapted" if request.own else label, work.resumed,
        lost(request.clip, given, out, written.plan, request.settings, written.own_end, written.left),
    )  # fmt: skip


def _write_output(request: Request, work: Journal, draft: Path) -> _Written:
    """Write and verify the output, not signed yet, at ``draft``."""
    given, clip, settings, clock = request.given, request.clip, request.settings, request.clock
    # The writer is opened first, so that an unusable output or voice raises before minutes of work.
    with media.Writer(draft, clip, audio=given.sound, encoding=settings.encoding, named=True) as writer:
        with clock.stage("mark"):
            inputs = _inputs(request)
            here = surroundings(settings.engine, settings.device)
        work.open(inputs | settings.noted() | here, request.tell)
        plan = _planned(request, work)
        sound = heard(given.sound, clip, plan, settings.length)
        if sound.goes_on:
            writer.go_on_with_own_sound()
        drawing = Drawing(clip, plan, request.engine, request.ready, clock, request.show, settings.steady)
        with clock.stage("mark"):
            mark = _mark(request, inputs, drawing, plan.timeline)
        records = _draw_segments(request, work, drawing, len(plan.timeline), here)
        writer.tags = mark.tags()
        digests = [*chain(*(record.digests for record in records))]
        expected = Expected(request.out, given.video, plan.timeline, digests, sound.said, sound.goes_on, mark)
        writer.prove = partial(prove, expected, work, clock, request.show)
        with clock.stage("write"):
            parts = [media.Segment(work.segment(record.segment)) for record in records]
            writer.join(parts, subtitles=plan.seen.end)
    return _Written(plan, records, mark, sound.own_end, writer.left())


def _planned(request: Request, work: Journal) -> Plan:
    """Run the first pass, or load it from an earlier run, and plan what happens to each frame."""
    settings = request.settings

    def find() -> Analysis:
        clip, show = request.clip, request.show
        found = None if request.find is None else request.find(clip, show)
        seen = analyse(clip, settings.faces, show, settings.face, list(settings.speakers), found)
        rehearse(clip, seen, request.engine, request.ready)
        return seen

    with request.clock.stage("analyse"):
        seen = first_pass(work, find)
    with request.clock.stage("listen"):
        return planned(seen, request.given.voice, settings)


def _draw_segments(
    request: Request, work: Journal, drawing: Drawing, count: int, here: Mapping[str, Any]
) -> list[Record]:
    """Draw the segments that an earlier run did not, and return the records of all ``count`` frames in order."""
    setup = WorkerSetup(
        Scheme(request.clip, request.settings.encoding, ending(request.out), work.folder), work.analysis,
        request.given.voice, request.settings, request.weights.source, request.own, request.engine.batch,
        torch.get_num_threads(), here,
    )  # fmt: skip
    return complete(
        work, count, drawing, setup, request.workers, request.clock, request.show, request.on_frame, request.cluster
    )  # fmt: skip


def _inputs(request: Request) -> dict[str, Any]:
    """Digests of everything the output depends on: files, weights and adapted networks."""
    networks = {id(network): checkpoint.digest(network.state_dict()) for network in request.own.values()}
    return request.given.digests(request.settings.face) | {
        "model": request.weights.digest,
        "adapted": {str(track): networks[id(network)] for track, network in request.own.items()},
    }  # fmt: skip


def _mark(request: Request, inputs: Mapping[str, Any], drawing: Drawing, timeline: Timeline) -> provenance.Mark:
    earlier = provenance.earlier(request.clip.path, request.clip.duration)
    again = [timeline.repeated] if earlier and timeline.repeats else []
    return provenance.Mark(
        model=request.weights.name, weights=request.weights.digest, source=inputs["video"], voice=inputs["voice"][0],
        voices=tuple(inputs["voice"][1:]), edited=provenance.Stretches.of(drawing.edited()),
        adapted=tuple(sorted(set(inputs["adapted"].values()))),
        earlier=provenance.Stretches.of([*earlier.spans, *again], earlier.left_out), signed=request.sign is not None,
        settings=settings_digest(request.settings, inputs, request.sign),
    )  # fmt: skip
