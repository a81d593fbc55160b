"""Geometry of face crops: the square that is cut out of a frame, its mask, and pasting the generated face back.

Convention: points are (x, y); an integer frame coordinate is the centre of a pixel. The *unit square* of a face has
(0, 0) at the outer corner of its first pixel and (1, 1) at the outer corner of its last, so the centre of crop pixel i
of S is at (i + 0.5) / S. Every affine here maps *to the frame*: (2, 3), unit or crop px -> frame px. Warping is inverse
mapping: each destination pixel looks up its source position.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from sidgan.resampling import resampled
from sidgan.types import Array, Byte, Crop, Float, Frame, PixelFormat, PlaneMap

JAW = slice(0, 17)
RIGHT_CHEEK, LEFT_CHEEK = slice(1, 5), slice(12, 16)  # the person's right cheek, which has the smaller x, and left
NOSE_BASE = 33
EYES = slice(36, 48)
RIGHT_EYE_CORNER, LEFT_EYE_CORNER = 36, 45
OUTER_LIPS, INNER_LIPS, MOUTH = slice(48, 60), slice(60, 68), slice(48, 68)
STEADY = (0, 1, 2, 14, 15, 16, *range(27, 48))  #: landmarks that speech does not move
WINGS = slice(STEADY.index(31), STEADY.index(36))  #: indices in `STEADY` of the lower end of the nose
SLACK = 0.06  #: of half the square's side: offset of the nose up to which the network can align the mouth by itself

# Proportions of the mean face, in units u of face size: eye corners 0.737 apart, nose base 0.415 below the eye line.
EYE_SPAN, NOSE_DROP = 0.737, 0.415
SIDE, EYE_HEIGHT = 1.6, 0.413  # side of the crop, and distance of the eye line from its top, in u
MASK_MARGIN = 0.01  # of the side: distance from the nose base down to the hidden region


def face_square(landmarks: Float) -> Float:
    """The square around a face: (..., 3) centre x, top y, side in px, from (..., 68, 2) landmarks.

    It must not depend on mouth and chin, because its size would then reveal to the network how far the mouth is open.
    Only eyes, nose base and the widest points of the jaw line (at the cheeks) are used.
    """
    eyes = landmarks[..., EYES, :].mean(-2)
    span = landmarks[..., LEFT_EYE_CORNER, :] - landmarks[..., RIGHT_EYE_CORNER, :]
    width = np.linalg.norm(span, axis=-1)
    down = np.stack([-span[..., 1], span[..., 0]], -1) / np.maximum(width, 1e-6)[..., None]
    drop = ((landmarks[..., NOSE_BASE, :] - eyes) * down).sum(-1)
    unit = np.maximum(width / EYE_SPAN, drop / NOSE_DROP)  # yaw shortens the eye distance, pitch the nose
    jaw_x = landmarks[..., JAW, 0]
    centre = (jaw_x.min(-1) + jaw_x.max(-1)) / 2
    return np.stack([centre, eyes[..., 1] - EYE_HEIGHT * unit, SIDE * unit], -1).astype(np.float32)


def square_matrix(square: Float) -> Float:
    """(..., 2, 3) affine from the unit square to frame px, of (..., 3) centre x, top y, side."""
    centre, top, side = square[..., 0], square[..., 1], square[..., 2]
    zero = np.zeros_like(side)
    rows = [np.stack([side, zero, centre - side / 2], -1), np.stack([zero, side, top], -1)]
    return np.stack(rows, -2).astype(np.float32)


def crop_matrix(unit: Float, size: int) -> Float:
    """Affine (2, 3) from crop px to frame px, for a crop of ``size`` px; ``unit`` (2, 3) maps unit square to frame."""
    step = np.array([[1 / size, 0, 0.5 / size], [0, 1 / size, 0.5 / size], [0, 0, 1]])
    return (unit.astype(np.float64) @ step).astype(np.float32)


def transform(matrix: Float, points: Float) -> Float:
    """Apply an affine (..., 2, 3) to points (..., K, 2)."""
    return points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def invert(matrix: Float) -> Float:
    """Inverse of an affine (..., 2, 3)."""
    matrix = matrix.astype(np.float64)
    linear = np.linalg.inv(matrix[..., :2])
    shift = -(linear @ matrix[..., 2:])
    return np.concatenate([linear, shift], -1).astype(np.float32)


def to_unit(matrices: Float, landmarks: Float) -> Float:
    """Landmarks (N, 68, 2) in frame px as unit-square coordinates, by the affines (N, 2, 3) of their frames."""
    return transform(invert(matrices), landmarks)


def distance_to(shape: Array) -> Float:
    """(H, W) distance in px from each pixel to the nearest pixel of ``shape`` (H, W) bool; 0 inside it.

    If ``shape`` is empty, all distances are infinite.

    The last bit of OpenCV's result depends on memory alignment. Squared distances between pixels are whole numbers, so
    rounding these makes the result reproducible.
    """
    if not shape.any():
        return np.full(shape.shape, np.inf, np.float32)
    found = cv2.distanceTransform((~shape).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(np.sqrt(np.rint(found * found)))


def mouth_signals(landmarks: Float) -> Float:
    """(N, 3) inner opening, outer opening and width of the mouth, from (N, 68, 2) landmarks.

    The unit is the distance between the outer eye corners.
    """
    eyes = np.linalg.norm(landmarks[:, 45] - landmarks[:, 36], axis=-1)
    pairs = ((62, 66), (51, 57), (48, 54))
    return np.stack([np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) / eyes for a, b in pairs], 1)


def mouth_opening(landmarks: Float) -> Float:
    """(N,) inner-lip opening, in distances between the outer eye corners."""
    return mouth_signals(landmarks)[:, 0]


def placement(query: Float, references: Float) -> Float:
    """Affines that align faces with reference pictures of the same person, by the pose of the head.

    A similarity transform is fitted to landmarks that speech does not move: eyes, nose and the upper ends of the jaw.
    For moving heads this reduces the misalignment of mouths from 4.8 to 1.8 px of 128. If the head is tilted or turned
    far from the reference's pose, the nose is off by parallax, and the mouth by the same offset; the part of the nose's
    offset beyond `SLACK` is subtracted.

    Args:
        query: (N, 68, 2) landmarks in unit coordinates.
        references: (K, 68, 2), or (N, K, 68, 2) where each query has references of its own.

    Returns:
        (N, K, 2, 3) affines from query to reference coordinates, both -1 to 1 across the square.
    """
    source = 2 * query[:, None, STEADY].astype(np.float64) - 1
    wanted = 2 * (references if references.ndim == 4 else references[None])[:, :, STEADY].astype(np.float64) - 1
    middle, target = source.mean(2, keepdims=True), wanted.mean(2, keepdims=True)
    a, b = np.broadcast_arrays(source - middle, wanted - target)
    size = np.maximum((a**2).sum((2, 3)), 1e-9)
    cos = (a * b).sum((2, 3)) / size
    sin = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(2) / size
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    move = target[:, :, 0, :, None] - turn @ middle[:, :, 0, :, None]
    nose = turn @ source[:, :, WINGS].mean(2)[..., None] + move - wanted[:, :, WINGS].mean(2)[..., None]
    length = np.linalg.norm(nose, axis=2, keepdims=True)
    move -= nose * np.maximum(0, 1 - SLACK / np.maximum(length, 1e-9))
    return np.concatenate([turn, move], -1).astype(np.float32)


def mask_boxes(unit_landmarks: Float) -> Float:
    """The hidden region (Sec. 3.4): (N, 4) x0, y0, x1, y1 in unit coordinates, from (N, 68, 2) unit landmarks.

    It reaches from cheek to cheek and from just below the nose to the bottom edge. Its sides are constant over the
    clip, its top follows the nose; mouth and chin have no influence.
    """
    count = len(unit_landmarks)
    left = np.median(unit_landmarks[:, RIGHT_CHEEK, 0].min(1))
    right = np.median(unit_landmarks[:, LEFT_CHEEK, 0].max(1))
    top = unit_landmarks[:, NOSE_BASE, 1] + MASK_MARGIN
    boxes = np.stack([np.full(count, left), top, np.full(count, right), np.ones(count)], 1)
    return np.clip(boxes, 0, 1).astype(np.float32)


def mask_image(box: Float, size: int) -> Float:
    """A mask box (4,) as an image (size, size): 1 where the centre of the pixel is inside the box, else 0."""
    centres = (np.arange(size) + 0.5) / size
    inside_x = (centres >= box[0]) & (centres <= box[2])
    inside_y = (centres >= box[1]) & (centres <= box[3])
    return (inside_y[:, None] & inside_x[None]).astype(np.float32)


# ---------------------------------------------------------------------------------------------------------- colour

_LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}  # red, blue


def _ranges(fmt: PixelFormat) -> tuple[float, float, float, float]:
    """Black level and range of luma, neutral value and range of chroma, in code values."""
    unit = float(1 << (fmt.bits - 8))
    if fmt.full_range:
        top = float((1 << fmt.bits) - 1)
        return 0.0, top, 128 * unit, top
    return 16 * unit, 219 * unit, 128 * unit, 224 * unit


def ycc_to_rgb(planes: list[Float], fmt: PixelFormat) -> Byte:
    """Three (S, S) planes in code values -> (S, S, 3) uint8 RGB."""
    red, blue = _LUMA_WEIGHTS[fmt.matrix]
    black, luma_span, middle, chroma_span = _ranges(fmt)
    y, b, r = (np.subtract(plane, zero, dtype=np.float32)
               for plane, zero in zip(planes, (black, middle, middle), strict=True))  # fmt: skip
    y /= luma_span
    b /= chroma_span
    r /= chroma_span
    r *= 2 * (1 - red)
    r += y
    b *= 2 * (1 - blue)
    b += y
    y -= red * r  # what is left is green
    y -= blue * b
    y /= 1 - red - blue
    return np.asarray(cv2.merge([_levels(channel) for channel in (r, y, b)]))


def _levels(channel: Float) -> Byte:
    """One channel (S, S) in [0, 1], which is overwritten, as uint8."""
    channel *= 255
    channel += 0.5
    return np.clip(channel, 0, 255, out=channel).astype(np.uint8)


def rgb_to_ycc(image: Float, fmt: PixelFormat) -> list[Float]:
    """(S, S, 3) RGB in [0, 255] -> three float planes in code values."""
    red, blue = _LUMA_WEIGHTS[fmt.matrix]
    black, luma_span, middle, chroma_span = _ranges(fmt)
    r, g, b = (np.asarray(image, np.float32)[..., i] / 255 for i in range(3))  # cv2.split takes twice as long
    y = red * r
    y += (1 - red - blue) * g
    y += blue * b
    for colour, share in ((b, blue), (r, red)):
        np.divide(np.subtract(colour, y, out=colour), 2 * (1 - share), out=colour)
        np.add(np.multiply(colour, chroma_span, out=colour), middle, out=colour)
    y *= luma_span
    y += black
    return [y, b, r]


def luma8(frame: Frame) -> Byte:
    """The frame's luma as contiguous uint8, the input of detection and landmarks."""
    luma = frame.planes[0]
    if luma.dtype != np.uint8:
        luma = luma >> (frame.format.bits - 8)
    return np.ascontiguousarray(luma, np.uint8)


# ------------------------------------------------------------------------------------------------- cut out, put back

MARGIN = 4  #: px around the used part of a crop, as cubic interpolation reads neighbouring pixels


def _plane_matrix(matrix: Float, grid: PlaneMap) -> np.ndarray:
    """An affine to luma px, converted to the sample grid of a (subsampled) plane."""
    to_plane = np.array([[1 / grid.step_x, 0, -grid.offset_x / grid.step_x],
                         [0, 1 / grid.step_y, -grid.offset_y / grid.step_y]])  # fmt: skip
    lifted = np.vstack([matrix.astype(np.float64), [0, 0, 1]])
    return np.asarray(to_plane @ lifted)


def _pull(source: Array, matrix: np.ndarray, size: int) -> Float:
    """(size, size) samples of ``source`` at the positions given by ``matrix``; strong reductions are averaged.

    Raises:
        ValueError: the matrix rotates or shears.
    """
    if matrix[0, 1] or matrix[1, 0]:
        raise ValueError("the square of a face must not rotate or shear")
    return resampled(source, (matrix[1, 1], matrix[0, 0]), (matrix[1, 2], matrix[0, 2]), size)


def crop_face(frame: Frame, unit: Float, size: int) -> Crop:
    """Cut the unit square of ``unit`` (2, 3) out of a frame as ``size`` px RGB; only the crop is converted to RGB."""
    matrix = crop_matrix(unit, size)
    maps = (PlaneMap(), frame.format.chroma, frame.format.chroma)
    planes = [
        _pull(plane, _plane_matrix(matrix, grid), size)
        for plane, grid in zip(frame.planes, maps, strict=True)
    ]
    return Crop(ycc_to_rgb(planes, frame.format), matrix)


def crop_luma(frame: Frame, unit: Float, size: int) -> Float:
    """As `crop_face`, luma only: (size, size) float32, 0 black to 255 white."""
    black, span, _, _ = _ranges(frame.format)
    matrix = np.asarray(crop_matrix(unit, size), np.float64)
    return (_pull(frame.planes[0], matrix, size) - np.float32(black)) * np.float32(255 / span)


def paste_face(frame: Frame, image: Byte | Float, alpha: Float, unit: Float) -> None:
    """Blend a generated crop into the frame's own planes, in place.

    Args:
        frame: with writable planes. Pixels where the warped alpha is 0 do not change.
        image: (S, S, 3) RGB in [0, 255].
        alpha: (S, S) in [0, 1]; must be 0 on its border.
        unit: (2, 3) affine of the unit square in this frame.
    """
    side_px = float(np.hypot(unit[0, 0], unit[1, 0]))
    size = image.shape[0]
    if side_px < 0.75 * size:  # reduce by averaging first, as the warp below would alias
        size = max(8, round(side_px))
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)
    matrix = crop_matrix(unit, size)
    used = _used(alpha)
    if used is None:
        return
    left, upper = (max(0, v - MARGIN) for v in used[:2])
    sources = rgb_to_ycc(image[upper : used[3] + MARGIN + 1, left : used[2] + MARGIN + 1], frame.format)
    top = (1 << frame.format.bits) - 1
    for plane, source, grid in zip(
        frame.planes, sources, (PlaneMap(), frame.format.chroma, frame.format.chroma), strict=True
    ):
        to_plane = _plane_matrix(matrix, grid)
        x0, y0, x1, y1 = _bounds(to_plane, used, plane.shape)
        if x0 >= x1 or y0 >= y1:
            continue
        local = invert(to_plane.astype(np.float32)).astype(np.float64)  # plane px -> crop px
        local[:, 2] += local[:, :2] @ (x0, y0)
        extent = (x1 - x0, y1 - y0)
        weight = _look_up(alpha, local, extent, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
        local[:, 2] -= (left, upper)
        colour = _look_up(source, local, extent, cv2.INTER_CUBIC, cv2.BORDER_REPLICATE)
        region: Any = plane[y0:y1, x0:x1]
        mixed = np.clip(region + weight * (colour - region), 0, top) + 0.5
        region[...] = np.where(weight > 0, mixed.astype(plane.dtype), region)


def _look_up(source: Float, matrix: np.ndarray, extent: tuple[int, int], how: int, border: int) -> Float:
    warped = cv2.warpAffine(
        np.asarray(source, np.float32), matrix, extent, flags=how | cv2.WARP_INVERSE_MAP, borderMode=border
    )
    return np.asarray(warped, np.float32)


def _used(alpha: Float) -> tuple[int, int, int, int] | None:
    """First column and row, last column and row that are not all 0; ``None`` if there are none."""
    left, upper, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
    return (left, upper, left + width - 1, upper + height - 1) if width else None


def _bounds(
    matrix: np.ndarray, used: tuple[int, int, int, int], shape: tuple[int, ...]
) -> tuple[int, int, int, int]:  # fmt: skip
    """x0, y0, x1, y1 of a rectangle, clipped to the plane, outside of which the warped alpha is certainly 0."""
    left, upper, right, lower = used
    corners = np.array([[x, y] for x in (left - 1, right + 1) for y in (upper - 1, lower + 1)], np.float64)
    moved = corners @ matrix[:, :2].T + matrix[:, 2]
    low, high = np.floor(moved.min(0)).astype(int), np.ceil(moved.max(0)).astype(int) + 1
    return max(0, low[0]), max(0, low[1]), min(shape[1], high[0]), min(shape[0], high[1])
