"""What was done to a video, and how long each stage took."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sidgan.dubbing.looks import Look

Progress = Callable[[str, int, int], None]  #: called with stage, frames done, frames in total (an estimate at first)


@dataclass(frozen=True)
class DubReport:
    """What was done to a video.

    Attributes:
        frames: frames of the output: all of the video's, and those shown again for a voice that is longer.
        dubbed: of these, the ones with a redrawn mouth.
        passed: (first, last, reason) of stretches that were left alone.
        seconds: wall seconds by stage; stages overlap, so they may add up to more than ``wall``.
        wall, cpu: seconds in total, and of processor time.
        memory: peak of this process, MiB.
        face_side: median side of the dubbed face squares, px in the source.
        model: which weights were used.
        engine: what ran them, in which precision.
        looks: how each redrawn stretch looks.
        seam, jitter, sharpness: of all of them together, see `sidgan.dubbing.looks`.
    """

    frames: int
    dubbed: int
    passed: tuple[tuple[int, int, str], ...]
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


class Clock:
    """Time by stage, from when it is made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @property
    def wall(self) -> float:
        """Wall seconds since the beginning."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of processor time since the beginning."""
        return time.process_time() - self._cpu


def peak_memory() -> float:
    """The most memory that this process has held, MiB."""
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # systems count in bytes or KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
