"""A small network that segments what covers a face: hands, microphones, cups.

A U-Net on face crops of 48 px: whatever covers a mouth is several of these pixels wide, and a crop of this size takes
only a millisecond. A second picture shows what the face usually looks like in this pose, which tells hands from ears,
hair, beards and shadows. Pixel coordinates are two further inputs, because the same texture means different things in
the middle and at the edge of a face.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import OcclusionConfig

SIDE = 48  #: px, side of the face crops
GROUPS = 8  #: of every group normalisation
INPUTS = 8  #: two pictures and the coordinates


class OcclusionNet(nn.Module):
    """Predicts for each pixel of a face crop whether something covers the face there."""

    coordinates: Tensor

    def __init__(self, config: OcclusionConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = (w, 2 * w, 3 * w, 4 * w)
        self.down = nn.ModuleList(
            nn.Sequential(_unit(before, width, stride), _unit(width, width))
            for before, width, stride in zip((INPUTS, *widths), widths, (1, 2, 2, 2), strict=False)
        )
        self.bottom = _unit(widths[-1], widths[-1])
        self.up = nn.ModuleList(_unit(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(w, 1, 1)
        axis = torch.linspace(-1, 1, SIDE)
        coordinates = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
        self.register_buffer("coordinates", coordinates, persistent=False)

    def forward(self, faces: Tensor, usual: Tensor) -> Tensor:
        """Map faces to logits (N, 48, 48).

        Args:
            faces: (N, 3, 48, 48) in [0, 1].
            usual: (N, 3, 48, 48) in [0, 1], means of frames in which the head is posed alike; black if there are none.
        """
        x = torch.cat([faces, usual, self.coordinates.expand(len(faces), -1, -1, -1)], 1)
        skips = []
        for level in self.down:
            x = level(x)
            skips.append(x)
        x = self.bottom(skips.pop())
        for level in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = level(torch.cat([x, skips.pop()], 1))
        return cast(Tensor, self.last(x)[:, 0])


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.ReLU(inplace=True)
    )
