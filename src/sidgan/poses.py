"""Frames of a track in which a head is posed alike: what a face usually looks like in the pose of a frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sidgan.geometry import STEADY
from sidgan.types import Array, Float

COMPARED = 300  #: frames, spread over the track, to compare with
APART = 12  #: least distance to these in frames, as a hand covers neighbouring frames too
NEIGHBOURS = 16  #: number of these that are used: the ones with the most similar head pose
FEWEST = 8  #: with fewer frames to compare with, as in shots of under a second, nothing is known to be usual


def compared(good: Array) -> Array:
    """Rows of the frames to compare with: at most `COMPARED` of the ``good`` (N,) ones, spread over the track."""
    rows = np.flatnonzero(good)
    return rows[np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).round().astype(int)]


def alike(points: Float, rows: Array, wanted: Array | None = None) -> Iterator[tuple[Array, float]]:
    """For each frame, those of ``rows`` with the most similar head pose, and how far their landmarks are off.

    Args:
        points: (N, 68, 2) unit landmarks.
        rows: frames to compare with, see `compared`.
        wanted: the frames to compare; all by default.

    Yields:
        Up to `NEIGHBOURS` rows, the most similar first, and the mean distance of their steady landmarks, in sides of
        the face square. No rows where fewer than `FEWEST` frames are far enough away.
    """
    head = points[:, STEADY].reshape(len(points), -1)
    for i in range(len(points)) if wanted is None else wanted:
        others = rows[np.abs(rows - i) > APART]
        if len(others) < FEWEST:
            yield others[:0], 0.0
            continue
        off = np.abs(head[others] - head[i]).mean(1)
        nearest = np.argsort(off, kind="stable")[:NEIGHBOURS]
        yield others[nearest], float(off[nearest].mean())
