"""From what was seen of a face to a steady track: gaps filled, jitter removed, and a crop that moves calmly."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from sidgan.faces.pose import head_pose
from sidgan.faces.shots import AROUND, jumps
from sidgan.geometry import face_square, square_matrix
from sidgan.types import FaceTrack, Float

SMOOTHED = 22 + AROUND  #: frames before and after one on which its place in a smoothed track depends


def smooth(first: int, points: Float, scores: Float) -> FaceTrack:
    """A track from raw landmarks (N, 68, 2) and scores (N,): gaps interpolated, jitter removed, lips left alone.

    Landmarks get a Gaussian of one frame. The crop moves with a median of 13 frames and a Gaussian of 4, so that the
    network sees a steady face and the pasted mouth does not swim. Neither reaches across `sidgan.faces.shots.jumps`.
    """
    seen = np.nonzero(scores > 0)[0]
    points, scores = points[: seen[-1] + 1], scores[: seen[-1] + 1]
    frames = np.arange(len(points))
    flat = points.reshape(len(points), -1)
    filled = np.stack([np.interp(frames, seen, flat[seen, i]) for i in range(flat.shape[1])], 1).reshape(points.shape)
    takes = [_steadied(take) for take in np.split(filled, jumps(filled))]
    steady, square = (np.concatenate(parts) for parts in zip(*takes, strict=True))
    return FaceTrack(
        first=first, visible=scores > 0, landmarks=steady.astype(np.float32), matrices=square_matrix(square),
        scores=scores, pose=np.stack([head_pose(p) for p in steady]),
    )  # fmt: skip


def _steadied(points: Float) -> tuple[Float, Float]:
    """Landmarks (N, 68, 2) without jitter, and the squares (N, 3) with which the crop moves."""
    steady = gaussian_filter1d(points, 1.0, axis=0, mode="nearest")
    square = median_filter(face_square(points), (13, 1), mode="nearest")
    return steady, gaussian_filter1d(square, 4.0, axis=0, mode="nearest")
