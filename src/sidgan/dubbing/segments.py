"""Draw and encode the second pass in segments, one file each, which worker processes may make in any order.

Each worker loads the networks and voices itself, and reads the result of the first pass from the journal's folder. It
exits when its parent process ends, for whatever reason.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sidgan import executors, media
from sidgan.ahead import meanwhile
from sidgan.dubbing import journal
from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.journal import LENGTH, Journal, Record, surroundings
from sidgan.dubbing.plan import planned
from sidgan.dubbing.report import Clock, Progress, Spent, no_progress
from sidgan.dubbing.settings import Settings
from sidgan.engine import Engine, Graph, load
from sidgan.errors import SidganError
from sidgan.executors import Executor
from sidgan.nn import Generator
from sidgan.portable import keep_memory, peak_memory
from sidgan.types import Clip, Frame

Made = tuple[Record, Spent]  #: a segment made by a worker, and what it cost
OnFrame = Callable[[Frame, Frame], None]  #: called with each frame as decoded and as it goes to the encoder


@dataclass(frozen=True)
class Part:
    """A segment to make: its number, and its frames ``first`` to ``stop - 1``."""

    segment: int
    first: int
    stop: int


def parts(count: int) -> list[Part]:
    """Split ``count`` frames into equal segments of about `LENGTH`: a short last one may be too short for B-frames."""
    many = max(1, round(count / LENGTH))
    bounds = [count * i // many for i in range(many + 1)]
    return [Part(i, bounds[i], bounds[i + 1]) for i in range(many)]


@dataclass(frozen=True)
class Scheme:
    """How segments are encoded, and the folder to which they are written; ``suffix`` is that of the output."""

    clip: Clip
    encoding: media.Encoding
    suffix: str
    folder: Path


def make(part: Part, drawing: Drawing, scheme: Scheme, clock: Clock, on_frame: OnFrame | None = None) -> Record:
    """Draw and encode a segment, and add it to the journal.

    Raises:
        InputError: the video can no longer be read.
        OutputError: the segment cannot be written.
    """
    digests, path = list[int](), scheme.folder / f"{part.segment:05}.segment"

    def encode(frames: list[tuple[Frame, Frame]]) -> list[tuple[Frame, Frame]]:
        """Encode a batch, and return it if it is to be shown; else each frame is freed as soon as it is encoded."""
        shown = frames.copy() if on_frame is not None else []
        with clock.stage("write"):
            while frames:
                _, after = frames.pop(0)
                writer.write(after)
                if scheme.encoding.lossless:
                    digests.append(media.digest(after))
        return shown

    with ExitStack() as stack:
        writer = stack.enter_context(media.SegmentWriter(path, scheme.clip, scheme.encoding, scheme.suffix))
        drawn = stack.enter_context(closing(drawing.batches(part.first, part.stop, filmed=on_frame is not None)))
        for frames in stack.enter_context(closing(meanwhile(encode, drawn))):
            if on_frame is not None:
                for before, after in frames:
                    on_frame(before, after)
        with clock.stage("write"):
            stack.close()
    done = drawing.done
    record = Record(
        part.segment, part.first, part.stop, done.dubbed, tuple(done.passed), tuple(done.sides), tuple(done.looks),
        tuple(digests), drawing.used,
    )  # fmt: skip
    journal.add(scheme.folder, record)
    return record


@dataclass(frozen=True)
class WorkerSetup:
    """Everything that a worker process needs to draw segments. It is sent to workers, so it must be picklable.

    Attributes:
        analysis: file with the result of the first pass.
        sound: file with all voices mixed.
        model, own: see `sidgan.dub`.
        batch: faces that the network draws at a time.
        threads: torch threads per process; another number may change single bits of the result.
        here: `sidgan.dubbing.journal.surroundings` of the parent process.
    """

    scheme: Scheme
    analysis: Path
    sound: Path
    settings: Settings
    model: Path | str | Generator
    own: Mapping[int, Generator]
    batch: int
    threads: int
    here: Mapping[str, Any]

    def drawing(self, clock: Clock) -> Drawing:
        """Load the networks and the first pass, read the voices, and prepare to draw any segment."""
        model, settings = self.model if isinstance(self.model, Generator) else load(self.model), self.settings
        plan = planned(Analysis.load(self.analysis), self.sound, settings)
        engine, own = engine_of(model, settings, self.batch), engines(self.own, settings, self.batch)
        return Drawing(self.scheme.clip, plan, engine, own, clock, no_progress, settings.steady)


def engine_of(network: Generator | Graph, settings: Settings, batch: int) -> Engine:
    """An engine with the emphasis of the settings; an exported network keeps its own emphasis.

    ``network`` itself is not changed: if its emphasis differs, the engine runs a shallow copy that shares its weights.
    """
    if isinstance(network, Generator) and network.emphasis != (wanted := settings.emphasis * network.lively):
        network = copy(network)
        network.emphasis = wanted
    return Engine(network, settings.device, batch, kind=settings.engine)


def engines(own: Mapping[int, Generator], settings: Settings, batch: int) -> dict[int, Engine]:
    """Engines by track number; tracks with the same network share one engine."""
    networks = {id(network): network for network in own.values()}
    ready = {i: engine_of(network, settings, batch) for i, network in networks.items()}
    return {track: ready[id(network)] for track, network in own.items()}


def complete(
    work: Journal, count: int, drawing: Drawing, setup: WorkerSetup, workers: int, clock: Clock, progress: Progress,
    on_frame: OnFrame | None, cluster: Executor | None = None,
) -> list[Record]:  # fmt: skip
    """Draw the segments that the journal lacks, in this process or in workers; the records of all, in order.

    Args:
        count: frames of the output.
        cluster: machines that draw instead; all must share the journal's folder.

    Raises:
        SidganError: as `make`, or a worker was killed.
    """
    records = work.records()
    missing = [part for part in parts(count) if part.segment not in records]
    if missing and (cluster is not None or min(workers, len(missing)) > 1):
        done = count - sum(part.stop - part.first for part in missing)
        if cluster is not None:
            made = cluster(partial(_make_elsewhere, setup), missing)
        else:
            made = executors.local(min(workers, len(missing)), _initialise, (setup,))(_make, missing)
        for record, spent in made:
            records[record.segment] = record
            done += record.stop - record.first
            clock.add(spent)
            progress("draw", done, count)
    else:
        for part in missing:
            records[part.segment] = make(part, drawing, setup.scheme, clock, on_frame)
    return [records[number] for number in sorted(records)]


class _Worker:
    """The state that a worker process keeps between segments: its loaded networks and its clock."""

    def __init__(self, setup: WorkerSetup) -> None:
        torch.set_num_threads(setup.threads)
        keep_memory()
        self._setup, self._clock, self.folder = setup, Clock(), setup.scheme.folder
        self._drawing: Drawing | None = None
        self._cpu_before = 0.0  # seconds of processor time used up to the end of the last segment

    def __call__(self, part: Part) -> Made:
        if self._drawing is None:
            self._drawing = self._setup.drawing(self._clock)
        self._clock.seconds.clear()
        record, cpu = make(part, self._drawing, self._setup.scheme, self._clock), self._clock.cpu
        spent, self._cpu_before = cpu - self._cpu_before, cpu
        name = f"{socket.gethostname()} {os.getpid()}"
        return record, Spent(dict(self._clock.seconds), spent, name, peak_memory())


_worker: _Worker | None = None


def _initialise(setup: WorkerSetup) -> None:
    global _worker  # noqa: PLW0603  a pool process has no other place to keep its networks
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # on Ctrl-C, only the parent process prints a message
    _worker = _Worker(setup)


def _make(part: Part) -> Made:
    if _worker is None:
        raise RuntimeError("the worker process was not initialised")
    return _worker(part)


def _make_elsewhere(setup: WorkerSetup, part: Part) -> Made:
    """Draw a segment on a machine of a cluster; its processes keep their worker for further segments.

    Raises:
        SidganError: the machine differs from the first one, so its bytes would differ.
    """
    global _worker  # noqa: PLW0603  as in `_initialise`
    if _worker is None or _worker.folder != setup.scheme.folder:
        _worker = _Worker(setup)
        there = surroundings(setup.settings.engine, setup.settings.device)
        other = [name for name, value in setup.here.items() if there[name] != value]
        if other:
            _worker = None
            raise SidganError(
                f"{socket.gethostname()} differs from the machine that started this dub in {', '.join(other)}, so its "
                "frames would differ; use machines of the same kind"
            )
    return _worker(part)
