"""PC-AVS: generates a face from three codes (Zhou et al., "Pose-Controllable Talking Face Generation", 2021).

::

    reference ─ ResNeXt-50 ─ identity, 2048 ───────────────────────┐
    query, unmasked ─ ResNet ─ 512 ┬─ pose, 12 ────────────────────┼─▶ modulated convolutions (`synthesis`) ─▶ picture
                                   └─ lip feature, 512 ──┐         │
    mel ─ ResNet-34 with gates ────── audio feature, 512 ┴─ 500 ───┘

There are no skip connections beside the codes, and a pose code of 12 numbers is too small to describe a mouth. The lip
feature is used in training only, where a contrastive loss brings it and the audio feature together
(`sidgan.losses.content_loss`). In training, colours and proportions of the queries are changed at random, so that they
do not reveal the identity.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import MEL_STEPS, GeneratorConfig
from sidgan.nn.baselines.base import Baseline, first
from sidgan.nn.baselines.synthesis import Synthesis
from sidgan.nn.generator import Features
from sidgan.nn.syncnet import middle

POSE = 12  #: size of the pose code, enough for a rotation, a translation and a scale
IDENTITY = 1  #: key of the identity codes in a reference's `Features`
STAGES = (3, 4, 6, 3)  #: blocks of ResNeXt-50 and of the audio encoder
TINT, STRETCH = 0.2, 0.1  #: largest relative change of colours and of side lengths in `augmented`


class Residual(nn.Module):
    """A residual block: layers, and a shortcut that is the identity, or a projection where shapes change."""

    def __init__(self, layers: nn.Module, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = layers
        same = inputs == outputs and stride == 1
        self.downsample = None if same else nn.Sequential(*_unit(inputs, outputs, 1)[:2])
        self._stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        # Not a strided 1x1 convolution: with few channels, oneDNN's backward pass of some corrupts memory.
        shortcut = x if self.downsample is None else self.downsample(x[:, :, :: self._stride, :: self._stride])
        return torch.relu(self.layers(x) + shortcut)


class Gate(nn.Module):
    """Squeeze and excitation: scales each channel by a factor predicted from the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        few = max(1, channels // 8)
        self.fc = nn.Sequential(nn.Linear(channels, few), nn.ReLU(inplace=True), nn.Linear(few, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


def _unit(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _basic(inputs: int, outputs: int, stride: int, gated: bool) -> Residual:
    layers = [*_unit(inputs, outputs, 3, stride), *_unit(outputs, outputs, 3)[:2]]
    return Residual(nn.Sequential(*layers, *([Gate(outputs)] if gated else [])), inputs, outputs, stride)


def _bottleneck(inputs: int, outputs: int, stride: int, groups: int) -> Residual:
    inside = outputs // 2
    layers = [*_unit(inputs, inside, 1), *_unit(inside, inside, 3, stride, groups), *_unit(inside, outputs, 1)[:2]]
    return Residual(nn.Sequential(*layers), inputs, outputs, stride)


def _stem(outputs: int) -> list[nn.Module]:
    return [*_unit(3, outputs, 7, 2), nn.MaxPool2d(3, 2, 1)]


class _Mean(nn.Module):
    """(N, C, H, W) -> (N, C), averaged over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def identity_encoder(cmax: int) -> nn.Sequential:
    """(N, 3, S, S) in [0, 1] -> (N, 4 cmax): ResNeXt-50, 32x4d at ``cmax`` 512, without its classifier."""
    layers, channels = _stem(cmax // 8), cmax // 8
    for stage, count in enumerate(STAGES):
        outputs = (cmax // 2) << stage
        for i in range(count):
            layers.append(_bottleneck(channels, outputs, 2 if stage and i == 0 else 1, max(1, cmax // 16)))
            channels = outputs
    return nn.Sequential(*layers, _Mean())


def other_encoder(cmax: int) -> nn.Sequential:
    """(N, 3, S, S) in [0, 1] -> (N, cmax), for pose and lips: ResNet-18 at ``cmax`` 512, without its classifier."""
    layers, channels = _stem(cmax // 8), cmax // 8
    for stage in range(4):
        outputs = (cmax // 8) << stage
        layers += [_basic(channels, outputs, 2 if stage else 1, False), _basic(outputs, outputs, 1, False)]
        channels = outputs
    return nn.Sequential(*layers, _Mean())


def audio_encoder(width: int, outputs: int) -> nn.Sequential:
    """Mel windows (N, 1, 80, 16) -> (N, outputs): a ResNet-34 with gates and ``width`` to 8 ``width`` channels."""
    layers, channels = _unit(1, width, 3), width
    for stage, count in enumerate(STAGES):
        for i in range(count):
            layers.append(_basic(channels, width << stage, 2 if stage and i == 0 else 1, True))
            channels = width << stage
    return nn.Sequential(*layers, _Mean(), nn.Linear(channels, outputs))


def _mapping(width: int, outputs: int | None = None) -> nn.Sequential:
    """An MLP of two layers (N, width) -> (N, width); with ``outputs``, a third one to (N, outputs)."""
    code = [] if outputs is None else [nn.ReLU(inplace=True), nn.Linear(width, outputs)]
    return nn.Sequential(nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, width), *code)


class PCAVS(Baseline):
    """The generator, of 224 px (``start`` 7, ``base`` 128, ``cmax`` 512) or any other size."""

    def __init__(self, config: GeneratorConfig) -> None:
        width = config.cmax
        super().__init__(config, width)
        self.identity = identity_encoder(width)
        self.other = other_encoder(width)
        self.hearing = audio_encoder(config.audio_width, width)
        self.lips = _mapping(width)
        self.content = nn.Sequential(nn.ReLU(), nn.Linear(width, width - POSE))
        self.pose = _mapping(width, POSE)
        self.synthesis = Synthesis(config, 4 * width + width)
        self._read: tuple[Tensor, Tensor] | None = None

    @property
    def read(self) -> tuple[Tensor, Tensor] | None:
        """Lip and audio features, (N, cmax) each, of the last training pass."""
        return self._read

    def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
        """The references, and the identity code (M, K, 4 cmax) of each."""
        kept = super().encode_reference(reference)
        (pictures,) = kept.values()
        return {**kept, IDENTITY: self.identity(pictures.flatten(0, 1)).unflatten(0, pictures.shape[:2])}

    def draw(self, query: Tensor, features: Features, mel: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [0, 1] in the pose of the queries, which are not masked."""
        learning = self.training and torch.is_grad_enabled()
        face = self.other(augmented(query) if learning else query)
        audio = self.hearing(middle(mel, MEL_STEPS))
        self._read = (self.lips(face), audio) if learning else None
        content = self.content(self._emphasised(audio))
        return self.synthesis(torch.cat([first(features, IDENTITY, len(query)), content, self.pose(face)], 1))


def augmented(images: Tensor) -> Tensor:
    """Faces (N, 3, S, S) with random colours and proportions, in the same pose and with the same mouths."""
    count = len(images)
    random = torch.rand(count, 5).to(images.device)  # of the CPU's generator, whose state is saved with a run
    tint = 1 + TINT * (2 * random[:, :3, None, None] - 1)
    stretch = torch.diag_embed(1 + STRETCH * (2 * random[:, 3:] - 1))
    grid = F.affine_grid(F.pad(stretch, (0, 1)), list(images.shape), align_corners=False)
    stretched = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    return (stretched * tint).clamp(0, 1).to(images.dtype)
