"""Where a redrawn mouth ends: as little as possible of what is around a face is replaced, and no edge is seen."""

from __future__ import annotations

import warnings
from itertools import product

import cv2
import numpy as np
import pytest

from sidgan.blend import border, mask, mouth_alpha, polygon
from sidgan.blend.border import FARTHEST, LEVELS, LOOK_BACK, NEAREST, RAYS, SIDES, Border, cheapest, outline
from sidgan.blend.detail import around
from sidgan.blend.mask import FEATHER, INSET, LIP_RIM
from sidgan.geometry import MOUTH, OUTER_LIPS, distance_to, mask_boxes
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


def test_what_is_never_replaced_does_not_move_the_border(face: Float, skin: Byte) -> None:
    middles = (np.arange(SIZE) + 0.5) / SIZE
    left, top, right, _ = box(face)
    inside = (middles > top - 0.03)[:, None] & (left - 0.03 < middles) & (middles < right + 0.03)  # it is blurred
    drawn = skin - 60.0 * inside[..., None]
    other = np.where(inside[..., None], drawn, 255.0)
    one, two = (Border()(picture, skin, box(face), face, face, 0) for picture in (drawn, other))
    assert np.array_equal(one, two)


def test_the_border_is_a_smooth_line(face: Float, skin: Byte) -> None:
    lower = np.arange(SIZE)[:, None] > 0.65 * SIZE
    rim = beyond(face, -1, 0.07) & lower & (np.arange(SIZE) > SIZE // 2)
    reach = Border()(skin - 60.0 * rim[..., None], skin, box(face), face, face, 0)
    assert np.ptp(reach) > 0.05, "or it tests nothing"
    assert np.abs(np.diff(reach, append=reach[:1])).max() < 0.3 * np.ptp(reach)


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


@pytest.mark.parametrize("raised", ["old", "new"])
def test_neither_mouth_shows_through_where_it_is_close_to_the_edge(raised: str, face: Float) -> None:
    high = face.copy()
    high[MOUTH, 1] += box(face)[1] - face[MOUTH, 1].min()  # the upper lip is at the edge of the hidden box
    pair = (high, face) if raised == "old" else (face, high)
    alpha = mouth_alpha(SIZE, box(face), *pair, FARTHEST)
    depth = (np.arange(SIZE)[:, None] + 0.5) / SIZE - box(face)[1]
    lips = polygon(SIZE, high[OUTER_LIPS])
    assert (alpha[lips & (depth > 0)] == 1).all()
    assert (alpha[(distance_to(lips) <= LIP_RIM * SIZE) & (depth > INSET)] == 1).all()
    assert (alpha[distance_to(lips) > (LIP_RIM + FEATHER) * SIZE] < 1).any(), "elsewhere the edge is soft"


def test_the_edge_is_steep_only_near_lips(face: Float) -> None:
    middle = SIZE // 2
    alpha = mouth_alpha(SIZE, box(face), face, face)[:, middle]
    near = face.copy()
    near[MOUTH, 1] += box(face)[1] + 0.03 - face[MOUTH, 1].min()
    steep = mouth_alpha(SIZE, box(face), near, near)[:, middle]
    top = round(box(face)[1] * SIZE)
    assert np.abs(np.diff(alpha[: top + 20])).max() < 0.7 * np.abs(np.diff(steep[: top + 20])).max()


def test_only_what_no_pixel_notices_is_not_computed(face: Float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cases = []
    for size in (64, 181, 256):
        for shift in rng.uniform(-0.3, 0.3, (10, 2)):  # partly outside of the crop, too
            moved, reach = face + shift, float(rng.uniform(NEAREST, FARTHEST))
            cases.append((size, box(moved) + rng.uniform(-0.05, 0.05, 4), moved, moved + rng.normal(0, 0.01, 2), reach))
    quick = [mouth_alpha(*case) for case in cases]
    monkeypatch.setattr(mask, "_within", lambda *_: (slice(None), slice(None)))
    monkeypatch.setattr(mask, "around", lambda *_: (slice(None), slice(None)))
    assert all(np.array_equal(one, mouth_alpha(*case)) for one, case in zip(quick, cases, strict=True))
    assert sum(one.any() for one in quick) > 20


@pytest.mark.parametrize("spot", [(0, 0), (5, 7), (11, 15)])
def test_the_pixels_around_one_are_those_within_reach(spot: tuple[int, int]) -> None:
    skin = np.zeros((12, 16), np.float32)
    skin[spot] = 0.001
    near = np.zeros_like(skin, bool)
    near[around(skin, 3)] = True
    rows, columns = np.indices(skin.shape)
    assert np.array_equal(near, (abs(rows - spot[0]) <= 3) & (abs(columns - spot[1]) <= 3))


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


def test_everything_is_infinitely_far_from_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isposinf(distance_to(np.zeros((8, 9), bool))).all()
