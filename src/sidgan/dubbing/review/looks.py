"""Image quality of redrawn faces: three figures without ground truth, measured while faces are pasted.

::

    seam       brightness steps that the mask's edge adds, between the drawn and the filmed picture  0: none
    jitter     change of these steps from frame to frame (their acceleration)                        0: like the source
    sharpness  contrast of fine detail on redrawn skin, relative to the source's                     1: like the source

Each figure compares the same pixels of the same frame before and after, so light, beards, grain and movement of the
source cancel out. Lips are excluded, since they are meant to differ. Seam and jitter are in levels of 8 bits, on faces
reduced to `SMALL` px; sharpness is measured at the size that a face has in the video.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

import cv2
import numpy as np

from sidgan.blend import polygon
from sidgan.blend.detail import brightness, fine, mean_size, resized
from sidgan.dubbing.silence import PAUSED
from sidgan.geometry import OUTER_LIPS
from sidgan.people import TrackedFace
from sidgan.timeline import Showing, Timeline
from sidgan.types import Array, Byte, Float, Frame

EVERY = 5  #: of so many frames three in a row are measured: seam in each, sharpness in the first, jitter in the third
SMALL = 128  #: side of the faces on which seam and jitter are measured, px
STEEP = 2  #: width in these px up to which an edge counts in full; wider edges count less
LIPS = 0.03  #: of the side, distance from the lips within which nothing is measured
SECTORS = 24  #: sectors of the edge; within one, texture averages out and a seam does not
FEWEST = 1.0  #: least px of edge in a sector; others are ignored
LEAST = 0.02  #: levels, added to both sides of the sharpness ratio, so that it is 1 where there is no detail

#: Largest deviation of a figure from that of an untouched picture; stretches with more are worth checking.
LIMITS = {"seam": 2.0, "jitter": 0.5, "sharpness": 0.3}
UNTOUCHED = {"seam": 0.0, "jitter": 0.0, "sharpness": 1.0}  #: the figures of an untouched picture


@dataclass(frozen=True)
class Look:
    """Image quality of a stretch of redrawn frames.

    Attributes:
        first, last: its frames of the output, both included.
        start, end: seconds of the output.
        dubbed: number of frames with a redrawn mouth.
        seam, jitter, sharpness: means over all samples; ``None`` where there is none.
        at, source_at: seconds of the output and of the video at which it looks worst.
        face: left, top and side of the face square there, px.
    """

    first: int
    last: int
    start: float
    end: float
    dubbed: int
    seam: float | None
    jitter: float | None
    sharpness: float | None
    at: float
    source_at: float
    face: tuple[float, float, float]


class Sample(NamedTuple):
    """The figures of one redrawn face in one frame, NaN where not measured; for the rest see `Look`."""

    frame: int
    at: float
    source_at: float
    face: tuple[float, float, float]
    seam: float
    jitter: float
    sharpness: float


def doubt(figures: Mapping[str, Any]) -> float:
    """Deviation of the worst figure from an untouched picture, relative to `LIMITS`; above 1 it is worth checking."""
    off = {name: figures.get(name) for name in LIMITS}
    known = {name: value - UNTOUCHED[name] for name, value in off.items() if value is not None and not np.isnan(value)}
    return max((abs(value) / LIMITS[name] for name, value in known.items()), default=0.0)


class Looks:
    """Measures faces while they are pasted. It keeps the last two frames of each, as jitter needs three."""

    def __init__(self) -> None:
        self._last: dict[TrackedFace, int] = {}
        self._steps: dict[TrackedFace, list[tuple[int, Array]]] = {}

    def __call__(
        self, frame: Frame, source_at: Fraction, person: TrackedFace, row: int, source: Byte, luma: Float, drawn: Float,
        alpha: Float, new: Float,
    ) -> Sample | None:  # fmt: skip
        """Measure a redrawn face before it is pasted; ``None`` in frames that are skipped, see `EVERY`.

        Args:
            frame: of the output.
            source_at: seconds of the video at which that frame is shown.
            person, row: its track, and the frame's row in it.
            source: (S, S, 3) uint8 RGB, the filmed face.
            luma: (R, R) in [0, 255], of the filmed face at its size in the video.
            drawn: (R, R, 3) in [0, 255], the face to be pasted.
            alpha: (R, R) in [0, 1], its opacity.
            new: (68, 2) unit landmarks of the drawn face.
        """
        phase, begins = frame.index % EVERY, self._last.get(person) != frame.index - 1
        self._last[person] = frame.index
        if phase > 2 and not begins:
            return None
        size, mouths = len(alpha), (person.points[row, OUTER_LIPS], new[OUTER_LIPS])
        seen = [(i, s) for i, s in self._steps.get(person, []) if i >= frame.index - 2]
        small = [resized(picture, SMALL) for picture in (source, drawn, alpha)]
        seen.append((frame.index, steps(small[0], small[1], small[2], around(mouths, SMALL))))
        self._steps[person] = seen
        now, jitter, sharp = seen[-1][1], float("nan"), float("nan")
        if len(seen) == 3:
            a, b, c = (step for _, step in seen)
            jitter = mean(np.abs(a - 2 * b + c))
        if phase == 0 or begins:
            skin = (alpha > 0.5) & ~around(mouths, size)
            dub = luma + alpha * (brightness(drawn) - luma)
            if skin.any():
                sharp = (mean_size(fine(dub), skin) + LEAST) / (mean_size(fine(luma), skin) + LEAST)
        matrix = person.track.matrices[row]
        face = (float(matrix[0, 2]), float(matrix[1, 2]), float(matrix[0, 0]))
        return Sample(frame.index, float(frame.time), float(source_at), face, mean(np.abs(now)), jitter, sharp)

    def forget(self, person: TrackedFace) -> None:
        """Free the state of a person who is out of sight."""
        self._steps.pop(person, None)
        self._last.pop(person, None)


def stretches(
    samples: Sequence[Sample], timeline: Timeline, passed: Iterable[tuple[int, int, str]], cuts: Sequence[int] = ()
) -> Iterator[Look]:
    """Image quality of each redrawn stretch of the output, at most a shot long.

    Pauses of the voice do not split a stretch: they are frequent, and figures over a second or two are unreliable.

    Args:
        samples: in order of their frames.
        passed: (first, last, reason) of runs of frames that were left as filmed.
        cuts: frames of the video at which shots begin.
    """
    why = {i: reason for first, last, reason in passed for i in range(first, last + 1)}
    places = [sample.frame for sample in samples]

    def place(shown: Showing) -> tuple[int, bool]:
        return bisect_right(cuts, shown.source), why.get(shown.index, PAUSED) != PAUSED

    for (_, alone), run in groupby(timeline, key=place):
        frames = [shown for shown in run if shown.index not in why]
        if frames and not alone:
            first, last = frames[0].index, frames[-1].index
            yield _look(samples[bisect_left(places, first) : bisect_right(places, last)], frames)


def _look(samples: Sequence[Sample], frames: Sequence[Showing]) -> Look:
    first, last = frames[0], frames[-1]
    worst = max(samples, key=lambda sample: doubt(sample._asdict()))
    return Look(
        first=first.index, last=last.index, start=round(float(first.time), 3),
        end=round(float(last.time + last.duration), 3), dubbed=len(frames), **figures(samples), at=round(worst.at, 3),
        source_at=round(worst.source_at, 3), face=worst.face,
    )  # fmt: skip


def figures(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Means of the three figures; ``None`` where there is no sample."""
    means = {name: mean(np.array([getattr(sample, name) for sample in samples])) for name in LIMITS}
    return {name: None if np.isnan(value) else round(value, 3) for name, value in means.items()}


def steps(source: Float, dub: Float, alpha: Float, lips: Array) -> Array:
    """The steps that the edge of a mask adds, by sector and colour channel.

    Within a sector, the difference of drawn and filmed picture is averaged over the edge, so that texture and grain
    cancel out. The mean is weighted by how much alpha rises within `STEEP` px.

    Args:
        source, dub: (R, R, 3) in [0, 255].
        alpha: (R, R) in [0, 1].
        lips: (R, R) bool, pixels to exclude.

    Returns:
        (SECTORS, 3) signed levels; NaN for sectors without an edge.
    """
    slope = np.minimum(STEEP * np.hypot(*np.gradient(alpha)), 1) * ~lips
    rows, columns = np.nonzero(slope)
    weight = slope[rows, columns]
    angle = np.arctan2(rows - len(alpha) / 2, columns - len(alpha) / 2)
    sector = ((angle / (2 * np.pi) + 0.5) * SECTORS).astype(np.int64) % SECTORS

    def total(values: Array) -> Array:
        return np.bincount(sector, values, SECTORS)

    edge = total(weight)
    off = (dub - source)[rows, columns]
    known = np.where(edge >= FEWEST, edge, np.nan)
    height = np.stack([total(weight * off[:, c]) for c in range(3)], 1) / known[:, None]
    return np.asarray(height * (total(weight**2) / known)[:, None])


def mean(values: Array) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def around(mouths: Iterable[Float], size: int) -> Array:
    """(size, size) bool: mouths, each given by unit landmarks (12, 2), and a rim of `LIPS` around them."""
    shape = np.logical_or.reduce([polygon(size, mouth) for mouth in mouths]).astype(np.uint8)
    rim = max(1, round(LIPS * size))
    return np.asarray(cv2.dilate(shape, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)) > 0)
