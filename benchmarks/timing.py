"""What the benchmarks share: timing of a call, ratios with their range, and a description of the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import av
import cv2
import torch

T = TypeVar("T")


class Spent(NamedTuple):
    """Wall seconds, and processor seconds of all threads and of child processes that have ended."""

    wall: float
    cpu: float


def spent(work: Callable[[], T]) -> tuple[Spent, T]:
    """The time of one call, and its result; a GPU is synchronised."""
    wall, cpu = time.perf_counter(), _processor()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Spent(time.perf_counter() - wall, _processor() - cpu), result


def _processor() -> float:
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def spread(values: list[float]) -> dict[str, float | list[float]]:
    """Median and range of some ratios."""
    return {"ratio": round(statistics.median(values), 3), "range": [round(min(values), 3), round(max(values), 3)]}


def machine() -> dict[str, object]:
    """The machine and library versions, to be reported with every figure."""
    return {
        "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None, "python": platform.python_version(),
        "torch": torch.__version__, "opencv": cv2.__version__, "av": av.__version__,
    }  # fmt: skip
