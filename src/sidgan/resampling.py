"""Pictures read on another grid: moved, enlarged or reduced, each axis by itself.

The squares around faces move and grow but never turn, so a row of the result is the same mix of rows of the source all
along, and a column of columns. Such a mix is a matrix with a few numbers in each row. Multiplying by it for either axis
takes a fraction of what looking up every pixel by itself takes, and places are exact instead of thirty-seconds of a
pixel. Sums are made in one order, whatever the memory's alignment: the same picture gives the same bits.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from scipy.sparse import csr_array

from sidgan.types import Array, Float

SHARPNESS = -0.75  #: of the cubic kernel, as OpenCV has it
SLACK = 0.05  #: by which a step may exceed whole px before one more look is averaged


def resampled(source: Array, steps: tuple[float, float], starts: tuple[float, float], size: int) -> Float:
    """(size, size) float32 of ``source`` (H, W); its edges go on beyond them.

    Args:
        steps: px of the source from one row, and from one column, of the result to the next. Where they are long,
            several looks are averaged, so that nothing is skipped over.
        starts: the source's row and column, centres at whole numbers, of the result's first.
    """
    down, rows = _mix(steps[0], starts[0], size, source.shape[0])
    across, columns = _mix(steps[1], starts[1], size, source.shape[1])
    part = np.asarray(source[rows, columns], np.float32)
    return np.asarray(cv2.transpose(across @ cv2.transpose(down @ part)))


@lru_cache(maxsize=8)  # both planes of colour are read alike
def _mix(step: float, start: float, size: int, length: int) -> tuple[csr_array, slice]:
    """The matrix (size, M) for one axis, and which M of ``length`` px it is for."""
    looks = max(1, math.ceil(step - SLACK))
    places = start + step * ((np.arange(size * looks) + 0.5) / looks - 0.5)
    whole = np.floor(places)
    away = np.abs((places - whole)[:, None] - np.arange(-1, 3))
    a = SHARPNESS
    near, far = ((a + 2) * away - (a + 3)) * away**2 + 1, ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    shares = (np.where(away <= 1, near, far) / looks).astype(np.float32)
    taken = np.clip(whole.astype(np.int32)[:, None] + np.arange(-1, 3, dtype=np.int32), 0, length - 1)
    first, last = int(taken.min()), int(taken.max())
    ends = np.arange(0, taken.size + 1, 4 * looks, dtype=np.int32)
    mix = csr_array((shares.ravel(), taken.ravel() - first, ends), shape=(size, last + 1 - first))
    return mix, slice(first, last + 1)
