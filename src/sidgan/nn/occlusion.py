"""A small network that sees what lies before a face: hands, microphones, cups.

A U-Net on faces of 48 px: whatever covers a mouth is several of these pixels wide, and so little costs a millisecond.
It is told where each pixel lies, as a chin is one thing in the middle and another at the edge.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import OcclusionConfig

SIDE = 48  #: px of the faces that it sees
GROUPS = 8


class OcclusionNet(nn.Module):
    """Says of each pixel of a face whether something lies before it."""

    places: Tensor

    def __init__(self, config: OcclusionConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        widths = (w, 2 * w, 3 * w, 4 * w)
        self.down = nn.ModuleList(
            nn.Sequential(_unit(before, width, 1 if before == 5 else 2), _unit(width, width))
            for before, width in zip((5, *widths), widths, strict=False)
        )
        self.bottom = _unit(widths[-1], widths[-1])
        self.up = nn.ModuleList(_unit(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(w, 1, 1)
        axis = torch.linspace(-1, 1, SIDE)
        places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
        self.register_buffer("places", places, persistent=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces (N, 3, 48, 48) in [0, 1] to logits (N, 48, 48)."""
        x = torch.cat([faces, self.places.expand(len(faces), -1, -1, -1)], 1)
        seen = []
        for level in self.down:
            x = level(x)
            seen.append(x)
        x = self.bottom(seen.pop())
        for level in self.up:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = level(torch.cat([x, seen.pop()], 1))
        return cast(Tensor, self.last(x)[:, 0])


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.ReLU(inplace=True)
    )
