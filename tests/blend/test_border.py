"""Where a redrawn mouth ends: as little as possible of what is around a face is replaced, and no edge is seen."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
import pytest

from sidgan.blend import border, mouth_alpha, polygon
from sidgan.blend.border import FARTHEST, LEVELS, LOOK_BACK, NEAREST, RAYS, SIDES, Border, cheapest, outline
from sidgan.geometry import MOUTH, distance_to, mask_boxes
from sidgan.types import Array, Byte, Float

SIZE = 192


@pytest.fixture(scope="module")
def face() -> Float:
    """(68, 2): a jaw and a mouth; the rest plays no part."""
    points = np.full((68, 2), 0.5)
    turn = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([0.5 - 0.36 * np.cos(turn), 0.42 + 0.36 * np.sin(turn)], -1)
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    points[48:60] = np.stack([0.5 - 0.1 * np.cos(turn), 0.62 - 0.04 * np.sin(turn)], -1)
    points[60:68] = 0.5 * points[48:56] + 0.5 * points[48:60].mean(0)
    points[33] = 0.5, 0.5
    return points


@pytest.fixture(scope="module")
def skin() -> Byte:
    """(S, S, 3): grain, as a camera has it."""
    return np.random.default_rng(0).integers(110, 130, (SIZE, SIZE, 3)).astype(np.uint8)


def box(face: Float) -> Float:
    return mask_boxes(face[None])[0]


def beyond(face: Float, at_least: float, at_most: float) -> Array:
    """(S, S) bool: what lies so far beyond the hull of the lower face."""
    hull = polygon(SIZE, face[np.r_[SIDES, MOUTH]])
    away = cv2.distanceTransform((~hull).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) / SIZE
    return (away > at_least) & (away <= at_most)


def shown(face: Float, source: Byte, drawn: Float) -> tuple[Float, Float]:
    """How much of each drawn pixel is used, with this border and with one that is as far out as it gets."""
    reach = Border()(drawn, source, box(face), face, face, 0)
    return mouth_alpha(SIZE, box(face), face, face, reach), mouth_alpha(SIZE, box(face), face, face)


@pytest.mark.parametrize("side", [0, 1])
def test_a_collar_that_is_drawn_wrong_stays_as_filmed(side: int, face: Float, skin: Byte) -> None:
    half = np.arange(SIZE) // (SIZE // 2) == side
    collar = beyond(face, 0.05, 1) & half
    drawn = skin + 80.0 * collar[..., None]
    alpha, widest = shown(face, skin, drawn)
    assert (alpha * collar).sum() < 0.1 * (widest * collar).sum()
    mouth = polygon(SIZE, face[MOUTH])
    assert np.array_equal(alpha[mouth], widest[mouth])


def test_a_jaw_that_is_drawn_lower_is_shown_whole(face: Float, skin: Byte) -> None:
    rim = beyond(face, -1, 0.07) & (np.arange(SIZE)[:, None] > 0.65 * SIZE)
    drawn = skin - 30.0 * rim[..., None]  # darker down to well beyond the hull, and as filmed after that
    alpha, widest = shown(face, skin, drawn)
    below = rim & beyond(face, 0, 0.05) & (widest > 0.95)
    assert alpha[below].mean() > 0.9


def test_where_both_agree_as_little_as_possible_is_replaced(face: Float, skin: Byte) -> None:
    drawn = skin + np.random.default_rng(1).normal(0, 3, skin.shape)
    reach = Border()(drawn, skin, box(face), face, face, 0)
    assert np.allclose(reach, NEAREST)
    dark = Border()(skin - 60.0, skin, box(face), face, face, 0)  # and where they differ all over
    assert dark.min() >= NEAREST - 1e-9
    assert dark.max() <= FARTHEST + 1e-9


def test_the_border_does_not_jump_and_forgets(face: Float, skin: Byte) -> None:
    rim = beyond(face, -1, 0.07)[..., None] & (np.arange(SIZE)[:, None, None] > 0.65 * SIZE)
    wide, near = skin - 30.0 * rim, skin.astype(np.float64)

    def last(first: int, pictures: list[Float]) -> Float:
        border = Border()
        for place, picture in enumerate(pictures, first):
            reach = border(picture, skin, box(face), face, face, place)
        return reach

    calm, jump = last(0, [near] * 10), last(0, [near] * 9 + [wide])
    whole = last(0, [wide])
    assert np.abs(whole - calm).max() > 0.05
    assert np.abs(jump - calm).max() < 0.3 * np.abs(whole - calm).max()
    mixed = [near, wide] * 10
    assert np.array_equal(last(0, mixed), last(20 - LOOK_BACK, mixed[20 - LOOK_BACK :]))
    assert not np.array_equal(last(0, mixed), last(21 - LOOK_BACK, mixed[21 - LOOK_BACK :]))


def test_the_line_is_the_cheapest_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(border, "BEND", 0.7)
    rng = np.random.default_rng(0)
    for _ in range(20):
        costs = rng.uniform(0, 4, (5, 4))
        clear = int(costs.min(1).argmin())
        begin = int(costs[clear].argmin())

        def cost(line: Array, costs: Float = costs) -> float:
            return float(costs[np.arange(5), line].sum() + 0.7 * np.abs(line - np.roll(line, 1)).sum())

        lines = [np.array(line) for line in product(range(4), repeat=5) if line[clear] == begin]
        assert cost(cheapest(costs)) == pytest.approx(min(map(cost, lines)))


def test_the_outline_holds_both_faces(face: Float) -> None:
    lower = face + np.array([0, 0.05])
    points = outline(face, lower, np.full(RAYS, LEVELS[0]))
    assert points.shape == (RAYS, 2)
    line = np.round(points * 1e4).astype(np.int32)
    for point in np.concatenate([part for one in (face, lower) for part in (one[5:12], one[MOUTH])]):
        away = cv2.pointPolygonTest(line, (float(point[0] * 1e4), float(point[1] * 1e4)), True) / 1e4
        assert away > 0.8 * NEAREST


def test_distances_are_the_same_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    shape = np.zeros((64, 64), bool)
    shape[20:31, 25:44] = True
    rows, columns = np.nonzero(shape)
    y, x = np.mgrid[:64, :64]
    squared = ((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2).min(-1)
    held = []
    for _ in range(200):  # wherever in memory things lie
        held = [*held, np.zeros(int(rng.integers(1, 5000)), np.uint8)][-50:]
        assert np.array_equal(distance_to(shape), np.sqrt(squared.astype(np.float32)))
