"""The confidence, frame by frame, that a face can be redrawn, and the main reason against it.

Six criteria (`REASONS`) are each rated from 1 (no doubt) to 0. The confidence of a frame is their minimum, not their
product, so that a single reason can be given to users. Coverings are found in two ways: by a network that knows hands
and objects (`covering`), and by skin colour. In the smoothed square of a face, chin and cheeks look nearly the same all
the time; if they look different, something else is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import median_filter

from sidgan.dubbing.analysis.covering import CELLS, hidden_shares
from sidgan.geometry import JAW, NOSE_BASE, OUTER_LIPS, STEADY
from sidgan.people import MAX_YAW, MIN_SIDE, TrackedFace
from sidgan.poses import alike, compared
from sidgan.types import Array, Byte, Float

REASONS = (
    "face partly covered", "face landmarks unstable", "face turned too far", "face too small", "face hardly detected",
    "face cut off by the edge of the picture",
)  # fmt: skip
SURE = 0.5  #: confidence below which a face is left as filmed
STEADY_OVER = 5  #: frames of the median filter that keeps the confidence from flickering

GRID = 12  #: cells across a face square
FEW = 2  #: outliers among the neighbours that are ignored at either end: they may be covered themselves
LIGHTER, REDDER = 20.0, 7.0  #: levels by which Y, and Cb or Cr, of a skin cell may lie outside the neighbours' range
ALIKE = 0.009  #: in sides of the square; where landmarks differ by more, larger deviations are allowed
LIPS = 0.05  #: in sides of the square; cells closer to the lips than this are ignored

# Each rating is 0 at the first value and 1 at the second; the midpoint, rated SURE, still passes.
COVERED = (0.36, 0.04)  #: share of chin and cheeks that does not look like skin; 0.20 passes
LIPS_HIDDEN = (0.7, 0.1)  #: share of the lips that is covered; 0.4 passes
FACE_HIDDEN = (0.8, 0.2)  #: share of lips, chin and cheeks that is covered; 0.5 passes
SLIPPED = (0.024, 0.008)  #: jitter of the landmarks in sides of the square; 0.016 passes
TURNED = (2 * MAX_YAW - 35.0, 35.0)  #: degrees of yaw; MAX_YAW passes
SMALL = (0.0, 2.0 * MIN_SIDE)  #: side of the face square, px; MIN_SIDE passes
CUT_OFF = (-0.04, 0.04)  #: distance of the lips from the frame's edge in sides of the square; 0 passes
UNSURE = (-0.4, 0.4)  #: score of the face detector; 0, its own threshold, passes


@dataclass(frozen=True)
class Trust:
    """The confidence of a track of N frames.

    Attributes:
        confidence: (N,) 0 to 1; 0 where the face was not found.
        doubts: (N,) the criterion with the lowest rating, an index into `REASONS`.
    """

    confidence: Float
    doubts: Array

    def reason(self, row: int) -> str:
        """The main reason against redrawing a frame, in words."""
        return REASONS[int(self.doubts[row])]

    def refusals(self) -> dict[int, str]:
        """{row: reason} for all frames with a confidence below `SURE`."""
        return {int(row): self.reason(int(row)) for row in np.flatnonzero(self.confidence < SURE)}


def surface(image: Byte) -> Byte:
    """Mean colours of a face crop (S, S, 3) uint8 RGB on a grid: (12, 12, 3) uint8 in Y, Cr, Cb."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    return np.asarray(cv2.resize(colours, (GRID, GRID), interpolation=cv2.INTER_AREA))


def trust(
    person: TrackedFace, surfaces: Byte, covers: Byte | None = None, printed: Byte | None = None,
    inside: Float | None = None,
) -> Trust:  # fmt: skip
    """Rate the N frames of a track.

    Args:
        surfaces: (N, 12, 12, 3), see `surface`.
        covers: (N, 24, 24), see `covering.covers`; without it, only the skin colour shows coverings.
        printed: (N, 24, 24), see `Captions.covers`: they may cover chin and cheeks, but not the lips.
        inside: (N,), see `sidgan.faces.lips_inside`; without it, no edge of the frame is near.
    """
    track, found = person.track, person.track.visible | person.bridged
    scores = np.where(track.visible, track.scores, np.interp(np.arange(len(track)), np.flatnonzero(track.visible),
                                                             track.scores[track.visible]))  # fmt: skip
    uncovered = _ramp(covered(surfaces, person.points, track.visible, printed), COVERED)
    if covers is not None:
        lips, face = hidden_shares(covers, person.points)
        if printed is not None:
            lips = hidden_shares(np.maximum(covers, printed), person.points)[0]
            face = hidden_shares(np.where(printed > 0, 0, covers), person.points)[1]
        uncovered = np.minimum.reduce([uncovered, _ramp(lips, LIPS_HIDDEN), _ramp(face, FACE_HIDDEN)])
    ratings = np.stack([  # in the order of `REASONS`
        uncovered, _ramp(slips(person.points), SLIPPED),
        _ramp(np.abs(track.pose[:, 0]), TURNED), _ramp(person.sides, SMALL), _ramp(scores, UNSURE),
        _ramp(np.ones(len(track), np.float32) if inside is None else inside, CUT_OFF),
    ])  # fmt: skip
    ratings = median_filter(ratings, (1, STEADY_OVER), mode="nearest")
    return Trust(np.where(found, ratings.min(0), 0.0).astype(np.float32), ratings.argmin(0))


def covered(surfaces: Byte, points: Float, good: Array, printed: Byte | None = None) -> Float:
    """(N,) share of chin and cheeks that does not look like skin; 0 where there are too few frames to compare with.

    Lighting changes when a head turns. So a frame is compared with those of the most similar head pose; if a short clip
    has none, larger deviations are allowed.

    Args:
        surfaces: (N, 12, 12, 3), see `surface`.
        points: (N, 68, 2) unit landmarks.
        good: (N,) bool, the frames to compare with.
        printed: (N, 24, 24), see `Captions.covers`: this is known not to look like skin, and not counted.
    """
    rows = compared(good)
    skin, upper = _cells(np.median(points[rows], 0))
    shares = np.zeros(len(points), np.float32)
    if not skin.any() or not upper.any():  # degenerate landmarks
        return shares
    for i, (looks, (near, off)) in enumerate(zip(surfaces, alike(points, rows), strict=True)):
        if not len(near):
            continue
        leeway = max(1.0, off / ALIKE)
        usual = surfaces[near].astype(np.float32)
        light = np.median(looks[upper] - usual[:, upper], 1)  # a change of the whole face is a change of light
        known = np.sort(usual[:, skin] + light[:, None], 0)
        beyond = np.maximum(known[FEW] - looks[skin], looks[skin] - known[-1 - FEW])
        odd = (beyond > leeway * np.array((LIGHTER, REDDER, REDDER))).any(-1)
        if printed is not None:
            odd &= ~printed[i].reshape(GRID, CELLS // GRID, GRID, CELLS // GRID).any((1, 3))[skin]
        shares[i] = odd.mean()
    return shares


def complexion(surfaces: Byte, points: Float) -> Float:
    """(N, 3) mean Y, Cr, Cb of a face, without the mouth, in each of N frames.

    Args:
        surfaces: (N, 12, 12, 3), see `surface`.
        points: (N, 68, 2) unit landmarks.
    """
    skin, upper = _cells(np.median(points, 0))
    inside = skin | upper
    return surfaces[:, inside].mean(1) if inside.any() else surfaces.mean((1, 2))


def slips(points: Float) -> Float:
    """(N,) jitter: distance of head landmarks from the mean of both neighbouring frames, in sides of the square."""
    steady = points[:, STEADY]
    off = np.linalg.norm(steady[1:-1] - (steady[:-2] + steady[2:]) / 2, axis=-1).mean(1)
    return np.pad(off, 1, mode="edge").astype(np.float32)


def _cells(points: Float) -> tuple[Array, Array]:
    """(12, 12) bool twice: the cells of chin and cheeks, and of the face above them, from unit landmarks (68, 2)."""
    centres = ((np.arange(GRID) + 0.5) / GRID).astype(np.float32)
    hull = cv2.convexHull(points[JAW].astype(np.float32))
    lips = cv2.convexHull(points[OUTER_LIPS].astype(np.float32))
    skin, upper = np.zeros((GRID, GRID), bool), np.zeros((GRID, GRID), bool)
    for i, y in enumerate(centres):
        for j, x in enumerate(centres):
            where = float(x), float(y)
            if cv2.pointPolygonTest(hull, where, True) < 0:
                continue
            below = y > points[NOSE_BASE, 1]
            skin[i, j] = below and cv2.pointPolygonTest(lips, where, True) < -LIPS
            upper[i, j] = not below
    return skin, upper


def _ramp(values: Float, ends: tuple[float, float]) -> Float:
    """Linear from 0 at the first end to 1 at the second, clipped."""
    return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
