"""Cut out and put back: unchanged comes back the same, untouched stays to the bit, and the mouth is hidden."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import faces
from invariants.faces import GRIDS, HEIGHT, WIDTH, pixel_format, smooth_frame, unit, window

from sidgan import geometry
from sidgan.types import Frame, PixelFormat, PlaneMap


def face68(rng: np.random.Generator | None = None) -> np.ndarray:
    """A plausible frontal face in px: right places, no more."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([320 + 110 * np.cos(angle), 250 + 150 * np.sin(angle)], 1)
    points[17:27] = np.stack([np.linspace(240, 400, 10), np.full(10, 200)], 1)
    points[27:36] = [(320, 240), (320, 260), (320, 280), (320, 295), *((300 + 10 * i, 310) for i in range(5))]
    lids = np.pi * (1 + np.arange(6) / 3)
    points[36:48] = [(c + 22 * np.cos(a), 240 + 8 * np.sin(a)) for c in (265, 375) for a in lids]
    points[48:60] = [(320 + 40 * np.cos(a), 350 + 16 * np.sin(a)) for a in np.pi * (1 + np.arange(12) / 6)]
    points[60:68] = [(320 + 30 * np.cos(a), 350 + 6 * np.sin(a)) for a in np.pi * (1 + np.arange(8) / 4)]
    return (points + (0 if rng is None else rng.normal(0, 2, points.shape))).astype(np.float32)


@pytest.mark.parametrize("chroma", GRIDS)
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("side", [300.0, 417.3, 512.0])
def test_cut_out_and_put_back_is_the_identity(chroma: str, bits: int, side: float) -> None:
    faces.put_back_is_the_identity(chroma, bits, side)


@pytest.mark.parametrize("side", [90.0, 300.0, 900.0])
def test_nothing_changes_where_alpha_is_zero(side: float) -> None:
    faces.only_alpha_changes(side)


@pytest.mark.parametrize(("centre", "top"), [(10.0, -80.0), (630.0, 400.0), (-900.0, 0.0)])
def test_a_face_may_leave_the_frame(centre: float, top: float) -> None:
    frame = smooth_frame(pixel_format())
    square = unit(centre, top, 300.0)
    crop = geometry.crop_face(frame, square, 128)
    assert crop.image.shape == (128, 128, 3)
    geometry.paste_face(frame, crop.image, window(128, 8), square)


def test_a_large_drawing_of_a_small_face_is_averaged() -> None:
    frame = smooth_frame(pixel_format())
    stripes = np.zeros((512, 512, 3), np.float32)
    stripes[:, ::2] = 255  # finer than the frame can show
    geometry.paste_face(frame, stripes, window(512, 8), unit(320, 100, 90.0))
    inside = frame.planes[0][110:180, 285:355].astype(float)
    assert inside.mean() == pytest.approx(16 + 219 / 2, abs=2)
    assert inside.std() < 10


@pytest.mark.parametrize("chroma", GRIDS)
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_colour_lies_where_the_turned_chroma_map_says(chroma: str, turns: int) -> None:
    square = unit(310.2, 40.9, 333.0)
    upright = geometry.crop_face(smooth_frame(pixel_format(chroma)), square, 256).image
    rotated = geometry.crop_face(smooth_frame(pixel_format(chroma, turns=turns)), square, 256).image
    assert np.abs(upright.astype(int) - rotated).max() <= 4  # what rounding the samples makes of one code value
    ignored = smooth_frame(pixel_format(chroma, turns=turns))
    if chroma == "420":  # the test can see half a sample
        wrong = Frame(0, Fraction(0), ignored.planes, pixel_format(chroma, turns=(turns + 2) % 4), None)
        off = geometry.crop_face(wrong, square, 256).image
        assert np.abs(upright.astype(int) - off).mean() > np.abs(upright.astype(int) - rotated).mean()


def test_ten_bits_look_like_eight() -> None:
    square = unit(310.2, 40.9, 333.0)
    eight, ten = (geometry.crop_face(smooth_frame(pixel_format(bits=b)), square, 256).image for b in (8, 10))
    assert np.abs(eight.astype(int) - ten).max() <= 4
    light, same = (geometry.luma8(smooth_frame(pixel_format(bits=b))) for b in (8, 10))
    assert light.shape == (HEIGHT, WIDTH)
    assert np.abs(light.astype(int) - same).max() <= 1


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("full_range", [False, True])
def test_colour_conversion_comes_back(matrix: str, bits: int, full_range: bool) -> None:
    fmt = PixelFormat("yuv444p", bits, full_range, matrix, PlaneMap())
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    back = geometry.ycc_to_rgb(geometry.rgb_to_ycc(rgb, fmt), fmt)
    assert np.abs(back.astype(int) - rgb).max() <= 1


@pytest.mark.parametrize(
    ("matrix", "luma"), [("bt601", (0.299, 0.587, 0.114)), ("bt709", (0.2126, 0.7152, 0.0722)),
                         ("bt2020", (0.2627, 0.678, 0.0593))],
)  # fmt: skip
def test_colours_have_the_luma_of_their_standard(matrix: str, luma: tuple[float, ...]) -> None:
    fmt = PixelFormat("yuv444p", 8, False, matrix, PlaneMap())
    y, b, r = geometry.rgb_to_ycc(255 * np.eye(3, dtype=np.float32)[None], fmt)
    assert y[0] == pytest.approx([16 + 219 * share for share in luma], abs=1e-2)
    assert (b[0, 2], r[0, 0]) == pytest.approx((240, 240), abs=1e-2)


def test_white_and_black_have_their_code_values() -> None:
    fmt = pixel_format("444", 10)
    white = [float(p[0, 0]) for p in geometry.rgb_to_ycc(np.full((1, 1, 3), 255.0), fmt)]
    black = [float(p[0, 0]) for p in geometry.rgb_to_ycc(np.zeros((1, 1, 3)), fmt)]
    assert white == pytest.approx([940, 512, 512], abs=1e-2)
    assert black == pytest.approx([64, 512, 512], abs=1e-2)


@settings(max_examples=50, deadline=None)
@given(st.floats(-500, 2000), st.floats(-500, 2000), st.floats(20, 2000), st.integers(8, 512))
def test_affines_invert_and_crops_tile_the_square(x: float, y: float, side: float, size: int) -> None:
    square = unit(x, y, side)
    points = np.random.default_rng(1).uniform(-1, 2, (20, 2)).astype(np.float32)
    back = geometry.to_unit(square[None], geometry.transform(square, points)[None])[0]
    assert np.allclose(back, points, atol=1e-3 * (1 + (abs(x) + abs(y)) / side))
    faces.crops_tile_the_square(x, y, side, size)


def test_neither_mouth_nor_chin_moves_the_square_or_the_mask() -> None:
    still = np.stack([face68(np.random.default_rng(i)) for i in range(5)])
    spoken = still.copy()
    spoken[:, geometry.MOUTH] += np.random.default_rng(9).normal(0, 15, (5, 20, 2))
    spoken[:, 6:11, 1] += 30  # the chin drops
    assert np.array_equal(geometry.face_square(still), geometry.face_square(spoken))
    matrices = geometry.square_matrix(geometry.face_square(still))
    boxes = [geometry.mask_boxes(geometry.to_unit(matrices, points)) for points in (still, spoken)]
    assert np.array_equal(*boxes)


def test_a_head_that_turns_keeps_the_size_of_its_square() -> None:
    face = face68()
    face[geometry.NOSE_BASE, 1] = face[geometry.EYES, 1].mean() + 0.563 * np.ptp(face[geometry.EYES, 0])  # as most have
    turned = face.copy()
    turned[:, 0] = 320 + 0.75 * (face[:, 0] - 320)
    side, still = (float(geometry.face_square(points)[2]) for points in (turned, face))
    assert side == pytest.approx(still, rel=0.02)


def test_the_mask_reaches_from_cheek_to_cheek_and_begins_just_below_the_nose() -> None:
    points = face68()
    left, top, right, bottom = geometry.mask_boxes(
        geometry.to_unit(geometry.square_matrix(geometry.face_square(points))[None], points[None])
    )[0]
    square = geometry.face_square(points)
    edges = (np.array([left, right]) - 0.5) * square[2] + square[0]
    assert edges == pytest.approx([points[geometry.RIGHT_CHEEK, 0].min(), points[geometry.LEFT_CHEEK, 0].max()], abs=1)
    base = (points[geometry.NOSE_BASE, 1] - square[1]) / square[2]
    assert (top - base, bottom) == pytest.approx((0.01, 1.0), abs=1e-4)  # as the networks were trained


def test_the_mask_hides_mouth_and_chin_and_nothing_above_the_nose_base() -> None:
    points = np.stack([face68(np.random.default_rng(i)) for i in range(5)])
    matrices = geometry.square_matrix(geometry.face_square(points))
    inside = geometry.to_unit(matrices, points)
    boxes = geometry.mask_boxes(inside)
    assert (boxes[:, [0, 2]] == boxes[0, [0, 2]]).all()  # its sides stand still
    for box, face in zip(boxes, inside, strict=True):
        mask = geometry.mask_image(box, 256)
        for x, y in face[np.r_[6:11, 48:68]]:
            assert mask[min(255, int(y * 256)), int(x * 256)] == 1
        base = face[geometry.NOSE_BASE, 1]
        assert mask[: int(base * 256)].sum() == 0
        assert mask[-1].any()
        assert set(np.unique(mask)) == {0, 1}


def test_the_mask_hides_its_box_to_the_last_row() -> None:
    faces.mask_is_the_box()
