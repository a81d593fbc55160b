"""The discriminators of the compared systems. Their scores are near 1 for real pictures, near 0 for generated ones."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import MEL_MARGIN, MEL_STEPS, CriticsConfig, DiscriminatorConfig
from sidgan.nn.baselines.lipgan import AUDIO, COLUMNS, same_padded
from sidgan.nn.discriminator import Discriminator
from sidgan.nn.layers import SLOPE
from sidgan.nn.syncnet import middle

SCALES = 2  #: discriminators of PC-AVS: at full and at half resolution
WIDE = 3  #: number of first layers with 5x5 kernels in Wav2Lip's discriminator


class HalfCritic(nn.Module):
    """Wav2Lip's visual discriminator: is the lower half of a face real. It does not use the sound.

    ``layers`` strided convolutions halve the width and, except for the first, the height; a last kernel covers the
    remaining square.
    """

    def __init__(self, config: DiscriminatorConfig, size: int) -> None:
        super().__init__()
        units: list[nn.Module] = [nn.Conv2d(3, config.base, 7, padding=3), nn.LeakyReLU(0.01, inplace=True)]
        channels = config.base
        for i in range(config.layers):
            outputs, kernel = min(config.cmax, config.base * 2 ** (i + 1)), 5 if i < WIDE else 3
            stride = (1, 2) if i == 0 else (2, 2)
            for inputs, step in ((channels, stride), (outputs, (1, 1))):
                units += [nn.Conv2d(inputs, outputs, kernel, step, kernel // 2), nn.LeakyReLU(0.01, inplace=True)]
            channels = outputs
        for kernel in (size >> config.layers, 1):
            units += [nn.Conv2d(channels, channels, kernel), nn.LeakyReLU(0.01, inplace=True)]
        self.units = nn.Sequential(*units, nn.Conv2d(channels, 1, 1))

    def forward(self, image: Tensor, mel: Tensor | None = None) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to the probability (N, 1) that it is real."""
        return torch.sigmoid(self.units(image[:, :, image.shape[-2] // 2 :]).flatten(1).float())


class SoundCritic(nn.Module):
    """LipGAN's discriminator: do a face and a sound match. Real faces with a wrong sound count as generated ones."""

    def __init__(self, config: DiscriminatorConfig, size: int) -> None:
        super().__init__()
        face: list[nn.Module] = []
        channels = 3
        for i in range(config.layers):
            outputs = min(config.cmax, config.base << i)
            face.append(_Unit(channels, outputs, (7, 5)[i] if i < 2 else 3, (2, 2)))
            channels = outputs
        self.face = nn.Sequential(*face, nn.Conv2d(channels, config.cmax, math.ceil(size / 2**config.layers)))
        sound: list[nn.Module] = []
        channels = 1
        for multiple, stride in AUDIO:
            sound.append(_Unit(channels, config.base * multiple, 3, stride))
            channels = config.base * multiple
        self.sound = nn.Sequential(*sound, nn.Conv2d(channels, config.cmax, 3))

    def forward(self, image: Tensor, mel: Tensor) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] and mel windows (N, 1, 80, 28) to one minus their distance (N, 1), in [-1, 1]."""
        window = middle(mel, MEL_STEPS + 2 * MEL_MARGIN)[..., :COLUMNS]
        face = F.normalize(self.face(image).flatten(1).float(), dim=1)
        sound = F.normalize(self.sound(window).flatten(1).float(), dim=1)
        return 1 - ((face - sound).square().sum(1, keepdim=True) + 1e-8).sqrt()


class _Unit(nn.Module):
    """Convolution, instance normalisation, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)
        self.norm = nn.InstanceNorm2d(outputs, eps=1e-3, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(same_padded(x, self.conv))), SLOPE)


class ScaleCritic(nn.Module):
    """PC-AVS's discriminators: one for patches at full resolution, one at half resolution."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.scales = nn.ModuleList(Discriminator(config) for _ in range(SCALES))

    def forward(self, image: Tensor, mel: Tensor | None = None) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to scores (N, 2, H, W); coarser scores are repeated, for equal weights."""
        scores: list[Tensor] = []
        for critic in self.scales:
            scores.append(critic(image))
            image = F.avg_pool2d(image, 2)
        side = scores[0].shape[-2:]
        return torch.cat([F.interpolate(s, side) for s in scores], 1)


def critic(config: DiscriminatorConfig, size: int) -> nn.Module:
    """The discriminator of a config for pictures of ``size`` px; it maps pictures and mel windows to scores."""
    if config.kind == "half":
        return HalfCritic(config, size)
    if config.kind == "sound":
        return SoundCritic(config, size)
    return ScaleCritic(config) if config.kind == "scales" else Discriminator(config)


class Critics(nn.ModuleDict):
    """All discriminators of a training run, by level, in one module with one forward, as DDP requires."""

    def __init__(self, config: CriticsConfig) -> None:
        super().__init__({str(level): critic(one, level) for level, one in config.levels.items()})
        self.config = config

    def take_over(self, others: Critics) -> None:
        """Copy the weights of ``others`` at levels with the same settings."""
        for level, settings in self.config.levels.items():
            if others.config.levels.get(level) == settings:
                self[str(level)].load_state_dict(others[str(level)].state_dict())

    def forward(self, seen: Mapping[int, tuple[Tensor, Tensor]]) -> dict[int, Tensor]:
        """{level: pictures (N, 3, r, r) and mel windows (N, 1, 80, 28)} -> {level: scores (N, ...)}."""
        return {level: self[str(level)](image, mels) for level, (image, mels) in seen.items()}
