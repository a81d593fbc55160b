"""The faces that the published judge of synchronisation is shown, 224 px.

Two ways are in use, and their figures do not compare:

    pipeline    the face is cut out of the whole frame around a detector's box, smoothed over time, with some room at
                the sides and much below (AVSpeech, HDTF)
    direct      a video that is already a crop of a face is only resized (LRW, LRS2)
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from sidgan.metrics.checks import require, shape
from sidgan.nn.syncnet2016 import FACE
from sidgan.types import Array, Byte

MEDIAN = 13  #: frames
FEWEST = MEDIAN // 2 + 1  #: boxes; with fewer the median would be one of the zeros beyond the ends
ROOM = 0.4  #: of the half box: beside the face once, below it twice
OUTSIDE = 110  #: grey level beyond the frame


def direct_crops(images: Tensor) -> Tensor:
    """Resize crops (n, 3, S, S) uint8 to (n, 3, 224, 224), bilinear without averaging, as the published program."""
    require(images.ndim == 4 and images.shape[1] == 3 and images.dtype == torch.uint8,
            f"crops must be (n, 3, S, S) uint8, not {shape(images)} {images.dtype}")  # fmt: skip
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    out = np.empty((len(pictures), FACE, FACE, 3), np.uint8)
    for target, picture in zip(out, pictures, strict=True):
        target[:] = cv2.resize(picture, (FACE, FACE))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def pipeline_squares(boxes: Array) -> Array:
    """A face's boxes (N, 4) x0, y0, x1, y1 px of consecutive frames as (N, 3) centre x, centre y, half side.

    Each is the median of 13 frames. The published program counts zeros beyond both ends; so does this.

    Raises:
        MetricError: fewer than 7 boxes, or values that are not finite.
    """
    from scipy.signal import medfilt  # takes longer to import than all metrics

    require(boxes.ndim == 2 and boxes.shape[1] == 4, f"boxes must be (N, 4), not {shape(boxes)}")
    require(len(boxes) >= FEWEST, f"boxes of at least {FEWEST} consecutive frames are needed, not {len(boxes)}")
    require(bool(np.isfinite(boxes).all()), "boxes are not finite; fill gaps between detections first")
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    values = ((x0 + x1) / 2, (y0 + y1) / 2, np.maximum(x1 - x0, y1 - y0) / 2)
    return np.stack([medfilt(v, MEDIAN) for v in values], 1)


def pipeline_crop(image: Byte, square: Array) -> Byte:
    """Cut one face out of a frame.

    From the half box b around (x, y), rows y - b ... y + 1.8 b and columns x - 1.4 b ... x + 1.4 b are taken: a square
    of about the size of `sidgan.geometry.face_square`.

    Args:
        image: (H, W, 3) uint8 RGB.
        square: (3,) from `pipeline_squares`.

    Returns:
        (224, 224, 3) uint8 RGB, grey beyond the frame.
    """
    x, y, half = (float(v) for v in square)
    require(half >= 1, f"a face of {2 * half:.1f} px is too small")
    pad = int(half * (1 + 2 * ROOM))  # whole numbers are taken in the padded frame, as in the published program
    top, bottom = (int(v) - pad for v in (y + pad - half, y + pad + half * (1 + 2 * ROOM)))
    left, right = (int(v) - pad for v in (x + pad - half * (1 + ROOM), x + pad + half * (1 + ROOM)))
    face = np.full((bottom - top, right - left, 3), OUTSIDE, np.uint8)
    rows, columns = slice(max(top, 0), min(bottom, len(image))), slice(max(left, 0), min(right, image.shape[1]))
    part = image[rows, columns]
    if part.size:
        face[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = part
    return np.asarray(cv2.resize(face, (FACE, FACE)))
