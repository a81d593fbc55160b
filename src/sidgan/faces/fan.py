"""The landmark network FAN in place of `sidgan.faces`' own, for faces that are turned, dim or partly hidden.

The network (Bulat and Tzimiropoulos, "How far are we from solving the 2D & 3D face alignment problem?", 2017) is
fetched on first use (`sidgan.downloads.FAN`). It draws 68 maps of 64 x 64, in each of which the
highest place is one iBUG point.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch

from sidgan.downloads import FAN, fetch
from sidgan.faces.models import Box
from sidgan.types import Byte, Float

INPUT = 256  #: px, side of the network's picture
#: The square that it was trained on: this much of the box's mean side, and this share of its height above the middle.
ZOOM, RAISE = 200 / 97.5, 0.12
NUDGE = 0.25  #: cells by which a point leans towards the higher one of its neighbours


class Fan:
    """Finds 68 points, as `sidgan.faces.landmarks` does.

    Raises:
        DownloadError: the network is not there and cannot be fetched, or is not the published one.
    """

    def __init__(self) -> None:
        self._net = torch.jit.load(str(fetch(FAN)), map_location="cpu").eval()

    @torch.no_grad()
    def __call__(self, image: Byte, box: Box) -> Float:
        """Points (68, 2) px of the face in ``box`` of a grey or RGB uint8 image, in iBUG order."""
        x0, y0, x1, y1 = box
        side = ZOOM * (x1 - x0 + y1 - y0) / 2
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 - RAISE * (y1 - y0)
        picture = _square(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2), left, top, side)
        maps = self._net(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)[0].float().numpy()
        return (peaks(maps) / maps.shape[-1] * side + (left, top) - 0.5 * side / INPUT).astype(np.float32)


def peaks(maps: Float) -> Float:
    """Where each of (K, H, W) maps is highest: (K, 2) as x, y, the middle of the first cell at 0.5."""
    count, _, width = maps.shape
    rows, columns = np.divmod(maps.reshape(count, -1).argmax(1), width)
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    each, y, x = np.arange(count), rows + 1, columns + 1
    lean = np.stack([np.sign(padded[each, y, x + 1] - padded[each, y, x - 1]),
                     np.sign(padded[each, y + 1, x] - padded[each, y - 1, x])], 1)  # fmt: skip
    return np.stack([columns, rows], 1) + 0.5 + NUDGE * lean


def _square(image: Byte, left: float, top: float, side: float) -> Byte:
    """The square (256, 256, 3) of an RGB picture; black where it reaches beyond."""
    scale = INPUT / side
    if scale < 1:  # averaged first: a large face would alias
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top, scale = left * scale, top * scale, 1.0
    move = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    return np.asarray(cv2.warpAffine(image, move, (INPUT, INPUT), flags=cv2.INTER_LINEAR))


@lru_cache(maxsize=1)
def landmarker() -> Fan:
    """One for the process."""
    return Fan()
