"""Patch discriminators ("critics"): one for each output resolution (Sec. 3.3.3, 3.4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sidgan.config import DiscriminatorConfig
from sidgan.nn.layers import SLOPE

BLUR_SIDE = 5  #: px; detail is the difference between the image and its box blur of this side
DETAIL_GAIN = 6.0  #: factor on the detail, whose range is about a sixth of that of the colours


class Discriminator(nn.Module):
    """Scores overlapping patches of a face: near 1 where they look real, near 0 where not.

    ``layers`` convolutions of stride 2 are followed by two of stride 1; a patch (the receptive field) is 34 px of the
    input for 2 layers and 70 px for 3. A discriminator of faces uses spectral instead of batch normalisation, because
    a batch is either all real or all generated. A discriminator of detail uses instance normalisation, because the
    strength of the detail differs from camera to camera.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.detail = config.sees == "detail"
        units: list[nn.Module] = []
        inputs = 3
        for i in range(config.layers + 1):
            outputs = min(config.cmax, config.base * 2**i)
            units.append(self._wrapped(nn.Conv2d(inputs, outputs, 4, 2 if i < config.layers else 1, padding=1)))
            if self.detail and i:  # not after the first layer, so that the strength of the detail keeps some influence
                units.append(nn.InstanceNorm2d(outputs))
            units.append(nn.LeakyReLU(SLOPE, True))
            inputs = outputs
        self.units = nn.Sequential(*units, self._wrapped(nn.Conv2d(inputs, 1, 4, padding=1)))

    def _wrapped(self, layer: nn.Conv2d) -> nn.Module:
        return layer if self.detail else spectral_norm(layer)

    def forward(self, image: Tensor, mel: Tensor | None = None) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to unbounded scores (N, 1, H, W) of overlapping patches; ``mel`` is ignored."""
        return self.units(mouth_detail(image) if self.detail else image)


def mouth_detail(image: Tensor) -> Tensor:
    """Fine detail (high-pass) of the lower halves of (N, 3, S, S): (N, 3, S / 2, S), about -1 to 1."""
    lower = image[:, :, image.shape[2] // 2 :]
    return DETAIL_GAIN * (lower - F.avg_pool2d(lower, BLUR_SIDE, 1, BLUR_SIDE // 2, count_include_pad=False))
