"""Wav2Lip: a U-Net with a sound at its bottleneck (Prajwal et al., "A Lip Sync Expert Is All You Need", 2020).

::

    query, reference (6) ─▶ 96 ▶ 48 ▶ 24 ▶ 12 ▶ 6 ▶ 3 ▶ 1      encoder
                            │    │    │    │    │   │   │      concatenated to the decoder's maps
    picture (3) ◀────────── 96 ◀ 48 ◀ 24 ◀ 12 ◀ 6 ◀ 3 ◀ 1 ◀ sound

The variant of 384 px, which the paper retrains, has two more levels. Modules are named as in the published weights.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from sidgan.config import MEL_STEPS, GeneratorConfig
from sidgan.nn.baselines.base import Baseline, first, upper_half
from sidgan.nn.generator import PICTURE, Features
from sidgan.nn.syncnet import middle

ENCODER_RESIDUALS = (1, 2, 2, 3)  #: residual units of the coarsest levels, coarsest first; 2 at finer levels
#: Of the audio encoder: channels in units of the width, kernel, stride, padding, residual units.
AUDIO = (
    (1, 3, (1, 1), 1, 2), (2, 3, (3, 1), 1, 2), (4, 3, (3, 3), 1, 2), (8, 3, (3, 2), 1, 1),
    (16, 3, (1, 1), 0, 0), (16, 1, (1, 1), 0, 0),
)  # fmt: skip


class Unit(nn.Module):
    """Convolution (plain or transposed), batch normalisation, optional residual, ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, residual: bool = False) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H', W')."""
        y = self.conv_block(x)
        return torch.relu(y + x if self.residual else y)


def _residuals(channels: int, count: int) -> list[Unit]:
    return [Unit(nn.Conv2d(channels, channels, 3, padding=1), residual=True) for _ in range(count)]


class Wav2Lip(Baseline):
    """The generator, of 96 px (``start`` 3, ``base`` 16, ``cmax`` 512) or any other size."""

    def __init__(self, config: GeneratorConfig) -> None:
        audio_features = AUDIO[-1][0] * config.audio_width
        super().__init__(config, audio_features)
        self.face_encoder_blocks = nn.ModuleList(_encoder(config))
        self.audio_encoder = nn.Sequential(*_audio(config.audio_width))
        self.face_decoder_blocks = nn.ModuleList(_decoder(config, audio_features))
        finest, hidden = _decoder_channels(config, config.size) + config.base, 2 * config.base
        self.output_block = nn.Sequential(
            Unit(nn.Conv2d(finest, hidden, 3, padding=1)), nn.Conv2d(hidden, 3, 1), nn.Sigmoid()
        )

    def draw(self, query: Tensor, features: Features, mel: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [0, 1]; only the upper half of the queries is used, as in its paper."""
        x = torch.cat([upper_half(query), first(features, PICTURE, len(query))], 1)
        skips = []
        for block in self.face_encoder_blocks:
            x = block(x)
            skips.append(x)
        x = self._emphasised(self.audio_encoder(middle(mel, MEL_STEPS)).flatten(1))[:, :, None, None]
        for block in self.face_decoder_blocks:
            x = torch.cat([block(x), skips.pop()], 1)
        return self.output_block(x)


def _encoder(config: GeneratorConfig) -> list[nn.Sequential]:
    blocks = [nn.Sequential(Unit(nn.Conv2d(6, config.base, 7, padding=3)))]
    for finer, level in itertools.pairwise(config.levels[::-1]):
        doublings, channels = config.levels.index(level), config.channels(level)
        count = ENCODER_RESIDUALS[doublings] if doublings < len(ENCODER_RESIDUALS) else 2
        down = Unit(nn.Conv2d(config.channels(finer), channels, 3, 2, padding=1))
        blocks.append(nn.Sequential(down, *_residuals(channels, count)))
    last = Unit(nn.Conv2d(config.channels(config.start), config.cmax, config.start))
    return [*blocks, nn.Sequential(last, Unit(nn.Conv2d(config.cmax, config.cmax, 1)))]


def _audio(width: int) -> list[Unit]:
    units, channels = [], 1
    for multiple, kernel, stride, padding, residuals in AUDIO:
        units.append(Unit(nn.Conv2d(channels, multiple * width, kernel, stride, padding)))
        channels = multiple * width
        units += _residuals(channels, residuals)
    return units


def _decoder(config: GeneratorConfig, audio_features: int) -> list[nn.Sequential]:
    channels = _decoder_channels(config, config.start)
    up: nn.ConvTranspose2d = nn.ConvTranspose2d(2 * config.cmax, channels, config.start)
    first_block = nn.Sequential(Unit(nn.Conv2d(audio_features, config.cmax, 1)))
    blocks = [first_block, nn.Sequential(Unit(up), *_residuals(channels, 1))]
    for coarser, level in itertools.pairwise(config.levels):
        inputs, channels = channels + config.channels(coarser), _decoder_channels(config, level)
        up = nn.ConvTranspose2d(inputs, channels, 3, 2, padding=1, output_padding=1)
        blocks.append(nn.Sequential(Unit(up), *_residuals(channels, 2)))
    return blocks


def _decoder_channels(config: GeneratorConfig, level: int) -> int:
    """Channels of the decoder at a level, as published: 3 times the encoder's if 4 times is ``cmax``, else 4 times.

    They are at most ``cmax``.
    """
    channels = config.channels(level)
    return 3 * channels if 4 * channels == config.cmax else min(config.cmax, 4 * channels)
