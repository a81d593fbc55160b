"""Warp a face image so that its mouth opens or closes: lips and chin move, everything else stays (Fig. 2)."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.interpolate import LinearNDInterpolator

from sidgan.geometry import MOUTH
from sidgan.types import Byte, Float

CHIN = slice(6, 11)  #: landmarks of the chin
REACH = 0.6  #: at an opening of 1 the lips are 1.6 times as high, at -1 they are 0.4 times as high
CHIN_SHARE = 0.5  #: share of `REACH` by which the chin moves
BORDER = 9  #: fixed points along each side of the image
STEP = 2  #: grid step of the displacement, px; it is piecewise linear, so it is coarse without visible error


def moved_landmarks(landmarks: Float, opening: float) -> Float:
    """Landmarks with lips and chin moved vertically, away from the mouth's centre or towards it (opening below 0).

    Args:
        landmarks: (68, 2) px, in iBUG order.
        opening: s in [-1, 1]; vertical distances from the centre are scaled by 1 + 0.6 s, those of the chin by
            1 + 0.3 s.
    """
    moved = np.array(landmarks, np.float64)
    centre = moved[MOUTH, 1].mean()
    for points, share in ((MOUTH, 1.0), (CHIN, CHIN_SHARE)):
        moved[points, 1] = centre + (moved[points, 1] - centre) * (1 + REACH * share * opening)
    return moved


def displacement(landmarks: Float, opening: float, size: int) -> Float:
    """Vertical offset from each pixel of the warped image to its origin: (S, S) px, float32.

    It is piecewise linear over the Delaunay triangles of the *moved* landmarks and fixed points along the border, so
    that every pixel has exactly one origin, however far the landmarks move.
    """
    moved = moved_landmarks(landmarks, opening)
    along = np.linspace(0, size - 1, BORDER)
    low, high = np.zeros(BORDER), np.full(BORDER, size - 1.0)
    border = np.concatenate([np.stack(side, 1) for side in ((along, low), (along, high), (low, along), (high, along))])
    inside = ((landmarks > 0) & (landmarks < size - 1)).all(1)
    points = np.concatenate([moved[inside], np.unique(border, axis=0)])
    origin = np.concatenate([landmarks[inside, 1] - moved[inside, 1], np.zeros(len(points) - inside.sum())])
    # Sample at the centres of STEP x STEP blocks, as cv2.resize assumes when it enlarges by STEP.
    axis = np.arange(0, size, STEP) + (STEP - 1) / 2
    x, y = np.meshgrid(axis, axis)
    coarse = LinearNDInterpolator(points, origin, fill_value=0.0)(x, y).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_LINEAR))


def open_mouth(image: Byte, landmarks: Float, opening: float) -> Byte:
    """Warp an image so that its landmarks lie at `moved_landmarks`; an opening of 0 returns it unchanged.

    Args:
        image: (S, S, 3) uint8, S even.
        landmarks: (68, 2) px in the image.
        opening: s in [-1, 1].
    """
    if opening == 0:
        return image
    size = image.shape[0]
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    y = y + displacement(landmarks, opening, size)
    return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
