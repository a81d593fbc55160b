"""What was done to a video, and how long each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from sidgan.dubbing.review.looks import Look
from sidgan.portable import peak_memory

Progress = Callable[[str, int, int], None]  #: called with stage, frames done, frames in total (an estimate at first)


@dataclass(frozen=True)
class Shot:
    """What became of one person in one shot.

    Attributes:
        first, last: frames of the output.
        start, end: seconds of the output at which it begins and is over.
        person: the number of who was to be redrawn; ``None`` where nobody was.
        confidence: how sure it was where their mouth is, mean over the frames, 0 to 1.
        dubbed: frames with their mouth redrawn.
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
        frames: frames of the output: all of the video's, and those shown again for a voice that is longer.
        dubbed: of these, the ones with a redrawn mouth.
        passed: (first, last, reason) of stretches that were left alone.
        damaged: (from, to) seconds of the video that could not be decoded; the picture before it is shown that long.
        shots: shot by shot, who was redrawn.
        notes: what a user should know about the choice of people, and about what of the inputs is not in the output, a
            line each.
        seconds: wall seconds by stage, in this run; stages overlap, and those of several workers are added, so they may
            be more than ``wall``.
        wall, cpu: seconds in total, and of processor time, that of workers with it.
        memory: MiB at most: the peaks of this process and of the workers that drew, added up.
        face_side: median side of the dubbed face squares, px in the source.
        model: which weights were used.
        engine: what ran them, in which precision.
        looks: how each redrawn stretch looks.
        seam, jitter, sharpness: of all of them together, see `sidgan.dubbing.review.looks`.
        resumed: frames that an earlier run had done.
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
    """What another process spent on a segment.

    Attributes:
        seconds: wall seconds by stage.
        cpu: seconds of processor time.
        process: its name, under which its later peaks take the place of earlier ones.
        memory: MiB that it held at most so far.
    """

    seconds: Mapping[str, float]
    cpu: float
    process: str
    memory: float


class Clock:
    """Time by stage, from when it is made."""

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
        """Add what another process spent."""
        self._elsewhere += spent.cpu
        self._peaks[spent.process] = spent.memory
        for stage, seconds in spent.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    @property
    def wall(self) -> float:
        """Wall seconds since the beginning."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of processor time since the beginning, with that of other processes that was added."""
        return time.process_time() - self._cpu + self._elsewhere

    @property
    def memory(self) -> float:
        """MiB that this process and the others held at most, each at its own peak."""
        return peak_memory() + sum(self._peaks.values())
