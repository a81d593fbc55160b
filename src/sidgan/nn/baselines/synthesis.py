"""StyleGAN2's synthesis network: a picture from one code (Karras et al., "Analyzing and Improving ... StyleGAN", 2020).

The code predicts a scale for each input channel of every convolution (modulation); outputs are scaled back to unit
variance (demodulation). Each resolution adds an RGB image to the enlarged sum of the coarser ones. Modules are named as
in PC-AVS's published generator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import GeneratorConfig
from sidgan.nn.layers import SLOPE

TAPS = (1.0, 3.0, 3.0, 1.0)  #: of the low-pass filter after every upsampling by 2
GAIN = math.sqrt(2)  #: of activations, to keep the variance


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate: weights are stored at unit variance and scaled when used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs), around 1."""
        return F.linear(x, self.weight / math.sqrt(x.shape[1]), self.bias)


class ModulatedConv(nn.Module):
    """A convolution that is modulated by a code.

    Args:
        inputs, outputs: channels.
        kernel: side of the kernel.
        code: size of the code.
        upsample: enlarge maps by 2.
        demodulate: scale outputs back to unit variance.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, code: int, *, upsample: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(code, inputs)
        self._upsample, self._demodulate = upsample, demodulate

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map (N, inputs, r, r) and codes (N, C) to (N, outputs, r, r), or (N, outputs, 2 r, 2 r)."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        style = self.modulation(code)
        x = x * style[:, :, None, None].to(x.dtype)  # equivalent to scaling the weights separately for every sample
        if self._upsample:
            x = _filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self._demodulate:
            return x
        variance = style.float().square() @ weight.float().square().sum((2, 3)).T
        return x * (variance + 1e-8).rsqrt()[:, :, None, None].to(x.dtype)


class Noise(nn.Module):
    """Adds noise with a learnt strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, pattern: Tensor) -> Tensor:
        """Add the pattern (1, 1, r, r) to (N, C, r, r)."""
        return x + self.weight * pattern


class BiasActivation(nn.Module):
    """A bias and a leaky ReLU that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, r, r) to the same shape."""
        return GAIN * F.leaky_relu(x + self.bias, SLOPE)


class StyledConv(nn.Module):
    """A modulated 3x3 convolution, noise and activation."""

    def __init__(self, inputs: int, outputs: int, code: int, *, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, code, upsample=upsample)
        self.noise, self.activate = Noise(), BiasActivation(outputs)

    def forward(self, x: Tensor, code: Tensor, pattern: Tensor) -> Tensor:
        """Map (N, inputs, r, r) and noise (1, 1, R, R) to (N, outputs, R, R), where R is r, or 2 r if upsampled."""
        return self.activate(self.noise(self.conv(x, code), pattern))


class ToRGB(nn.Module):
    """Computes the RGB image of a level and adds it to the enlarged sum of the coarser levels."""

    def __init__(self, inputs: int, code: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, code, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, coarser: Tensor | None = None) -> Tensor:
        """Map (N, inputs, r, r) and the coarser levels' image (N, 3, r / 2, r / 2) to (N, 3, r, r)."""
        own = self.conv(x, code) + self.bias
        return own if coarser is None else own + _upsampled(coarser)


class Constant(nn.Module):
    """The learnt constant input of the synthesis network."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, side, side))


class Synthesis(nn.Module):
    """Generates pictures from codes.

    Noise is sampled once and stored with the weights, so that the same code always gives the same picture.

    Args:
        config: gives ``size``, ``start``, and the channels of each level.
        code: size of a code.
    """

    def __init__(self, config: GeneratorConfig, code: int) -> None:
        super().__init__()
        coarsest, *finer = config.levels
        channels = config.channels(coarsest)
        self.input = Constant(channels, coarsest)
        self.conv1 = StyledConv(channels, channels, code)
        self.to_rgb1 = ToRGB(channels, code)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for level in finer:
            outputs = config.channels(level)
            self.convs += [StyledConv(channels, outputs, code, upsample=True), StyledConv(outputs, outputs, code)]
            self.to_rgbs.append(ToRGB(outputs, code))
            channels = outputs
        for i, side in enumerate([coarsest, *(level for level in finer for _ in range(2))]):
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, side, side))

    def forward(self, code: Tensor) -> Tensor:
        """Map codes (N, C) to pictures (N, 3, S, S) in [0, 1]."""
        patterns = list(self.noises.buffers())
        x = self.conv1(self.input.input.expand(len(code), -1, -1, -1), code, patterns[0])
        picture = self.to_rgb1(x, code)
        for i, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * i](x, code, patterns[2 * i + 1])
            x = self.convs[2 * i + 1](x, code, patterns[2 * i + 2])
            picture = to_rgb(x, code, picture)
        return (torch.tanh(picture.float()) + 1) / 2


def _taps(like: Tensor) -> Tensor:
    """Depthwise low-pass kernel (C, 1, 4, 4) for (N, C, r, r); its sum of 4 compensates for the inserted zeros."""
    line = torch.tensor(TAPS, device=like.device, dtype=like.dtype)
    return (torch.outer(line, line) / 16).repeat(like.shape[1], 1, 1, 1)


def _filtered(x: Tensor) -> Tensor:
    """Low-pass filter the output (N, C, 2 r + 1, 2 r + 1) of a transposed convolution, to (N, C, 2 r, 2 r)."""
    return F.conv2d(x, _taps(x), padding=1, groups=x.shape[1])


def _upsampled(x: Tensor) -> Tensor:
    """Enlarge (N, C, r, r) to (N, C, 2 r, 2 r), with a low-pass filter."""
    return F.conv_transpose2d(x, _taps(x), stride=2, padding=1, groups=x.shape[1])
