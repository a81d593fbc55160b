"""Pictures on another grid: what is read lies where it should, whatever the step, and edges go on."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sidgan import geometry
from sidgan.resampling import resampled


def waves(height: int, width: int, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A gentle picture at places (y, x) of a grid of that size."""
    return 100 + 40 * np.sin(9 * y / height)[:, None] + 40 * np.cos(7 * x / width)[None]


@pytest.mark.parametrize(
    ("steps", "starts"), [((1.0, 1.0), (5.25, 7.5)), ((0.6, 0.8), (3.1, 2.7)), ((1.4, 2.3), (4, 9))]
)
def test_a_smooth_picture_is_read_where_it_is(steps: tuple[float, float], starts: tuple[float, float]) -> None:
    picture = waves(200, 240, np.arange(200), np.arange(240))
    y, x = (start + step * np.arange(64) for start, step in zip(starts, steps, strict=True))
    read = resampled(picture.astype(np.float32), steps, starts, 64)
    assert read.dtype == np.float32
    assert np.abs(read - waves(200, 240, y, x)).max() < 0.2  # a quarter of a pixel off is 0.4


def test_whole_pixels_come_back_and_edges_go_on() -> None:
    picture = np.random.default_rng(0).integers(0, 1024, (40, 50)).astype(np.uint16)
    read = resampled(picture, (1, 1), (-10, 20), 60)
    rows, columns = np.clip(np.arange(-10, 50), 0, 39), np.clip(np.arange(20, 80), 0, 49)
    assert np.array_equal(read, picture[rows][:, columns])
    assert np.array_equal(resampled(picture, (2, 2), (500, -500), 8), np.full((8, 8), picture[-1, 0], np.float32))


def test_it_is_the_cubic_look_up_of_opencv_but_for_its_rounding_of_places() -> None:
    noise = np.random.default_rng(1).normal(128, 40, (90, 90)).astype(np.float32)
    matrix = np.array([[0.75, 0, 10.25], [0, 1.0, 20.5]])  # places that are whole thirty-seconds
    there = cv2.warpAffine(noise, matrix, (48, 48), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    assert np.abs(resampled(noise, (1.0, 0.75), (20.5, 10.25), 48) - there).max() < 1e-3


def test_nothing_is_skipped_over() -> None:
    lines = np.zeros((400, 400), np.float32)
    lines[::2] = 200
    assert np.abs(resampled(lines, (5.3, 5.3), (20.2, 20.2), 50) - 100).max() < 20


def test_a_turned_square_is_refused() -> None:
    turned = np.array([[1, 0.1, 0], [-0.1, 1, 0]])
    with pytest.raises(ValueError, match="must not rotate"):
        geometry._pull(np.zeros((9, 9), np.uint8), turned, 4)
