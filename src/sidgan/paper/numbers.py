"""What is read off curves and landscapes. NumPy only; every function is checked on shapes with a known answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from sidgan.types import Float

FLAT_RANGE = 16  #: px at 512: flatness is judged over shifts up to this
RESAMPLES = 1000
LEVEL = 95  #: per cent covered by an interval
FEASIBLE = 0.15  #: of a loss's range above its minimum: what counts as low
FINE = 241  #: points per axis on which a landscape is searched


def flatness(curves: Float, shifts: Float) -> Float:
    """(max - min) / mean over shifts up to 16 px: 0 for a loss that does not mind, large for one that does.

    Args:
        curves: (..., K) losses, not negative.
        shifts: (K,) px at 512.
    """
    near = curves[..., np.abs(shifts) <= FLAT_RANGE]
    return np.ptp(near, -1) / np.maximum(near.mean(-1), 1e-12)


def rise(curves: Float, shifts: Float) -> Float:
    """(max - min) over shifts up to 16 px, as a share of the loss at the largest shift.

    `flatness` punishes a loss that stays near 0 for small shifts, as the mean it divides by is small then; this does
    not, so it is the fairer number for losses that are 0 at the truth.
    """
    near = curves[..., np.abs(shifts) <= FLAT_RANGE]
    return np.ptp(near, -1) / np.maximum(curves[..., -1], 1e-12)


def resampled(values: Float, videos: Sequence[int], seed: int = 0) -> Float:
    """(1000, ...) means over as many bootstrap samples of (N, ...) values of windows; seeded.

    Windows of one video say much the same: videos are drawn anew, with all of their windows. Where there is only one,
    windows are; what comes out is then true of this video.

    Args:
        values: of each window.
        videos: (N,) a number for the video of each.
        seed: of the draws.
    """
    number = np.asarray(videos) if len(set(videos)) > 1 else np.arange(len(values))
    held = (number[:, None] == np.unique(number)).astype(float)  # (N, groups)
    count = held.shape[1]
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES) @ held.T
    return np.tensordot(draws / draws.sum(1, keepdims=True), values, 1)


def interval(samples: Float) -> Float:
    """(2, ...) the bounds between which 95 % of (R, ...) samples lie."""
    edge = (100 - LEVEL) / 2
    return np.percentile(samples, [edge, 100 - edge], axis=0)


@dataclass(frozen=True)
class Surface:
    """A loss over two axes, as a smooth surface through its samples that has no valleys of its own between them.

    Attributes:
        x, y: (F,) finely spaced axes. values: (F, F), rows along y.
    """

    x: Float
    y: Float
    values: Float

    @classmethod
    def through(cls, x: Float, y: Float, samples: Float) -> Surface:
        """Monotone cubic interpolation of samples (len(y), len(x)), along one axis and then the other."""
        fine_x, fine_y = np.linspace(x[0], x[-1], FINE), np.linspace(y[0], y[-1], FINE)
        rows = PchipInterpolator(x, samples, axis=1)(fine_x)
        return cls(fine_x, fine_y, PchipInterpolator(y, rows, axis=0)(fine_y))

    @property
    def minimum(self) -> tuple[float, float]:
        """(x, y) where it is lowest."""
        row, column = np.unravel_index(int(self.values.argmin()), self.values.shape)
        return float(self.x[column]), float(self.y[row])

    @property
    def relative(self) -> Float:
        """Its values as a share of their range: 0 at the minimum, 1 at the maximum."""
        return (self.values - self.values.min()) / max(float(np.ptp(self.values)), 1e-12)


def feasible(first: Surface, second: Surface) -> Float:
    """(F, F) bool: where both losses are within the lowest 15 % of their range."""
    return (first.relative <= FEASIBLE) & (second.relative <= FEASIBLE)


def area(inside: Float) -> float:
    """Share of the grid's area that is inside; edge points stand for half a cell, corners for a quarter."""
    weight = np.ones(inside.shape[0])
    weight[[0, -1]] = 0.5
    return float((inside * np.outer(weight, weight)).sum() / weight.sum() ** 2)


def apart(first: Surface, second: Surface) -> dict[str, float]:
    """How far two minima are apart: along each axis, and together, in halves of the axes (0 to 2.83)."""
    (x0, y0), (x1, y1) = first.minimum, second.minimum
    halves = float(np.ptp(first.x)) / 2, float(np.ptp(first.y)) / 2
    dx, dy = abs(x0 - x1), abs(y0 - y1)
    return {"shift": dx, "opening": dy, "distance": float(np.hypot(dx / halves[0], dy / halves[1]))}


@dataclass(frozen=True)
class Compromise:
    """The point that is best for both losses: where the worse off of the two is as low as possible.

    Attributes:
        x, y: where. conflict: how high the worse off is there, as a share of its range: 0 where one point minimises
            both. Unlike the distance between two minima it does not depend on where in a flat valley a minimum lies.
    """

    x: float
    y: float
    conflict: float


def compromise(first: Surface, second: Surface) -> Compromise:
    """Search it on the fine grid."""
    worse = np.maximum(first.relative, second.relative)
    row, column = np.unravel_index(int(worse.argmin()), worse.shape)
    return Compromise(float(first.x[column]), float(first.y[row]), float(worse[row, column]))
