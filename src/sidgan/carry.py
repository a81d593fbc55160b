"""Transfer one person's mouth motion to another face: compute the target's landmarks and warp its picture to them.

Shapes are compared in *face coordinates*: complex numbers x + iy with the centre of eyes and nose at 0 and the outer
eye corners 1 apart on a level line, so that head motion, roll and size drop out::

    donor mouth(t) - donor rest  -- x amplitude x ratio of mouth widths -->  + target rest  =  target mouth(t)
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter1d

from sidgan.geometry import INNER_LIPS, LEFT_EYE_CORNER, MOUTH, NOSE_BASE, RIGHT_EYE_CORNER
from sidgan.types import Byte, Float

STABLE = [27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45]  #: nose and eye corners, which speech does not move
CORNERS = (0, 6)  # mouth corners; like the next three, indices into the 20 mouth landmarks
TOP, UPPER, LOWER = [1, 2, 3, 4, 5], [13, 14, 15], [19, 18, 17]  # upper lip's outer edge; inner edges, in pairs
LOWER_LIP = [7, 8, 9, 10, 11, 17, 18, 19]  # the lower lip, both edges
CHIN = slice(5, 12)  # landmarks of the jaw line that follow the lower lip
CHIN_SHARE = np.array([0.3, 0.5, 0.65, 0.7, 0.65, 0.5, 0.3])  #: their displacement, relative to the lower lip's
REST_SHARE = 0.2  #: share of the frames, those with the smallest opening, whose median is the rest shape
SHUT = 0.04  #: in mouth widths: gap that landmarks of closed lips typically show
MIN_GAP = 0.4  #: px between the inner edges, so that no triangle of the warp is degenerate
TARGET_NOD_SIGMA, DONOR_NOD_SIGMA = 4.0, 12.0  #: frames; slower vertical motion of a mouth is head motion
MARGIN = 0.25  #: fraction of the side; distance from the image to the fixed points around it
SOFT_ROWS = 4  #: rows below the nose base over which the warp fades in
FEATHER = 0.005  #: fraction of the side; blur of the inner mouth's edge
BLEND_SIZE = 0.88  #: size of the blended region, relative to the face's outline
GAIN_LIMITS = (0.5, 1.25)  #: limits of the colour match; brighter teeth would look unnatural
LIP_REACH = 0.025  #: fraction of the side; margin around the lips that are taken from the closed mouth


@dataclass(frozen=True)
class Motion:
    """The landmarks of N consecutive frames in face coordinates.

    Attributes:
        scale, origin: (N,) complex; landmarks = local * scale + origin.
        local: (N, 68) complex, landmarks in face coordinates.
        rest: (20,) complex, the closed mouth at rest.
        width: of the mouth at rest, in units of the distance between the outer eye corners.
    """

    scale: np.ndarray
    origin: np.ndarray
    local: np.ndarray
    rest: np.ndarray
    width: float

    @staticmethod
    def of(landmarks: Float) -> Motion:
        """From landmarks (N, 68, 2) in any unit of length."""
        points = landmarks[..., 0].astype(np.float64) + 1j * landmarks[..., 1]
        stable = points[:, STABLE]
        origin = stable.mean(1)
        eye_line = points[:, LEFT_EYE_CORNER] - points[:, RIGHT_EYE_CORNER]
        shape = ((stable - origin[:, None]) / eye_line[:, None]).mean(0)
        scale = (stable - origin[:, None]) @ shape.conj() / (np.abs(shape) ** 2).sum()
        local = (points - origin[:, None]) / scale[:, None]
        mouth = local[:, MOUTH]
        gap = _gap(mouth)
        rest = mouth[gap <= np.quantile(gap, REST_SHARE)]
        middle = np.median(rest.real, 0) + 1j * np.median(rest.imag, 0)
        width = float(abs(middle[CORNERS[1]] - middle[CORNERS[0]]))
        middle[LOWER_LIP] -= 1j * max(0.0, _gap(middle[None])[0] - SHUT * width)
        return Motion(scale, origin, local, middle, width)

    def __getitem__(self, rows: np.ndarray | slice) -> Motion:
        return Motion(self.scale[rows], self.origin[rows], self.local[rows], self.rest, self.width)

    @property
    def opening(self) -> Float:
        """(N,) distance between the inner edges of the lips, in mouth widths."""
        return np.asarray(_gap(self.local[:, MOUTH]) / self.width)

    def speech(self) -> np.ndarray:
        """(N, 20) complex displacement of the mouth from rest in mouth widths, with head turns and nods removed."""
        shift = self.local[:, MOUTH] - self.rest
        nod = gaussian_filter1d(shift[:, TOP].imag.mean(1), DONOR_NOD_SIGMA, mode="nearest")
        return np.asarray(shift - (shift.real.mean(1) + 1j * (nod - np.median(nod)))[:, None]) / self.width


def _gap(mouth: np.ndarray) -> Float:
    return np.asarray((mouth[:, LOWER] - mouth[:, UPPER]).imag.mean(1))


def destination(target: Motion, speech: np.ndarray, amplitude: float) -> Float:
    """The target's new landmarks (N, 68, 2), in the target's own units and head poses.

    Args:
        target: N frames; its mouth's rest shape and head motion are used, its speech is replaced.
        speech: (N, 20) the donor's `Motion.speech`.
        amplitude: factor on the donor's mouth displacement.
    """
    own = target.local[:, MOUTH] - target.rest
    turn = gaussian_filter1d(own.real.mean(1), 1.0, mode="nearest")
    nod = gaussian_filter1d(own[:, TOP].imag.mean(1), TARGET_NOD_SIGMA, mode="nearest")
    shift = amplitude * target.width * speech
    local = target.local.copy()
    local[:, MOUTH] = _without_overlap(target.rest + shift) + (turn + 1j * nod)[:, None]
    drop = (shift - own)[:, [17, 18, 19]].imag.mean(1) + nod
    local[:, CHIN] += 1j * CHIN_SHARE * drop[:, None]
    points = local * target.scale[:, None] + target.origin[:, None]
    return np.stack([points.real, points.imag], -1).astype(np.float32)


def _without_overlap(mouth: np.ndarray) -> np.ndarray:
    """Where upper and lower lip would overlap, both inner edges move to the middle."""
    overlap = np.maximum(0.0, (mouth[:, UPPER] - mouth[:, LOWER]).imag)
    mouth[:, UPPER] -= 0.5j * overlap
    mouth[:, LOWER] += 0.5j * overlap
    return mouth


def brightness(images: Byte, landmarks: Float) -> Float:
    """(3,) mean RGB of the cheeks over crops (N, S, S, 3) with landmarks (N, 68, 2) px, plus 1: never 0."""
    means = []
    for image, points in zip(images, landmarks, strict=True):
        cover = np.zeros(image.shape[:2], np.uint8)
        for corners in ([2, 4, 48, 31], [14, 12, 54, 35]):
            cv2.fillConvexPoly(cover, cv2.convexHull(points[corners].round().astype(np.int32)), (1,))
        means.append(cv2.mean(image, cover)[:3])
    return np.asarray(np.mean(means, 0) + 1)


def colour_match(face: Float, donor: Float) -> Float:
    """(3,) factor on the donor's RGB values that suits the target, from the `brightness` of both."""
    return np.clip(face / donor, *GAIN_LIMITS)


@dataclass(frozen=True)
class View:
    """A crop (S, S, 3) uint8 RGB and its landmarks (68, 2) px."""

    image: Byte
    points: Float


def redraw(face: View, lips: View, aim: Float, donor: View, gain: Float) -> Byte:
    """The target's picture with lips and chin warped to ``aim``, and the donor's teeth and tongue between the lips.

    Args:
        face: the target's frame; rows above its nose base are returned unchanged.
        lips: a frame of the same person with a nearly closed mouth, from which the lips are taken.
        aim: (68, 2) px, new positions of the target's landmarks.
        donor: the donor's frame, of any size.
        gain: (3,) factor on the donor's RGB values.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    size = face.image.shape[0]
    aim = _with_gap(aim)
    top = int(np.clip(np.floor(face.points[NOSE_BASE, 1]), 0, size - 1))
    y, x = np.mgrid[top:size, 0:size].astype(np.float32)
    fixed = _fixed_points(size)
    shifts = np.concatenate([face.points - aim, lips.points - aim], 1)
    shifts = np.concatenate([shifts, np.zeros((len(fixed), 4))])
    shift = LinearNDInterpolator(np.concatenate([aim, fixed]), shifts, fill_value=0.0)(x, y).astype(np.float32)
    fade_in = np.clip((y - top) / SOFT_ROWS, 0, 1)
    lower = _remap(face.image, x + fade_in * shift[..., 0], y + fade_in * shift[..., 1])
    closed = _remap(lips.image, x + shift[..., 2], y + shift[..., 3])
    origin = LinearNDInterpolator(aim[MOUTH], donor.points[MOUTH])(x, y).astype(np.float32)
    inner = np.clip(_remap(donor.image, origin[..., 0], origin[..., 1]) * gain, 0, 255)
    reach = LIP_REACH * size
    lip_mask = _polygon_mask(_dilated_hull(aim[MOUTH], reach), size, reach / 2)[top:] * fade_in
    inner_mask = _polygon_mask(aim[INNER_LIPS], size, FEATHER * size)[top:] * np.isfinite(origin[..., 0])
    mixed = lower + lip_mask[..., None] * (closed - lower)
    mixed += inner_mask[..., None] * (inner - mixed)
    result = face.image.copy()
    result[top:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return result


def blended(face: View, other: View, aim: Float, share: float, gain: Float) -> Byte:
    """A mixture of two faces: both are warped to the same landmarks and blended inside the face's outline.

    Args:
        face: the person whose head and surroundings are shown; unchanged outside the outline, apart from the warp.
        other: the second person in a similar head pose, of any size.
        aim: (68, 2) px of ``face``, new positions of both people's landmarks.
        share: weight of the second person, 0 to 1.
        gain: (3,) factor on the second person's RGB values.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    size = face.image.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    fixed = _fixed_points(size)
    shifts = np.concatenate([face.points - aim, np.zeros((len(fixed), 2))])
    shift = LinearNDInterpolator(np.concatenate([aim, fixed]), shifts, fill_value=0.0)(x, y).astype(np.float32)
    own = _remap(face.image, x + shift[..., 0], y + shift[..., 1])
    found = LinearNDInterpolator(aim, other.points)(x, y).astype(np.float32)
    theirs = np.clip(_remap(other.image, found[..., 0], found[..., 1]) * gain, 0, 255)
    middle = aim.mean(0)
    outline = cv2.convexHull((middle + BLEND_SIZE * (aim - middle)).astype(np.float32))[:, 0]
    within = _polygon_mask(outline, size, (1 - BLEND_SIZE) * size / 6) * np.isfinite(found[..., 0])
    mixed = own + (share * within)[..., None] * (theirs - own)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _remap(image: Byte, x: Float, y: Float) -> Float:
    found = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _dilated_hull(points: Float, reach: float) -> Float:
    """Convex hull (K, 2) of points (N, 2), dilated by about ``reach`` px."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    hull = cv2.convexHull((points[:, None] + ring).reshape(-1, 2).astype(np.float32))
    return np.asarray(hull[:, 0])


def _with_gap(points: Float) -> Float:
    """Landmarks whose inner lip edges are at least `MIN_GAP` px apart."""
    points = np.array(points, np.float64)
    upper, lower = np.array(UPPER) + MOUTH.start, np.array(LOWER) + MOUTH.start
    missing = np.maximum(0.0, MIN_GAP - (points[lower, 1] - points[upper, 1])) / 2
    points[upper, 1] -= missing
    points[lower, 1] += missing
    return points


def _fixed_points(size: int) -> Float:
    """Points (K, 2) px on a square around the image, which the warp leaves where they are."""
    along = np.linspace(-MARGIN * size, (1 + MARGIN) * size, 7)
    x, y = np.meshgrid(along, along)
    edge = (np.abs(x - size / 2) > (0.49 + MARGIN) * size) | (np.abs(y - size / 2) > (0.49 + MARGIN) * size)
    return np.stack([x[edge], y[edge]], 1)


def _polygon_mask(polygon: Float, size: int, soft: float) -> Float:
    """(S, S) antialiased mask in [0, 1] of a polygon (K, 2) px, feathered with a Gaussian of sigma ``soft`` px."""
    fine = 8
    cover = np.zeros((size * fine, size * fine), np.uint8)
    cv2.fillPoly(cover, [np.round((polygon + 0.5) * fine - 0.5).astype(np.int32)], (255,))
    small = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.asarray(cv2.GaussianBlur(small, (0, 0), soft))
