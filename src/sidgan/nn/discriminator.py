"""The critics: one patch discriminator for each output resolution (Sec. 3.3.3, 3.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sidgan.config import DiscriminatorConfig
from sidgan.nn.layers import SLOPE

FINE = 5  #: px; detail is what remains when the mean over so many is taken away
LOUDER = 6.0  #: and is enlarged so often, as it spans a sixth of what colours do


class Discriminator(nn.Module):
    """Scores overlapping patches of a face: near 1 where they look real, near 0 where not.

    ``layers`` convolutions halve the picture, two more only widen the patch: 34 px of the input for 2 layers, 70 for
    3. A critic of faces has spectral instead of batch normalisation, because a batch is either all real or all
    generated. A critic of detail normalises each picture by itself: how strong its detail is differs with the camera.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.detail = config.sees == "detail"
        units: list[nn.Module] = []
        inputs = 3
        for i in range(config.layers + 1):
            outputs = min(config.cmax, config.base * 2**i)
            units.append(self._bounded(nn.Conv2d(inputs, outputs, 4, 2 if i < config.layers else 1, padding=1)))
            if self.detail and i:  # not the first: what is left of the strength shall be heard
                units.append(nn.InstanceNorm2d(outputs))
            units.append(nn.LeakyReLU(SLOPE, True))
            inputs = outputs
        self.units = nn.Sequential(*units, self._bounded(nn.Conv2d(inputs, 1, 4, padding=1)))

    def _bounded(self, layer: nn.Conv2d) -> nn.Module:
        return layer if self.detail else spectral_norm(layer)

    def forward(self, image: Tensor, mel: Tensor | None = None) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to unbounded scores (N, 1, H, W) of overlapping patches, whatever is heard."""
        return self.units(mouth_detail(image) if self.detail else image)


def mouth_detail(image: Tensor) -> Tensor:
    """What is fine in the lower halves of (N, 3, S, S): (N, 3, S / 2, S), about -1 to 1."""
    lower = image[:, :, image.shape[2] // 2 :]
    return LOUDER * (lower - F.avg_pool2d(lower, FINE, 1, FINE // 2, count_include_pad=False))
