"""How sure it is, frame by frame, that a face can be redrawn: what speaks against it, and how much.

Each doubt is a number from 1 (none) to 0, and the confidence of a frame is the smallest of the five: users are told a
reason, and a product of all five would not have one. What covers a face is found in two ways: by a network that knows
hands and things (`covering`), and by the skin. In the steady square of a face, chin and cheeks look nearly the same all
the time; whatever looks different there is something else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import median_filter

from sidgan.dubbing.analysis.covering import hidden_shares
from sidgan.geometry import JAW, NOSE_BASE, STEADY
from sidgan.people import MAX_YAW, MIN_SIDE, TrackedFace
from sidgan.types import Array, Byte, Float

REASONS = (
    "face partly covered", "face landmarks unstable", "face turned too far", "face too small", "face hardly detected",
)  # fmt: skip
SURE = 0.5  #: confidence below which a face is left as it was
STEADY_OVER = 5  #: frames over which the median of the confidence is taken, so that it does not flicker

GRID = 12  #: cells across a face square
COMPARED = 300  #: frames, spread over the track, that say how the skin looks
APART = 12  #: frames that these are away at least: a hand stays for longer than a moment
NEIGHBOURS = 16  #: of these, the ones in which the head is held most alike
FEWEST = 8  #: with fewer to compare with, as in shots of under a second, nobody counts as covered
FEW = 2  #: of the neighbours, the most unlike on either side, that are ignored: they may be covered themselves
LIGHTER, REDDER = 20.0, 7.0  #: levels of luma and of either colour by which a cell of skin may differ from it
ALIKE = 0.009  #: of the side: heads whose landmarks differ by more are not held alike, and their skin may differ more
LIPS = 0.05  #: of the side; cells closer to the lips than this are ignored

# Each doubt rises from 0 to 1 between two values; the value at SURE, in the middle, still passes.
COVERED = (0.36, 0.04)  #: share of chin and cheeks that looks foreign; 0.20 passes
LIPS_HIDDEN = (0.7, 0.1)  #: share of the lips with something before them; 0.4 passes
FACE_HIDDEN = (0.8, 0.2)  #: share of lips, chin and cheeks; 0.5 passes
SLIPPED = (0.024, 0.008)  #: of the side, by which landmarks jump about; 0.016 passes
TURNED = (2 * MAX_YAW - 35.0, 35.0)  #: degrees of yaw; MAX_YAW passes
SMALL = (0.0, 2.0 * MIN_SIDE)  #: px of side; MIN_SIDE passes
UNSURE = (-0.4, 0.4)  #: score of the detector; 0, its own limit, passes


@dataclass(frozen=True)
class Trust:
    """Of a track of N frames.

    Attributes:
        confidence: (N,) 0 to 1; 0 where the face was not seen.
        doubts: (N,) which doubt is the largest, an index into `REASONS`.
    """

    confidence: Float
    doubts: Array

    def reason(self, row: int) -> str:
        """What speaks against the face of a frame, in words."""
        return REASONS[int(self.doubts[row])]

    def refusals(self) -> dict[int, str]:
        """{row: what speaks against it} for all frames that are not sure enough."""
        return {int(row): self.reason(int(row)) for row in np.flatnonzero(self.confidence < SURE)}


def surface(image: Byte) -> Byte:
    """What a face looks like, (12, 12, 3) uint8 luma and colours, of its crop (S, S, 3) RGB."""
    colours = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    return np.asarray(cv2.resize(colours, (GRID, GRID), interpolation=cv2.INTER_AREA))


def trust(person: TrackedFace, surfaces: Byte, before: Byte | None = None) -> Trust:
    """How sure a track's frames are.

    Args:
        surfaces: (N, 12, 12, 3) of its frames.
        before: (N, 24, 24), what lies in front of the face, see `covering.covers`; nothing if not given.
    """
    track, seen = person.track, person.track.visible | person.bridged
    scores = np.where(track.visible, track.scores, np.interp(np.arange(len(track)), np.flatnonzero(track.visible),
                                                             track.scores[track.visible]))  # fmt: skip
    foreign = _ramp(covered(surfaces, person.points, track.visible), COVERED)
    if before is not None:
        lips, face = hidden_shares(before, person.points)
        foreign = np.minimum.reduce([foreign, _ramp(lips, LIPS_HIDDEN), _ramp(face, FACE_HIDDEN)])
    doubts = np.stack([  # in the order of `REASONS`
        foreign, _ramp(slips(person.points), SLIPPED),
        _ramp(np.abs(track.pose[:, 0]), TURNED), _ramp(person.sides, SMALL), _ramp(scores, UNSURE),
    ])  # fmt: skip
    doubts = median_filter(doubts, (1, STEADY_OVER), mode="nearest")
    return Trust(np.where(seen, doubts.min(0), 0.0).astype(np.float32), doubts.argmin(0))


def covered(surfaces: Byte, points: Float, good: Array) -> Float:
    """(N,) share of chin and cheeks that looks foreign in each frame; 0 where there is too little to compare with.

    Light falls differently on a head that turns. So a frame is compared with those in which the head is held most
    alike; where a short clip has none, its skin may differ by more.

    Args:
        surfaces: (N, 12, 12, 3).
        points: (N, 68, 2) unit landmarks.
        good: (N,) bool, the frames that say how the skin looks.
    """
    rows = np.flatnonzero(good)
    rows = rows[np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).round().astype(int)]
    head = points[:, STEADY].reshape(len(points), -1)
    skin, upper = _cells(np.median(points[rows], 0))
    shares = np.zeros(len(points), np.float32)
    if not skin.any() or not upper.any():  # landmarks of no face
        return shares
    for i, looks in enumerate(surfaces):
        others = rows[np.abs(rows - i) > APART]
        if len(others) < FEWEST:
            continue
        off = np.abs(head[others] - head[i]).mean(1)
        nearest = np.argsort(off, kind="stable")[:NEIGHBOURS]
        near, leeway = others[nearest], max(1.0, float(off[nearest].mean()) / ALIKE)
        usual = surfaces[near].astype(np.float32)
        light = np.median(looks[upper] - usual[:, upper], 1)  # what changes the whole face is light
        known = np.sort(usual[:, skin] + light[:, None], 0)
        beyond = np.maximum(known[FEW] - looks[skin], looks[skin] - known[-1 - FEW])
        shares[i] = (beyond > leeway * np.array((LIGHTER, REDDER, REDDER))).any(-1).mean()
    return shares


def slips(points: Float) -> Float:
    """(N,) how far the head's landmarks are from the mean of the frames before and after, in shares of the side."""
    steady = points[:, STEADY]
    if len(steady) < 3:
        return np.zeros(len(steady), np.float32)
    off = np.linalg.norm(steady[1:-1] - (steady[:-2] + steady[2:]) / 2, axis=-1).mean(1)
    return np.pad(off, 1, mode="edge").astype(np.float32)


def _cells(points: Float) -> tuple[Array, Array]:
    """(12, 12) bool twice: cells of chin and cheeks, and of the face above, of unit landmarks (68, 2)."""
    centres = ((np.arange(GRID) + 0.5) / GRID).astype(np.float32)
    hull = cv2.convexHull(points[JAW].astype(np.float32))
    lips = cv2.convexHull(points[48:60].astype(np.float32))
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
    """0 at the first end, 1 at the second."""
    return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)
