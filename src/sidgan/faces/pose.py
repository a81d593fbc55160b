"""Head pose from landmarks."""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.geometry import JAW
from sidgan.types import Float

_HEAD_POINTS = (30, 8, 36, 45, 48, 54)
_HEAD_MODEL = np.array(  # x to the image's right, y down, z away from the camera; outer eye corners are 450 units apart
    [(0, 0, 0), (0, 330, 120), (-225, -170, 250), (225, -170, 250), (-150, 150, 170), (150, 150, 170)], np.float64
)


def head_pose(points: Float) -> Float:
    """Yaw, pitch and roll (3,) in degrees, from landmarks (68, 2); 0 is frontal.

    Positive angles move the nose to the image's left, move it down, and turn the head clockwise in the image.
    The head model has six points, so angles are approximate: they tell profiles from frontal faces.
    """
    centre = points[JAW].mean(0)
    width = float(np.ptp(points[:, 0])) + 1e-6
    focal = 4.0 * width
    camera = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    image = (points[list(_HEAD_POINTS)] - centre).astype(np.float64)
    frontal, away = np.zeros(3), np.array([0.0, 0.0, focal * 550 / width])
    ok, rotation, _ = cv2.solvePnP(_HEAD_MODEL, image, camera, np.zeros(4), frontal, away, True)
    if not ok:
        return np.zeros(3, np.float32)
    r, _ = cv2.Rodrigues(rotation)
    yaw = np.arctan2(r[0, 2], r[2, 2])
    pitch = np.arcsin(np.clip(-r[1, 2], -1, 1))
    roll = np.arctan2(r[1, 0], r[1, 1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)
