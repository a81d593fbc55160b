"""The report of a dub: what was done to each frame, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sidgan.dubbing.review.looks import Look
from sidgan.portable import peak_memory

Progress = Callable[[str, int, int], None]  #: called with stage, frames done, frames in total (an estimate at first)


def no_progress(stage: str, done: int, total: int) -> None:
    """A `Progress` that does nothing."""


@dataclass(frozen=True)
class Shot:
    """One person in one shot.

    Attributes:
        first, last: frames of the output, both included.
        start, end: seconds of the output.
        person: number of the person who was to be redrawn; ``None`` where there was nobody.
        confidence: confidence that the mouth was located correctly, mean over the frames, 0 to 1.
        dubbed: number of frames with their mouth redrawn.
    """

    first: int
    last: int
    start: float
    end: float
    person: int | None
    confidence: float
    dubbed: int


@dataclass(frozen=True)
class DubReport:
    """What was done to a video.

    Attributes:
        frames: number of frames in the output, including those repeated for a longer voice.
        dubbed: number of frames with a redrawn mouth.
        passed: (first, last, reason) of runs of frames that were left as filmed.
        damaged: (from, to) seconds of the video that could not be decoded; the frame before is shown that long.
        shots: who was redrawn, shot by shot.
        notes: what a user should know about the choice of people, and which parts of the inputs are missing from the
            output; one line each.
        seconds: wall seconds by stage in this run. Stages overlap and several workers are summed, so the total may
            exceed ``wall``.
        wall, cpu: seconds of wall time and of processor time, the latter including workers.
        memory: peak memory in MiB, summed over this process and the workers.
        face_side: median side of the redrawn face squares, px in the source.
        model: which weights were used.
        engine: what ran them, and in which precision.
        looks: image quality of each redrawn stretch of frames.
        seam, jitter, sharpness: means over all stretches, see `sidgan.dubbing.review.looks`.
        resumed: number of frames that an earlier run had finished.
    """

    frames: int
    dubbed: int
    passed: tuple[tuple[int, int, str], ...]
    damaged: tuple[tuple[float, float], ...]
    shots: tuple[Shot, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]
    wall: float
    cpu: float
    memory: float
    face_side: float
    model: str
    engine: str
    looks: tuple[Look, ...]
    seam: float | None
    jitter: float | None
    sharpness: float | None
    resumed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Spent(NamedTuple):
    """Time and memory that another process used for a segment.

    Attributes:
        seconds: wall seconds by stage.
        cpu: seconds of processor time.
        process: unique name of the process; only its latest memory peak counts.
        memory: its peak memory so far, MiB.
    """

    seconds: Mapping[str, float]
    cpu: float
    process: str
    memory: float


class Clock:
    """Measures time and memory, by stage and in total, from its creation on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._wall, self._cpu, self._elsewhere = time.perf_counter(), time.process_time(), 0.0
        self._peaks: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def add(self, spent: Spent) -> None:
        """Add the time and memory of another process."""
        self._elsewhere += spent.cpu
        self._peaks[spent.process] = spent.memory
        for stage, seconds in spent.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def wall(self) -> float:
        """Wall seconds since creation."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of processor time since creation, other processes included."""
        return time.process_time() - self._cpu + self._elsewhere

    @property
    def memory(self) -> float:
        """Sum of the peak memory of this process and the others, MiB."""
        return peak_memory() + sum(self._peaks.values())
