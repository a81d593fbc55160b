"""Face crops of 224 px for the SyncNet of 2016 (`sidgan.metrics.lag`).

Two ways of cropping are in use, whose figures cannot be compared with each other:

    pipeline    the face is cropped from the whole frame around a detected bounding box, smoothed over time, with a
                margin at the sides and a larger one below (AVSpeech, HDTF)
    direct      a video that is a face crop already is only resized (LRW, LRS2)
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from sidgan.metrics.checks import require, shape
from sidgan.nn.syncnet2016 import FACE
from sidgan.types import Array, Byte

MEDIAN = 13  #: frames in the median filter
MIN_BOXES = MEDIAN // 2 + 1  #: with fewer boxes, the median would be one of the zeros beyond the ends
MARGIN = 0.4  #: as a share of half the box: once at either side, twice below
PADDING = 110  #: grey level of what lies outside the frame


def direct_crops(images: Tensor) -> Tensor:
    """Resize crops (n, 3, S, S) uint8 to (n, 3, 224, 224): bilinear, not anti-aliased, like the published program."""
    require(images.ndim == 4 and images.shape[1] == 3 and images.dtype == torch.uint8,
            f"crops must be (n, 3, S, S) uint8, not {shape(images)} {images.dtype}")  # fmt: skip
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    out = np.empty((len(pictures), FACE, FACE, 3), np.uint8)
    for target, picture in zip(out, pictures, strict=True):
        target[:] = cv2.resize(picture, (FACE, FACE))
    return torch.from_numpy(out).permute(0, 3, 1, 2)


def pipeline_squares(boxes: Array) -> Array:
    """Bounding boxes of a face (N, 4) x0, y0, x1, y1 px in consecutive frames -> (N, 3) centre x, centre y, half side.

    Each value is the median over 13 frames, padded with zeros at both ends like in the published program.

    Raises:
        MetricError: fewer than 7 boxes, or values that are not finite.
    """
    from scipy.signal import medfilt  # slower to import than all metrics together

    require(boxes.ndim == 2 and boxes.shape[1] == 4, f"boxes must be (N, 4), not {shape(boxes)}")
    require(len(boxes) >= MIN_BOXES, f"boxes of at least {MIN_BOXES} consecutive frames are needed, not {len(boxes)}")
    require(bool(np.isfinite(boxes).all()), "boxes are not finite; fill gaps between detections first")
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    values = ((x0 + x1) / 2, (y0 + y1) / 2, np.maximum(x1 - x0, y1 - y0) / 2)
    return np.stack([medfilt(v, MEDIAN) for v in values], 1)


def pipeline_crop(image: Byte, square: Array) -> Byte:
    """Crop a face from a frame.

    With half side b and centre (x, y), the crop is rows y - b ... y + 1.8 b and columns x - 1.4 b ... x + 1.4 b: a
    square of about the size of `sidgan.geometry.face_square`.

    Args:
        image: (H, W, 3) uint8 RGB.
        square: (3,) from `pipeline_squares`.

    Returns:
        (224, 224, 3) uint8 RGB, grey outside the frame.
    """
    x, y, half = (float(v) for v in square)
    require(half >= 1, f"a face of {2 * half:.1f} px is too small")
    pad = int(half * (1 + 2 * MARGIN))  # like the published program, round coordinates of the padded frame
    top, bottom = (int(v) - pad for v in (y + pad - half, y + pad + half * (1 + 2 * MARGIN)))
    left, right = (int(v) - pad for v in (x + pad - half * (1 + MARGIN), x + pad + half * (1 + MARGIN)))
    face = np.full((bottom - top, right - left, 3), PADDING, np.uint8)
    rows, columns = slice(max(top, 0), min(bottom, len(image))), slice(max(left, 0), min(right, image.shape[1]))
    inside = image[rows, columns]
    if inside.size:
        face[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    return np.asarray(cv2.resize(face, (FACE, FACE)))
