"""A redrawn mouth is as clear as the filmed one, and no clearer."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sidgan.blend import polygon
from sidgan.blend.contours import LOOK_BACK, REACH, Contours
from sidgan.blend.detail import brightness
from sidgan.geometry import distance_to
from sidgan.types import Array, Byte, Float

SIZE = 192


@pytest.fixture(scope="module")
def lips() -> Float:
    """(12, 2): an outline of lips in unit coordinates."""
    turn = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    return np.stack([0.5 - 0.12 * np.cos(turn), 0.65 - 0.05 * np.sin(turn)], -1)


@pytest.fixture(scope="module")
def filmed(lips: Float) -> Byte:
    """(S, S, 3): red lips with teeth between them, on skin with grain."""
    picture = np.random.default_rng(0).normal(170, 4, (SIZE, SIZE, 1)) + np.array([20, -10, -30])
    picture[polygon(SIZE, lips)] = 150, 60, 70
    middle = lips.mean(0)
    picture[polygon(SIZE, middle + 0.6 * (lips - middle))] = 40, 20, 20
    picture[polygon(SIZE, middle + [0, -0.012] + (lips - middle) * [0.5, 0.25])] = 220, 215, 200
    return cv2.GaussianBlur(picture, (0, 0), 0.7).clip(0, 255).astype(np.uint8)


def soft(picture: Byte, deviation: float) -> Float:
    return np.asarray(cv2.GaussianBlur(picture.astype(np.float32), (0, 0), deviation))


def around(lips: Float, at_most: float) -> Array:
    return distance_to(polygon(SIZE, lips)) <= at_most * SIZE


def contrast(picture: Float | Byte, where: Array) -> float:
    grey = brightness(picture)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 3))[where].std())


def error(picture: Float, truth: Byte, where: Array) -> float:
    return float(((picture - truth)[where] ** 2).mean())


@pytest.mark.parametrize("deviation", [0.8, 1.1])
def test_what_is_drawn_soft_becomes_as_clear_as_what_was_filmed(deviation: float, filmed: Byte, lips: Float) -> None:
    drawn = soft(filmed, deviation)
    clear = drawn + Contours()(drawn, filmed, lips, lips, 0)[..., None]
    mouth = around(lips, 0.02)
    was, now, wanted = (contrast(picture, mouth) for picture in (drawn, clear, filmed))
    assert was < 0.9 * wanted, "or it tests nothing"
    assert abs(now - wanted) < 0.4 * (wanted - was)
    assert error(clear, filmed, mouth) < 0.7 * error(drawn, filmed, mouth), "and it is nearer to the truth"


def test_a_soft_film_stays_soft(filmed: Byte, lips: Float) -> None:
    blurred = soft(filmed, 2.5)
    assert np.abs(Contours()(blurred, blurred.round().astype(np.uint8), lips, lips, 0)).max() < 0.5
    assert not Contours()(filmed.astype(np.float32), blurred.astype(np.uint8), lips, lips, 0).any()


def test_what_is_almost_flat_is_not_made_up(filmed: Byte, lips: Float) -> None:
    drawn = soft(filmed, 8)
    clear = drawn + Contours()(drawn, filmed, lips, lips, 0)[..., None]
    mouth = around(lips, 0.01)
    assert contrast(clear, mouth) < 1.55 * contrast(drawn, mouth)


def test_only_the_mouth_and_its_rim_change(filmed: Byte, lips: Float) -> None:
    lower = lips + np.array([0.0, 0.02])
    added = Contours()(soft(filmed, 1.4), filmed, lips, lower, 0)
    assert added.any()
    assert not added[~around(lower, REACH)].any()


def test_frames_of_long_ago_make_no_difference(filmed: Byte, lips: Float) -> None:
    drawn = soft(filmed, 1.4)
    went_on, began = Contours(), Contours()
    went_on(soft(filmed, 4), filmed, lips, lips, 0)
    for place in range(1, LOOK_BACK + 1):
        one, two = (contours(drawn, filmed, lips, lips, place) for contours in (went_on, began))
        assert np.array_equal(one, two) == (place == LOOK_BACK)


@pytest.mark.parametrize("shift", [[0.45, 0.0], [0.0, 0.4], [2.0, 0.0], [-2.0, -2.0]])
def test_a_mouth_at_the_edge_or_beyond_is_no_error(shift: list[float], filmed: Byte, lips: Float) -> None:
    drawn = soft(filmed, 1.4)
    for old, new in ((lips, lips + shift), (lips + shift, lips), (lips + shift, lips + shift)):
        assert np.isfinite(Contours()(drawn, filmed, old, new, 0)).all()
