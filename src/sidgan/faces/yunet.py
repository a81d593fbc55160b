"""OpenCV's face detector YuNet, an alternative to dlib's for footage with small, turned or half-hidden faces.

The model file is downloaded on first use (`sidgan.downloads.YUNET`). It gives five points for each face; the 68
landmarks come from dlib's model, in a box computed from these five points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np

from sidgan.downloads import YUNET, fetch
from sidgan.faces.detector import WINDOW_FACE, belongs
from sidgan.faces.models import Box, landmarks
from sidgan.types import Byte, Face, Float

LONG_SIDE = 960  #: px, long side to which larger frames are reduced
SMALLEST = 32  #: px, least side of the input, which the network halves five times
MIN_SCORE = 0.8

#: Pupils, nose tip and mouth corners in the landmark model's box, as x + iy with the box from 0 to 1; the means over
#: 1,291 frames of 47 clips. YuNet gives the points in this order.
_FIVE = np.array([0.317 + 0.247j, 0.690 + 0.248j, 0.506 + 0.428j, 0.353 + 0.666j, 0.657 + 0.668j])


class YuNet:
    """A `sidgan.faces.Detector`.

    Raises:
        DownloadError: the model file cannot be downloaded, or its checksum differs from the published file's.
    """

    def __init__(self) -> None:
        self._net = cv2.FaceDetectorYN.create(str(fetch(YUNET)), "", (320, 320), MIN_SCORE)
        self._busy = Lock()  # the network keeps the size of its input, and releases the GIL while it runs

    def search(self, luma: Byte, fine: bool = False) -> list[Face]:
        """All faces of a grey frame (H, W) uint8; finds large and small ones at once, so ``fine`` has no effect."""
        scale = min(1.0, LONG_SIDE / max(luma.shape))
        found = self._detect(luma, scale)
        return [Face(box, score, landmarks(luma, box)) for box, score in found]

    def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
        """The score of the face expected in ``box``, or ``None``; only a window around the box is searched."""
        x0, y0, x1, y1 = box
        margin = 0.5 * (x1 - x0)
        left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
        window = luma[top : max(top, int(y1 + margin)), left : max(left, int(x1 + margin))]
        if min(window.shape) < 16:
            return None
        scores = []
        for near, score in self._detect(window, WINDOW_FACE / (x1 - x0)):
            hit = (near[0] + left, near[1] + top, near[2] + left, near[3] + top)
            if belongs(hit, box, others):
                scores.append(score)
        return max(scores, default=None)

    def _detect(self, luma: Byte, scale: float) -> list[tuple[Box, float]]:
        """Boxes for the landmark model, in px of ``luma``, and scores from 0.8 to 1."""
        width, height = (max(SMALLEST, round(v * scale)) for v in luma.shape[::-1])
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.cvtColor(cv2.resize(luma, (width, height), interpolation=how), cv2.COLOR_GRAY2BGR)
        with self._busy:
            self._net.setInputSize((width, height))
            _, rows = self._net.detect(image)
        step = np.array(luma.shape[::-1]) / (width, height)
        return [] if rows is None else [
            (box_of_five((row[4:14].reshape(5, 2) + 0.5) * step - 0.5), float(row[14])) for row in rows
        ]  # fmt: skip


def box_of_five(points: Float) -> Box:
    """The box for the 68-landmark model, from pupils, nose tip and mouth corners (5, 2), by a least squares fit."""
    seen = points[:, 0] + 1j * points[:, 1]
    shape = _FIVE - _FIVE.mean()
    turn = np.vdot(shape, seen - seen.mean()) / np.vdot(shape, shape)
    centre = seen.mean() + turn * (0.5 + 0.5j - _FIVE.mean())
    half, x, y = float(abs(turn)) / 2, float(centre.real), float(centre.imag)
    return x - half, y - half, x + half, y + half


@lru_cache(maxsize=1)
def detector() -> YuNet:
    """The `YuNet` of this process, loaded on first use."""
    return YuNet()
