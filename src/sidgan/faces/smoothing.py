"""Smoothing of raw landmarks into a track: gaps are filled, jitter is removed, and the crop moves steadily."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from sidgan.faces.pose import head_pose
from sidgan.faces.shots import AROUND, jumps
from sidgan.geometry import face_square, square_matrix
from sidgan.types import FaceTrack, Float

SMOOTHED = 22 + AROUND  #: number of frames before and after one that influence it in a smoothed track


def smooth(first: int, points: Float, scores: Float, changes: Float | None = None) -> FaceTrack:
    """A track that starts at frame ``first``, from raw landmarks (N, 68, 2) px and scores (N,), 0 where not seen.

    ``changes`` (N,) says how much each frame differs from the one before, see `sidgan.faces.shots.jumps`; without it,
    small jumps are not found.

    Gaps are interpolated linearly. Landmarks are smoothed by a Gaussian with a standard deviation of one frame. The
    crop is smoothed by a median of 13 frames and a Gaussian of 4, so that the network sees a steady face and the pasted
    mouth does not swim. No filter crosses a cut found by `sidgan.faces.shots.jumps`.
    """
    seen = np.nonzero(scores > 0)[0]
    points, scores = points[: seen[-1] + 1], scores[: seen[-1] + 1]
    frames = np.arange(len(points))
    flat = points.reshape(len(points), -1)
    filled = np.stack([np.interp(frames, seen, flat[seen, i]) for i in range(flat.shape[1])], 1).reshape(points.shape)
    changes = np.zeros(len(points)) if changes is None else changes[: len(points)]
    takes = [_steadied(take) for take in np.split(filled, jumps(filled, changes))]
    steady, square = (np.concatenate(parts) for parts in zip(*takes, strict=True))
    return FaceTrack(
        first=first, visible=scores > 0, landmarks=steady.astype(np.float32), matrices=square_matrix(square),
        scores=scores, pose=np.stack([head_pose(p) for p in steady]),
    )  # fmt: skip


def _steadied(points: Float) -> tuple[Float, Float]:
    """Smoothed landmarks (N, 68, 2), and smoothed face squares (N, 3) for the crop."""
    steady = gaussian_filter1d(points, 1.0, axis=0, mode="nearest")
    square = median_filter(face_square(points), (13, 1), mode="nearest")
    return steady, gaussian_filter1d(square, 4.0, axis=0, mode="nearest")
