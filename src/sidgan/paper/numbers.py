"""Statistics of loss curves and loss landscapes, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

from sidgan.types import Float

FLAT_RANGE = 16  #: largest shift over which flatness is measured, px at 512
RESAMPLES = 1000  #: bootstrap samples
LEVEL = 95  #: coverage of an interval, per cent
FEASIBLE = 0.15  #: a loss is low up to this share of its range above its minimum
FINE = 241  #: points per axis of an interpolated landscape


def flatness(curves: Float, shifts: Float) -> Float:
    """(max - min) / mean over shifts up to 16 px: 0 for a loss that does not depend on the shift.

    Args:
        curves: (..., K) losses, not negative.
        shifts: (K,) px at 512.
    """
    near = curves[..., np.abs(shifts) <= FLAT_RANGE]
    return np.ptp(near, -1) / np.maximum(near.mean(-1), 1e-12)


def rise(curves: Float, shifts: Float) -> Float:
    """(max - min) over shifts up to 16 px, as a share of the loss at the largest shift.

    `flatness` is unfair to a loss that stays near 0 for small shifts, because it divides by the mean, which is then
    small. `rise` divides by the largest shift's loss, so it is fairer to losses that are 0 at the truth.
    """
    near = curves[..., np.abs(shifts) <= FLAT_RANGE]
    return np.ptp(near, -1) / np.maximum(curves[..., -1], 1e-12)


def resampled(values: Float, videos: Sequence[int]) -> Float:
    """Means over bootstrap samples of windows: (N, ...) values -> (`RESAMPLES`, ...).

    Windows of one video are correlated, so whole videos are resampled, each with all of its windows. If there is only
    one video, windows are resampled; the interval then holds for this video alone.

    Args:
        values: (N, ...) one entry per window.
        videos: (N,) index of each window's video.
    """
    group = np.asarray(videos) if len(set(videos)) > 1 else np.arange(len(values))
    members = (group[:, None] == np.unique(group)).astype(float)  # (N, groups), 1 where a window belongs to a group
    count = members.shape[1]
    weights = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES) @ members.T
    return np.tensordot(weights / weights.sum(1, keepdims=True), values, 1)


def interval(samples: Float) -> Float:
    """The bounds (2, ...) between which 95 % of (R, ...) samples lie."""
    edge = (100 - LEVEL) / 2
    return np.percentile(samples, [edge, 100 - edge], axis=0)


@dataclass(frozen=True)
class Surface:
    """A loss over two axes, interpolated smoothly through its samples without new minima between them.

    Attributes:
        x, y: (F,) finely spaced axes, F = `FINE`. values: (F, F), rows along y.
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
        """(x, y) of the lowest value."""
        row, column = np.unravel_index(int(self.values.argmin()), self.values.shape)
        return float(self.x[column]), float(self.y[row])

    @property
    def relative(self) -> Float:
        """(F, F) values scaled to their range: 0 at the minimum, 1 at the maximum."""
        return (self.values - self.values.min()) / max(float(np.ptp(self.values)), 1e-12)


def feasible(first: Surface, second: Surface) -> Float:
    """(F, F) bool mask of the points where both losses are within the lowest 15 % of their range."""
    return (first.relative <= FEASIBLE) & (second.relative <= FEASIBLE)


def area(inside: Float) -> float:
    """Share of the grid's area that a bool mask covers; edge points count as half a cell, corners as a quarter."""
    weight = np.ones(inside.shape[0])
    weight[[0, -1]] = 0.5
    return float((inside * np.outer(weight, weight)).sum() / weight.sum() ** 2)


def apart(first: Surface, second: Surface) -> dict[str, float]:
    """Distance of two minima: along each axis in its unit, and Euclidean in units of half an axis (0 to 2.83)."""
    (x0, y0), (x1, y1) = first.minimum, second.minimum
    halves = float(np.ptp(first.x)) / 2, float(np.ptp(first.y)) / 2
    dx, dy = abs(x0 - x1), abs(y0 - y1)
    return {"shift": dx, "opening": dy, "distance": float(np.hypot(dx / halves[0], dy / halves[1]))}


@dataclass(frozen=True)
class Compromise:
    """The best point for both losses: it minimises the larger of the two, each as a share of its range.

    Attributes:
        x, y: the point.
        conflict: the larger of the two shares at this point; 0 if one point minimises both losses. Unlike the distance
            of the minima, it does not depend on where in a flat valley a minimum lies.
    """

    x: float
    y: float
    conflict: float


def compromise(first: Surface, second: Surface) -> Compromise:
    """Find the best point for both losses on the fine grid."""
    larger = np.maximum(first.relative, second.relative)
    row, column = np.unravel_index(int(larger.argmin()), larger.shape)
    return Compromise(float(first.x[column]), float(first.y[row]), float(larger[row, column]))
