"""The second pass in segments, which several processes may draw: each into a file of its own, in any order.

Each process loads and prepares everything itself, except for the first pass, which it reads from the journal's folder.
It ends when the process that started it is gone, for whatever reason.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import dataclass
from functools import partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import torch

from sidgan import executors, media
from sidgan.dubbing import journal
from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.journal import LENGTH, Journal, Record, surroundings
from sidgan.dubbing.plan import planned
from sidgan.dubbing.report import Clock, Progress, Spent
from sidgan.dubbing.settings import Settings
from sidgan.engine import Engine, Graph, load
from sidgan.errors import SidganError
from sidgan.executors import Executor
from sidgan.nn import Generator
from sidgan.portable import keep_memory, peak_memory
from sidgan.types import Clip, Frame

Made = tuple[Record, Spent]  #: a segment by another process
OnFrame = Callable[[Frame, Frame], None]  #: called with each frame as decoded and as it goes to the encoder


@dataclass(frozen=True)
class Part:
    """A segment to be made: its number, and its frames."""

    segment: int
    first: int
    stop: int


def parts(count: int) -> list[Part]:
    """``count`` frames in about equal segments of about `LENGTH`: a short last one may be too short for B-frames."""
    many = max(1, round(count / LENGTH))
    bounds = [count * i // many for i in range(many + 1)]
    return [Part(i, bounds[i], bounds[i + 1]) for i in range(many)]


@dataclass(frozen=True)
class Scheme:
    """How segments are encoded, and where to."""

    clip: Clip
    encoding: media.Encoding
    suffix: str
    folder: Path


def make(part: Part, drawing: Drawing, scheme: Scheme, clock: Clock, on_frame: OnFrame | None = None) -> Record:
    """Draw and encode a segment, and note it in the journal.

    Raises:
        InputError: the video cannot be read any more.
        OutputError: the segment cannot be written.
    """
    digests, path = list[int](), scheme.folder / f"{part.segment:05}.segment"
    with ExitStack() as stack:
        writer = stack.enter_context(media.SegmentWriter(path, scheme.clip, scheme.encoding, scheme.suffix))
        for before, after in stack.enter_context(closing(drawing.frames(part.first, part.stop))):
            if on_frame is not None:
                on_frame(before, after)
            with clock.stage("write"):
                writer.write(after)
                digests += [media.digest(after)] * scheme.encoding.lossless
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
class Studio:
    """All that a process needs to draw segments by itself.

    It makes its drawing from scratch; only the first pass is read from ``analysis``. See `sidgan.dub` for the rest.

    Attributes:
        sound: what the voices sound like together.
        analysis: file with the first pass.
        threads: of torch in each process; results may differ in single bits where their number differs.
        here: `sidgan.dubbing.journal.surroundings` of the process that began it.
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
        """Load the networks and the first pass, read the voices, and make ready to draw any segment."""
        model, how = self.model if isinstance(self.model, Generator) else load(self.model), self.settings
        plan = planned(Analysis.load(self.analysis), self.sound, how)
        engine, own = engine_of(model, how, self.batch), engines(self.own, how, self.batch)
        return Drawing(self.scheme.clip, plan, engine, own, clock, _silent, how.steady)


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that is told by the process that began this one."""


def engine_of(network: Generator | Graph, settings: Settings, batch: int) -> Engine:
    """An engine that moves mouths as strongly as the settings say; an exported network keeps its own emphasis.

    ``network`` itself is not changed: where its emphasis is another, a shallow copy that shares its weights is run.
    """
    if isinstance(network, Generator) and network.emphasis != (wanted := settings.emphasis * network.lively):
        network = copy(network)
        network.emphasis = wanted
    return Engine(network, settings.device, batch, kind=settings.engine)


def engines(own: Mapping[int, Generator], settings: Settings, batch: int) -> dict[int, Engine]:
    """An engine for each track, one for all tracks of the same network."""
    networks = {id(network): network for network in own.values()}
    ready = {i: engine_of(network, settings, batch) for i, network in networks.items()}
    return {track: ready[id(network)] for track, network in own.items()}


def complete(
    work: Journal, count: int, drawing: Drawing, studio: Studio, workers: int, clock: Clock, progress: Progress,
    on_frame: OnFrame | None, cluster: Executor | None = None,
) -> list[Record]:  # fmt: skip
    """Draw the segments of ``count`` frames that the journal lacks, here or in several processes; all of them in order.

    Args:
        cluster: machines that draw instead, all of which see the journal's folder.

    Raises:
        SidganError: as `make`, or a process was killed.
    """
    records = work.records()
    missing = [part for part in parts(count) if part.segment not in records]
    if missing and (cluster is not None or min(workers, len(missing)) > 1):
        done = count - sum(part.stop - part.first for part in missing)
        if cluster is not None:
            made = cluster(partial(_make_elsewhere, studio), missing)
        else:
            made = executors.local(min(workers, len(missing)), _begin, (studio,))(_make, missing)
        for record, spent in made:
            records[record.segment] = record
            done += record.stop - record.first
            clock.add(spent)
            progress("draw", done, count)
    else:
        for part in missing:
            records[part.segment] = make(part, drawing, studio.scheme, clock, on_frame)
    return [records[number] for number in sorted(records)]


class _Worker:
    def __init__(self, studio: Studio) -> None:
        torch.set_num_threads(studio.threads)
        keep_memory()
        self._studio, self._clock, self.folder = studio, Clock(), studio.scheme.folder
        self._drawing: Drawing | None = None
        self._told = 0.0  # seconds of processor time that went with earlier segments

    def __call__(self, part: Part) -> Made:
        if self._drawing is None:
            self._drawing = self._studio.drawing(self._clock)
        self._clock.seconds.clear()
        record, cpu = make(part, self._drawing, self._studio.scheme, self._clock), self._clock.cpu
        spent, self._told = cpu - self._told, cpu
        name = f"{socket.gethostname()} {os.getpid()}"
        return record, Spent(dict(self._clock.seconds), spent, name, peak_memory())


_worker: _Worker | None = None


def _begin(studio: Studio) -> None:
    global _worker  # noqa: PLW0603  a process of the pool has nowhere else to keep its networks
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who pressed Ctrl-C is told once, by the process that began this one
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _worker = _Worker(studio)


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(part: Part) -> Made:
    if _worker is None:
        raise RuntimeError("a worker was not begun")
    return _worker(part)


def _make_elsewhere(studio: Studio, part: Part) -> Made:
    """Draw a segment on a machine of a cluster, whose processes are kept from one to the next.

    Raises:
        SidganError: the machine is of another kind than the first, so that its bytes would be others.
    """
    global _worker  # noqa: PLW0603  as in `_begin`
    if _worker is None or _worker.folder != studio.scheme.folder:
        _worker = _Worker(studio)
        there = surroundings(studio.settings.engine, studio.settings.device)
        other = [name for name, value in studio.here.items() if there[name] != value]
        if other:
            _worker = None
            raise SidganError(
                f"{socket.gethostname()} differs from the machine that started this dub in {', '.join(other)}, so its "
                "frames would differ; use machines of the same kind"
            )
    return _worker(part)
