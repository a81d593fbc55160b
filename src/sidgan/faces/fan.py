"""The landmark network FAN, an alternative to dlib's landmarks for faces that are turned, dark or partly hidden.

The network (Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", 2017) is
downloaded on first use (`sidgan.downloads.FAN`). It gives 68 heatmaps of 64 x 64; the maximum of each is one landmark,
in iBUG order.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch

from sidgan.downloads import FAN, fetch
from sidgan.faces.models import Box
from sidgan.types import Byte, Float

INPUT = 256  #: px, side of the network's input
#: The square that it was trained on: its side relative to the mean side of the face's box, and how far its centre lies
#: above the box's centre, as a fraction of the box's height.
ZOOM, RAISE = 200 / 97.5, 0.12
NUDGE = 0.25  #: heatmap cells by which a maximum is shifted towards its higher neighbour, in x and in y


class Fan:
    """A `Landmarker`, called like `sidgan.faces.landmarks`.

    Raises:
        DownloadError: the network cannot be downloaded, or its checksum differs from the published file's.
    """

    def __init__(self) -> None:
        self._net = torch.jit.load(str(fetch(FAN)), map_location="cpu").eval()

    @torch.no_grad()
    def __call__(self, image: Byte, box: Box) -> Float:
        """Landmarks (68, 2) px of the face in ``box`` of a grey or RGB uint8 image, in iBUG order."""
        x0, y0, x1, y1 = box
        side = ZOOM * (x1 - x0 + y1 - y0) / 2
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 - RAISE * (y1 - y0)
        picture = _square(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2), left, top, side)
        maps = self._net(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0].float().numpy()
        return (peaks(maps) / maps.shape[-1] * side + (left, top) - 0.5 * side / INPUT).astype(np.float32)


def peaks(maps: Float) -> Float:
    """The maximum of each of (K, H, W) maps: (K, 2) as x, y in cells, where the centre of the first cell is 0.5."""
    count, _, width = maps.shape
    rows, columns = np.divmod(maps.reshape(count, -1).argmax(1), width)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    k, y, x = np.arange(count), rows + 1, columns + 1
    slope = np.stack([np.sign(padded[k, y, x + 1] - padded[k, y, x - 1]),
                     np.sign(padded[k, y + 1, x] - padded[k, y - 1, x])], 1)  # fmt: skip
    return np.stack([columns, rows], 1) + 0.5 + NUDGE * slope


def _square(image: Byte, left: float, top: float, side: float) -> Byte:
    """A square of an RGB image, resized to (256, 256, 3); black outside the image."""
    scale = INPUT / side
    if scale < 1:  # reduced by averaging first: the warp alone would alias
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top, scale = left * scale, top * scale, 1.0
    move = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    return np.asarray(cv2.warpAffine(image, move, (INPUT, INPUT), flags=cv2.INTER_LINEAR))


@lru_cache(maxsize=1)
def landmarker() -> Fan:
    """The `Fan` of this process, loaded on first use."""
    return Fan()
