"""The same face with its mouth opened or closed: lips and chin move, everything else stays (Fig. 2)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from sidgan.geometry import MOUTH
from sidgan.types import Byte, Float

CHIN = slice(6, 11)
REACH = 0.6  #: at full opening the lips are 1.6 times as high, at -1 they are 0.4 times as high
CHIN_SHARE = 0.5  #: of the reach, for the chin
BORDER = 9  #: fixed points along each side of the picture
STEP = 2  #: px of the grid on which the displacement is looked up; it is linear in between but for a few creases


def moved_landmarks(landmarks: Float, opening: float) -> Float:
    """Landmarks (68, 2) px with lips and chin moved away from (or, below 0, towards) the mouth's centre, vertically.

    Args:
        landmarks: iBUG order.
        opening: s in [-1, 1]; heights over the centre are multiplied by 1 + 0.6 s, those of the chin by 1 + 0.3 s.
    """
    moved = np.array(landmarks, np.float64)
    centre = moved[MOUTH, 1].mean()
    for points, share in ((MOUTH, 1.0), (CHIN, CHIN_SHARE)):
        moved[points, 1] = centre + (moved[points, 1] - centre) * (1 + REACH * share * opening)
    return moved


def displacement(landmarks: Float, opening: float, size: int) -> Float:
    """Where each pixel of the warped picture comes from, relative to itself: (S, S) px, vertical, float32.

    Piecewise linear over the Delaunay triangles of the *moved* points and of fixed points along the border, so that
    every pixel has exactly one origin, however far points move.
    """
    moved = moved_landmarks(landmarks, opening)
    along = np.linspace(0, size - 1, BORDER)
    low, high = np.zeros(BORDER), np.full(BORDER, size - 1.0)
    border = np.concatenate([np.stack(side, 1) for side in ((along, low), (along, high), (low, along), (high, along))])
    inside = ((landmarks > 0) & (landmarks < size - 1)).all(1)
    points = np.concatenate([moved[inside], np.unique(border, axis=0)])
    origin = np.concatenate([landmarks[inside, 1] - moved[inside, 1], np.zeros(len(points) - inside.sum())])
    # Samples at the centres of STEP x STEP blocks are what enlarging by STEP expects.
    axis = np.arange(0, size, STEP) + (STEP - 1) / 2
    x, y = np.meshgrid(axis, axis)
    coarse = LinearNDInterpolator(points, origin, fill_value=0.0)(x, y).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR))


def open_mouth(image: Byte, landmarks: Float, opening: float) -> Byte:
    """Warp a picture (S, S, 3) so that its landmarks lie at `moved_landmarks`; an opening of 0 returns it as it is.

    Args:
        image: uint8, S even.
        landmarks: (68, 2) px in it.
        opening: s in [-1, 1].
    """
    if opening == 0:
        return image
    size = image.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    y = y + displacement(landmarks, opening, size)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
