"""LipGAN: a U-Net with a sound at its bottleneck (KR et al., "Towards Automatic Face-to-Face Translation", 2019).

::

    reference, query (6) ─▶ 96 ▶ 48 ▶ 24 ▶ 12 ▶ 6 ▶ 3 ▶ 1 ┐
                            │    │    │    │    │   │     ├─ concatenated
    picture (3) ◀────────── 96 ◀ 48 ◀ 24 ◀ 12 ◀ 6 ◀ 3 ◀───┘ ◀ sound, 0.34 s

This is the authors' published network with residual blocks, for mel spectrograms. Convolutions pad as TensorFlow's do
(surplus pixels on the right and below), so that the published weights give the same results.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import MEL_MARGIN, MEL_STEPS, GeneratorConfig
from sidgan.nn.baselines.base import Baseline, first, upper_half
from sidgan.nn.generator import PICTURE, Features
from sidgan.nn.syncnet import middle

COLUMNS = 27  #: columns of its mel window: 12.4 before the frame's time, 14.6 after
ENCODER_RESIDUALS = (0, 2, 2, 3)  #: residual blocks of the coarsest levels, coarsest first; 2 at finer levels
KERNELS = (7, 5)  #: kernel sizes of the face encoder's first layers; 3 in all others
AUDIO = ((1, (1, 1)), (2, (3, 3)), (4, (3, 1)), (8, (3, 3)))  #: channels in units of the width, and stride


class Unit(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: tuple[int, int] = (1, 1), *, same: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride)
        self.norm = _norm(outputs)
        self._same = same

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride)); smaller without padding."""
        return torch.relu(self.norm(self.conv(same_padded(x, self.conv) if self._same else x)))


class UpUnit(nn.Module):
    """Transposed convolution, batch normalisation, ReLU; enlarges by ``stride``."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, kernel, stride)
        self.norm = _norm(outputs)
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, r, r) to (N, outputs, stride r, stride r)."""
        side = self._stride * x.shape[-1]
        return torch.relu(self.norm(self.conv(x)[..., :side, :side]))


class Residual(nn.Module):
    """Two units with a shortcut, and a ReLU after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.units = nn.Sequential(Unit(channels, channels), Unit(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return torch.relu(self.units(x) + x)


def same_padded(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """(N, C, H, W) zero-padded as by TensorFlow's ``same`` before a convolution."""
    pads: list[int] = []
    for size, kernel, stride in zip(x.shape[:1:-1], conv.kernel_size[::-1], conv.stride[::-1], strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.2)  # as in Keras, whose momentum is 1 - 0.2 = 0.8


class LipGAN(Baseline):
    """The generator, of 96 px (``start`` 3, ``base`` 32, ``cmax`` 512) or any other size."""

    def __init__(self, config: GeneratorConfig) -> None:
        audio_features = 16 * config.audio_width
        super().__init__(config, audio_features)
        self.face = nn.ModuleList(_face(config))
        self.flat = nn.Sequential(
            Unit(config.channels(config.start), config.cmax, config.start, same=False),
            Unit(config.cmax, config.cmax, 1),
        )
        self.hearing = nn.Sequential(*_audio(config.audio_width))
        self.ups = nn.ModuleList(_ups(config, audio_features))
        half = max(1, config.base // 2)
        self.output = nn.Sequential(
            Unit(2 * config.base, half), Unit(half, half), nn.Conv2d(half, 3, 1), nn.Sigmoid()
        )

    def draw(self, query: Tensor, features: Features, mel: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [0, 1]; only the upper half of the queries is used, as in its paper."""
        x = torch.cat([first(features, PICTURE, len(query)), upper_half(query)], 1)
        skips = []
        for block in self.face:
            x = block(x)
            skips.append(x)
        window = middle(mel, MEL_STEPS + 2 * MEL_MARGIN)[..., :COLUMNS]
        audio = self._emphasised(self.hearing(window).flatten(1))[:, :, None, None]
        x = torch.cat([self.flat(x), audio], 1)
        for up in self.ups:
            x = torch.cat([skips.pop(), up(x)], 1)
        return self.output(x)


def _face(config: GeneratorConfig) -> list[nn.Sequential]:
    blocks = [nn.Sequential(Unit(6, config.base, KERNELS[0]))]
    for finer, level in itertools.pairwise(config.levels[::-1]):
        doublings, channels = config.levels.index(level), config.channels(level)
        count = ENCODER_RESIDUALS[doublings] if doublings < len(ENCODER_RESIDUALS) else 2
        kernel = KERNELS[1] if finer == config.size else 3
        down = Unit(config.channels(finer), channels, kernel, (2, 2))
        blocks.append(nn.Sequential(down, *(Residual(channels) for _ in range(count))))
    return blocks


def _audio(width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 1
    for multiple, stride in AUDIO:
        layers.append(Unit(channels, multiple * width, 3, stride))
        channels = multiple * width
        layers += [Residual(channels), Residual(channels)]
    return [*layers, Unit(channels, 2 * channels, same=False), Unit(2 * channels, 2 * channels, 1)]


def _ups(config: GeneratorConfig, audio_features: int) -> list[nn.Sequential]:
    channels = config.channels(config.start)
    blocks = [nn.Sequential(UpUnit(config.cmax + audio_features, channels, config.start, config.start))]
    for coarser, level in itertools.pairwise(config.levels):
        inputs, channels = channels + config.channels(coarser), config.channels(level)
        count = 0 if level == config.size else 2
        blocks.append(nn.Sequential(UpUnit(inputs, channels), *(Residual(channels) for _ in range(count))))
    return blocks
