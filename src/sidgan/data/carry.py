"""One person's mouth motion on another person's face: where the landmarks go, and the picture that is warped there.

Shapes are compared in *face coordinates*: complex numbers x + iy with the centre of eyes and nose at 0 and the outer
eye corners 1 apart on a level line, so that head motion, roll and size drop out::

    donor    mouth(t) - rest  --x amplitude x ratio of mouth widths-->  + target's rest  -> target's frame t
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import gaussian_filter1d

from sidgan.geometry import INNER_LIPS, LEFT_EYE_CORNER, MOUTH, NOSE_BASE, RIGHT_EYE_CORNER
from sidgan.types import Byte, Float

STABLE = [27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45]  #: do not move in speech
CORNERS = (0, 6)  # of the mouth; these and the next three are positions within MOUTH
TOP, UPPER, LOWER = [1, 2, 3, 4, 5], [13, 14, 15], [19, 18, 17]  # upper lip's upper edge; inner edges, in pairs
HANGING = [7, 8, 9, 10, 11, 17, 18, 19]  # the lower lip
CHIN = slice(5, 12)
CHIN_SHARE = np.array([0.3, 0.5, 0.65, 0.7, 0.65, 0.5, 0.3])  #: of the lower lip's way
QUIET = 0.2  #: share of the frames, those with the smallest opening, whose median is the rest shape
SHUT = 0.04  #: of the mouth's width: landmarks of closed lips are read so far apart
MIN_GAP = 0.4  #: px between the inner edges, so that no triangle vanishes
SLOW, SLOWER = 4.0, 12.0  #: frames; slower motion of a whole mouth is the head's
MARGIN = 0.25  #: of the side: fixed points lie so far outside of the picture
SOFT_ROWS = 4  #: over which the warp sets in, below the nose base
FEATHER = 0.005  #: of the side, blur of the inner mouth's edge
WITHIN = 0.88  #: of its size, so far does a blended face reach
LIP_REACH = 0.025  #: of the side, around the lips that are taken from the closed mouth


@dataclass(frozen=True)
class Motion:
    """The landmarks of a stretch of N frames in face coordinates.

    Attributes:
        scale, origin: (N,) complex; landmarks = local * scale + origin.
        local: (N, 68) complex.
        rest: (20,) the mouth at rest, closed.
        width: of the mouth at rest, in eye distances.
    """

    scale: np.ndarray
    origin: np.ndarray
    local: np.ndarray
    rest: np.ndarray
    width: float

    @staticmethod
    def of(landmarks: Float) -> Motion:
        """The motion of landmarks (N, 68, 2) in any units."""
        points = landmarks[..., 0].astype(np.float64) + 1j * landmarks[..., 1]
        still = points[:, STABLE]
        origin = still.mean(1)
        span = points[:, LEFT_EYE_CORNER] - points[:, RIGHT_EYE_CORNER]
        shape = ((still - origin[:, None]) / span[:, None]).mean(0)
        scale = (still - origin[:, None]) @ shape.conj() / (np.abs(shape) ** 2).sum()
        local = (points - origin[:, None]) / scale[:, None]
        mouth = local[:, MOUTH]
        gap = _gap(mouth)
        rest = mouth[gap <= np.quantile(gap, QUIET)]
        middle = np.median(rest.real, 0) + 1j * np.median(rest.imag, 0)
        width = float(abs(middle[CORNERS[1]] - middle[CORNERS[0]]))
        middle[HANGING] -= 1j * max(0.0, _gap(middle[None])[0] - SHUT * width)
        return Motion(scale, origin, local, middle, width)

    def __getitem__(self, rows: np.ndarray | slice) -> Motion:
        return Motion(self.scale[rows], self.origin[rows], self.local[rows], self.rest, self.width)

    @property
    def opening(self) -> Float:
        """(N,) distance between the inner edges of the lips, in mouth widths."""
        return np.asarray(_gap(self.local[:, MOUTH]) / self.width)

    def speech(self) -> np.ndarray:
        """(N, 20) the mouth's way from rest in mouth widths, without what turning and nodding add."""
        way = self.local[:, MOUTH] - self.rest
        nod = gaussian_filter1d(way[:, TOP].imag.mean(1), SLOWER, mode="nearest")
        return np.asarray(way - (way.real.mean(1) + 1j * (nod - np.median(nod)))[:, None]) / self.width


def _gap(mouth: np.ndarray) -> Float:
    return np.asarray((mouth[:, LOWER] - mouth[:, UPPER]).imag.mean(1))


def destination(target: Motion, speech: np.ndarray, amplitude: float) -> Float:
    """Where the target's landmarks go: (N, 68, 2), in the units and frames of the target.

    Args:
        target: N frames; only its rest mouth is used, not what it says.
        speech: (N, 20) the donor's `Motion.speech`.
        amplitude: factor on the donor's way.
    """
    own = target.local[:, MOUTH] - target.rest
    turn = gaussian_filter1d(own.real.mean(1), 1.0, mode="nearest")
    nod = gaussian_filter1d(own[:, TOP].imag.mean(1), SLOW, mode="nearest")
    way = amplitude * target.width * speech
    local = target.local.copy()
    local[:, MOUTH] = _uncrossed(target.rest + way) + (turn + 1j * nod)[:, None]
    drop = (way - own)[:, [17, 18, 19]].imag.mean(1) + nod
    local[:, CHIN] += 1j * CHIN_SHARE * drop[:, None]
    points = local * target.scale[:, None] + target.origin[:, None]
    return np.stack([points.real, points.imag], -1).astype(np.float32)


def _uncrossed(mouth: np.ndarray) -> np.ndarray:
    """Lips meet in the middle where they would overlap."""
    overlap = np.maximum(0.0, (mouth[:, UPPER] - mouth[:, LOWER]).imag)
    mouth[:, UPPER] -= 0.5j * overlap
    mouth[:, LOWER] += 0.5j * overlap
    return mouth


def brightness(images: Byte, landmarks: Float) -> Float:
    """(3,) mean RGB of the cheeks beside the mouth over crops (N, S, S, 3) with landmarks (N, 68, 2) px."""
    means = []
    for image, points in zip(images, landmarks, strict=True):
        cover = np.zeros(image.shape[:2], np.uint8)
        for corners in ([2, 4, 48, 31], [14, 12, 54, 35]):
            cv2.fillConvexPoly(cover, cv2.convexHull(points[corners].round().astype(np.int32)), (1,))
        means.append(cv2.mean(image, cover)[:3])
    return np.asarray(np.mean(means, 0) + 1)


@dataclass(frozen=True)
class View:
    """A crop (S, S, 3) uint8 RGB and its landmarks (68, 2) px."""

    image: Byte
    points: Float


def redraw(face: View, lips: View, aim: Float, donor: View, gain: Float) -> Byte:
    """The target's picture with lips and chin at ``aim``, and with the donor's teeth and tongue between the lips.

    Args:
        face: the target; rows above its nose base are returned as they are.
        lips: the same person with its mouth as good as closed, from which the lips are taken.
        aim: (68, 2) px, where the target's landmarks are to be.
        donor: of any size.
        gain: (3,) factor on the donor's colours.
    """
    size = face.image.shape[0]
    aim = _apart(aim)
    top = int(np.clip(np.floor(face.points[NOSE_BASE, 1]), 0, size - 1))
    y, x = np.mgrid[top:size, 0:size].astype(np.float32)
    fixed = _frame(size)
    ways = np.concatenate([face.points - aim, lips.points - aim], 1)
    ways = np.concatenate([ways, np.zeros((len(fixed), 4))])
    way = LinearNDInterpolator(np.concatenate([aim, fixed]), ways, fill_value=0.0)(x, y).astype(np.float32)
    set_in = np.clip((y - top) / SOFT_ROWS, 0, 1)
    lower = _pull(face.image, x + set_in * way[..., 0], y + set_in * way[..., 1])
    closed = _pull(lips.image, x + way[..., 2], y + way[..., 3])
    origin = LinearNDInterpolator(aim[MOUTH], donor.points[MOUTH])(x, y).astype(np.float32)
    inner = np.clip(_pull(donor.image, origin[..., 0], origin[..., 1]) * gain, 0, 255)
    reach = LIP_REACH * size
    around = _inside(_grown(aim[MOUTH], reach), size, reach / 2)[top:] * set_in
    between = _inside(aim[INNER_LIPS], size, FEATHER * size)[top:] * np.isfinite(origin[..., 0])
    mixed = lower + around[..., None] * (closed - lower)
    mixed += between[..., None] * (inner - mixed)
    result = face.image.copy()
    result[top:] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
    return result


def blended(face: View, other: View, aim: Float, share: float, gain: Float) -> Byte:
    """A face of two people: both warped to one shape and mixed; outside of the face it is the first one's picture.

    Args:
        face: the person whose head and surroundings are shown.
        other: of any size, the head held alike.
        aim: (68, 2) px of ``face``, where the landmarks of both are to be.
        share: of the other one, 0 to 1.
        gain: (3,) factor on the other one's colours.
    """
    size = face.image.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    fixed = _frame(size)
    ways = np.concatenate([face.points - aim, np.zeros((len(fixed), 2))])
    way = LinearNDInterpolator(np.concatenate([aim, fixed]), ways, fill_value=0.0)(x, y).astype(np.float32)
    own = _pull(face.image, x + way[..., 0], y + way[..., 1])
    found = LinearNDInterpolator(aim, other.points)(x, y).astype(np.float32)
    theirs = np.clip(_pull(other.image, found[..., 0], found[..., 1]) * gain, 0, 255)
    middle = aim.mean(0)
    outline = cv2.convexHull((middle + WITHIN * (aim - middle)).astype(np.float32))[:, 0]
    within = _inside(outline, size, (1 - WITHIN) * size / 6) * np.isfinite(found[..., 0])
    mixed = own + (share * within)[..., None] * (theirs - own)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def _pull(image: Byte, x: Float, y: Float) -> Float:
    found = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32)


def _grown(points: Float, reach: float) -> Float:
    """The hull (K, 2) of points with a margin."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = reach * np.stack([np.cos(angles), np.sin(angles)], 1)
    hull = cv2.convexHull((points[:, None] + ring).reshape(-1, 2).astype(np.float32))
    return np.asarray(hull[:, 0])


def _apart(points: Float) -> Float:
    points = np.array(points, np.float64)
    upper, lower = np.array(UPPER) + MOUTH.start, np.array(LOWER) + MOUTH.start
    lack = np.maximum(0.0, MIN_GAP - (points[lower, 1] - points[upper, 1])) / 2
    points[upper, 1] -= lack
    points[lower, 1] += lack
    return points


def _frame(size: int) -> Float:
    """Fixed points around the picture."""
    along = np.linspace(-MARGIN * size, (1 + MARGIN) * size, 7)
    x, y = np.meshgrid(along, along)
    edge = (np.abs(x - size / 2) > (0.49 + MARGIN) * size) | (np.abs(y - size / 2) > (0.49 + MARGIN) * size)
    return np.stack([x[edge], y[edge]], 1)


def _inside(polygon: Float, size: int, soft: float) -> Float:
    """(S, S) share of each pixel inside a polygon (K, 2) px; its edge is blurred by ``soft`` px."""
    fine = 8
    cover = np.zeros((size * fine, size * fine), np.uint8)
    cv2.fillPoly(cover, [np.round((polygon + 0.5) * fine - 0.5).astype(np.int32)], (255,))
    small = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.asarray(cv2.GaussianBlur(small, (0, 0), soft))
