"""The critics: one patch discriminator for each output resolution (Sec. 3.3.3, 3.4)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sidgan.config import DiscriminatorConfig
from sidgan.nn.layers import SLOPE


class Discriminator(nn.Module):
    """Scores overlapping patches of a face: near 1 where they look real, near 0 where not.

    ``layers`` convolutions halve the picture, two more only widen the patch: 34 px of the input for 2 layers, 70 for
    3. Spectral instead of batch normalisation, because a batch is either all real or all generated.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        units: list[nn.Module] = []
        inputs = 3
        for i in range(config.layers + 1):
            outputs = min(config.cmax, config.base * 2**i)
            stride = 2 if i < config.layers else 1
            units += [spectral_norm(nn.Conv2d(inputs, outputs, 4, stride, padding=1)), nn.LeakyReLU(SLOPE, True)]
            inputs = outputs
        self.units = nn.Sequential(*units, spectral_norm(nn.Conv2d(inputs, 1, 4, padding=1)))

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to unbounded scores (N, 1, H, W) of overlapping patches."""
        return self.units(image)
