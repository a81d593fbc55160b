"""Faces that the edge of the picture cuts off."""

from __future__ import annotations

import numpy as np

from sidgan.geometry import EYES, JAW, OUTER_LIPS, to_unit
from sidgan.types import FaceTrack, Float

LOWER_LIP = 0.68  #: in the face square: the lower lip of most people is here or below
EYE_AT_EDGE = 0.04  #: in sides of the square


def cut_off(track: FaceTrack, width: int, height: int) -> frozenset[int]:
    """Rows of the frames of a track, ``width`` x ``height`` px, whose edge cuts off the chin or the jaw."""
    jaw = track.landmarks[:, JAW]
    return frozenset(np.flatnonzero(((jaw < 0) | (jaw >= (width, height))).any((1, 2))).tolist())


def lips_inside(track: FaceTrack, width: int, height: int) -> Float:
    """(N,) distance of the lips from the nearest edge of the frames of a track, ``width`` x ``height`` px, in sides of
    the face square; negative beyond the edge.

    Landmarks of what is beyond the edge are guessed, mostly inside the frame. So lower lips are expected at `LOWER_LIP`
    at least; and where an eye is within `EYE_AT_EDGE`, the face is thought to go on beyond that edge, and nothing to be
    where it seems.
    """
    squares, points = track.matrices, to_unit(track.matrices, track.landmarks)
    lips, eyes, sides = points[:, OUTER_LIPS], points[:, EYES], squares[:, 0, 0]
    left, top = (-squares[:, axis, 2] / sides for axis in (0, 1))
    right, bottom = left + width / sides, top + height / sides
    of_lips, of_eyes = (np.minimum(x.min(1) - left, right - x.max(1)) for x in (lips[..., 0], eyes[..., 0]))
    above = np.minimum(of_eyes, eyes[..., 1].mean(1) - top) - EYE_AT_EDGE
    below = bottom - np.maximum(lips[..., 1].max(1), LOWER_LIP)
    return np.minimum(np.minimum(of_lips, above), below).astype(np.float32)
