"""Separable cubic resampling of images: shifted, enlarged or reduced, one axis at a time.

The squares around faces move and scale but never rotate, so each row of the result is the same weighted sum of source
rows at every column, and likewise for columns. For each axis these weights form a sparse matrix. Multiplying by the two
matrices takes a fraction of the time of warping every pixel, and positions are exact, whereas OpenCV rounds them to
1/32 px. The order of summation does not depend on memory alignment, so equal images give equal bits.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_array

from sidgan.types import Array, Float

SHARPNESS = -0.75  #: parameter a of the cubic kernel, as in OpenCV
SLACK = 0.05  #: px by which a step may exceed a whole number before one more sample is averaged


def resampled(source: Array, steps: tuple[float, float], starts: tuple[float, float], size: int) -> Float:
    """Resample ``source`` (H, W) to (size, size) float32; its edge pixels are repeated outside of it.

    Args:
        steps: distance in source px between successive rows, and columns, of the result. Above 1, several samples per
            pixel are averaged, which avoids aliasing.
        starts: row and column in the source of the result's first pixel; integers are pixel centres.
    """
    down, rows = _weights(steps[0], starts[0], size, source.shape[0])
    across, columns = _weights(steps[1], starts[1], size, source.shape[1])
    part = np.asarray(source[rows, columns], np.float32)
    return np.asarray(cv2.transpose(across @ cv2.transpose(down @ part)))


@lru_cache(maxsize=8)  # both chroma planes use the same matrices
def _weights(step: float, start: float, size: int, length: int) -> tuple[csr_array, slice]:
    """The matrix (size, M) for one axis, and the slice of M out of ``length`` source px that it applies to."""
    samples = max(1, math.ceil(step - SLACK))  # per pixel of the result
    positions = start + step * ((np.arange(size * samples) + 0.5) / samples - 0.5)
    whole = np.floor(positions)
    distance = np.abs((positions - whole)[:, None] - np.arange(-1, 3))
    a = SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weights = (np.where(distance <= 1, near, far) / samples).astype(np.float32)
    indices = np.clip(whole.astype(np.int32)[:, None] + np.arange(-1, 3, dtype=np.int32), 0, length - 1)
    first, last = int(indices.min()), int(indices.max())
    row_ends = np.arange(0, indices.size + 1, 4 * samples, dtype=np.int32)
    matrix = csr_array((weights.ravel(), indices.ravel() - first, row_ends), shape=(size, last + 1 - first))
    return matrix, slice(first, last + 1)
