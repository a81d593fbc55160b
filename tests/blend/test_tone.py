"""A redrawn mouth gets the tone of the skin around it: of skin only, and no more than a little of it."""

from __future__ import annotations

import numpy as np
import pytest

from sidgan.blend import ToneMatch
from sidgan.geometry import JAW
from sidgan.types import Byte, Float

SIZE = 128
BOX = np.array([0.25, 0.55, 0.75, 1.0], np.float32)


@pytest.fixture(scope="module")
def face() -> Float:
    """(68, 2) unit landmarks: all that matters is the hull of the jaw, which is narrower than the box below it."""
    points = np.full((68, 2), 0.5)
    turn = np.linspace(0, np.pi, 17)
    points[JAW] = np.stack([0.5 - 0.36 * np.cos(turn), 0.4 + 0.4 * np.sin(turn)], -1)
    return points


@pytest.fixture(scope="module")
def skin() -> Byte:
    return np.random.default_rng(0).integers(90, 150, (SIZE, SIZE, 3)).astype(np.uint8)


def test_what_is_behind_a_face_does_not_colour_it(face: Float, skin: Byte) -> None:
    behind = skin.copy()
    behind[round(0.85 * SIZE) :, : SIZE // 4] = behind[round(0.85 * SIZE) :, -SIZE // 4 :] = 0, 255, 0
    assert np.abs(ToneMatch()(skin, behind, BOX, face, 0) - skin).max() < 0.2


def test_what_is_drawn_far_too_dark_becomes_only_a_little_lighter(face: Float, skin: Byte) -> None:
    flat = skin // 4  # contrast and brightness are far off: the drawing is wrong, not its tone
    made = ToneMatch()(flat, skin, BOX, face, 0)
    assert (made - flat).max() < 0.1 * flat.max() + 25.5
    assert made.std() < 1.15 * flat.std()
