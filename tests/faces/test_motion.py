"""Trembling landmarks, and hidden mouths that show through."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from sidgan import metrics
from sidgan.errors import MetricError


def walk(count: int, seed: int = 0, amount: float = 1.0) -> np.ndarray:
    """Landmarks that move and tremble."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 256, (68, 2)) + np.arange(count)[:, None, None] + rng.normal(0, amount, (count, 68, 2))


def test_jitter_by_a_direct_loop() -> None:
    mine, true = walk(12, 1, 2.0), walk(12, 2, 0.5)
    values = []
    for points in (mine, true):
        sizes = [
            math.hypot(*(points[t, k] - 2 * points[t - 1, k] + points[t - 2, k]))
            for t in range(2, 12) for k in range(48, 68)
        ]  # fmt: skip
        values.append(sum(sizes) / len(sizes))
    assert metrics.jitter(mine, true) == pytest.approx(values[0] - values[1])
    assert metrics.jitter(mine, true) > 1
    assert metrics.jitter(true, mine) == pytest.approx(-metrics.jitter(mine, true))


def test_even_motion_and_other_points_do_not_tremble() -> None:
    true = walk(9, amount=0)
    moved = true + np.arange(9)[:, None, None] * [2.0, -1.0]
    moved[:, :48] += np.random.default_rng(0).normal(0, 5, (9, 48, 2))
    assert metrics.jitter(moved, true) == pytest.approx(0, abs=1e-9)
    one = true.copy()
    one[4, 48:] += (3, 4)  # one frame jumps: 5, 10 and 5 px in three of seven second differences
    assert metrics.jitter(one, true) == pytest.approx(20 / 7)


@pytest.mark.parametrize("cuts", [(1, 2, 3), (5,), (2, 10)])
def test_jitter_spans_pieces(cuts: tuple[int, ...]) -> None:
    mine, true = walk(14, 1), walk(14, 2)
    meter = metrics.Jitter()
    for a, b in itertools.pairwise([0, *cuts, 14]):
        meter.update(mine[a:b], true[a:b])
    assert meter.compute() == metrics.jitter(mine, true)


def test_frames_without_a_face_are_left_out() -> None:
    mine, true = walk(20, 1), walk(20, 2)
    gap = mine.copy()
    gap[9] = np.nan
    expected = metrics.acceleration(mine) - metrics.acceleration(true)
    kept = [i for i in range(18) if not i <= 9 <= i + 2]
    assert metrics.jitter(gap, true) == pytest.approx(expected[kept].mean())
    assert math.isnan(metrics.jitter(mine[:2], true[:2]))
    assert math.isnan(metrics.Jitter().compute())
    with pytest.raises(MetricError, match="68"):
        metrics.jitter(mine[:, :20], true[:, :20])


def mouth(count: int, seed: int) -> np.ndarray:
    """Openings that change as slowly as speech does."""
    noise = np.random.default_rng(seed).normal(0, 1, count + 4)
    return np.convolve(noise, np.ones(5) / 5, mode="valid")


def test_a_mouth_that_shows_through_is_found() -> None:
    original, foreign = mouth(200, 1), mouth(200, 2)
    through = metrics.leak(foreign + 0.7 * original, original)
    assert through.correlation > through.chance
    expected = np.corrcoef(foreign + 0.7 * original, original)[0, 1]
    assert through.correlation == pytest.approx(expected)
    assert through.movement == pytest.approx(np.std(foreign + 0.7 * original) / np.std(original))
    assert metrics.leak(0.1 * original, original).movement == pytest.approx(0.1)


def test_unrelated_mouths_seldom_look_like_leaks() -> None:
    found = [metrics.leak(mouth(150, 2 * i), mouth(150, 2 * i + 1)) for i in range(100)]
    assert sum(one.correlation > one.chance for one in found) <= 12


def test_a_mouth_at_rest_leaks_nothing() -> None:
    still = metrics.leak(np.full(60, 0.1), mouth(60, 1))
    assert (still.correlation, still.movement) == (0, pytest.approx(0))
    assert still.chance >= 0
    assert math.isnan(metrics.leak(mouth(60, 1), np.zeros(60)).movement)
    short = metrics.leak(mouth(30, 1), mouth(30, 1))
    assert math.isnan(short.chance)  # it correlates fully, but so would many in so few frames
    assert not math.isnan(metrics.leak(mouth(31, 1), mouth(31, 2)).chance)


def test_leak_refuses_what_does_not_fit() -> None:
    mine, true = mouth(50, 1), mouth(50, 2)
    for bad in (true[:40], np.full(50, np.nan), true[None]):
        with pytest.raises(MetricError):
            metrics.leak(mine, bad)
    with pytest.raises(MetricError, match="at least 3"):
        metrics.leak(mine[:2], true[:2])
