"""Pictures out of one code: modulated convolutions (Karras et al., "Analyzing and Improving ... StyleGAN", 2020).

Every convolution scales its input channels as the code says, and its outputs back to unit variance. Each resolution
adds to a picture, which is enlarged on the way. Modules are named as in PC-AVS's published generator.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import GeneratorConfig
from sidgan.nn.layers import SLOPE

TAPS = (1.0, 3.0, 3.0, 1.0)  #: of the low-pass after every doubling
GAIN = math.sqrt(2)  #: of activations, to keep the variance


class Scaled(nn.Module):
    """A linear map whose weights are stored at unit variance and scaled when used, so that all learn alike."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.ones(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs), around 1."""
        return F.linear(x, self.weight / math.sqrt(x.shape[1]), self.bias)


class Modulated(nn.Module):
    """A convolution under a code.

    Args:
        inputs, outputs: channels. kernel: side. code: numbers in it.
        doubles: makes maps twice as large.
        demodulated: scales outputs back to unit variance.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, code: int, *, doubles: bool = False, demodulated: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.modulation = Scaled(code, inputs)
        self._doubles, self._demodulated = doubles, demodulated

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Map (N, inputs, r, r) and codes (N, C) to (N, outputs, r, r), or (N, outputs, 2 r, 2 r)."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        style = self.modulation(code)
        x = x * style[:, :, None, None].to(x.dtype)  # the same as scaling the weights anew for every sample
        if self._doubles:
            x = _blurred(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        else:
            x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
        if not self._demodulated:
            return x
        variance = style.float().square() @ weight.float().square().sum((2, 3)).T
        return x * (variance + 1e-8).rsqrt()[:, :, None, None].to(x.dtype)


class Noise(nn.Module):
    """A learnt amount of a pattern."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, pattern: Tensor) -> Tensor:
        """Add the pattern (1, 1, r, r) to (N, C, r, r)."""
        return x + self.weight * pattern


class Active(nn.Module):
    """A bias and a leaky ReLU that keeps the variance."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, r, r) to the same shape."""
        return GAIN * F.leaky_relu(x + self.bias, SLOPE)


class Styled(nn.Module):
    """A modulated 3x3 convolution, noise and activation."""

    def __init__(self, inputs: int, outputs: int, code: int, *, doubles: bool = False) -> None:
        super().__init__()
        self.conv = Modulated(inputs, outputs, 3, code, doubles=doubles)
        self.noise, self.activate = Noise(), Active(outputs)

    def forward(self, x: Tensor, code: Tensor, pattern: Tensor) -> Tensor:
        """Map (N, inputs, r, r) to (N, outputs, R, R), R the pattern's side."""
        return self.activate(self.noise(self.conv(x, code), pattern))


class ToRGB(nn.Module):
    """What a level adds to the picture."""

    def __init__(self, inputs: int, code: int) -> None:
        super().__init__()
        self.conv = Modulated(inputs, 3, 1, code, demodulated=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor, coarser: Tensor | None = None) -> Tensor:
        """Map (N, inputs, r, r) and the picture so far (N, 3, r / 2, r / 2) to (N, 3, r, r)."""
        own = self.conv(x, code) + self.bias
        return own if coarser is None else own + _doubled(coarser)


class Constant(nn.Module):
    """The learnt map that everything begins with."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, side, side))


class Synthesis(nn.Module):
    """Codes to pictures.

    Patterns of noise are drawn once and kept with the weights, so that the same code always gives the same picture.

    Args:
        config: ``size``, ``start``, and the channels of each level.
        code: numbers in a code.
    """

    def __init__(self, config: GeneratorConfig, code: int) -> None:
        super().__init__()
        coarsest, *finer = config.levels
        channels = config.channels(coarsest)
        self.input = Constant(channels, coarsest)
        self.conv1 = Styled(channels, channels, code)
        self.to_rgb1 = ToRGB(channels, code)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for level in finer:
            outputs = config.channels(level)
            self.convs += [Styled(channels, outputs, code, doubles=True), Styled(outputs, outputs, code)]
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
    """(C, 1, 4, 4), the low-pass for each channel of (N, C, r, r); what it sums to makes up for zeros in between."""
    line = torch.tensor(TAPS, device=like.device, dtype=like.dtype)
    return (torch.outer(line, line) / 16).repeat(like.shape[1], 1, 1, 1)


def _blurred(x: Tensor) -> Tensor:
    """(N, C, 2 r + 1, 2 r + 1) of a transposed convolution -> (N, C, 2 r, 2 r)."""
    return F.conv2d(x, _taps(x), padding=1, groups=x.shape[1])


def _doubled(x: Tensor) -> Tensor:
    """(N, C, r, r) -> (N, C, 2 r, 2 r), smoothly."""
    return F.conv_transpose2d(x, _taps(x), stride=2, padding=1, groups=x.shape[1])
