"""The layers that the networks share: adaptive polyphase sampling, convolution units, and audio-modulated residuals."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import AUDIO_FEATURES

SLOPE = 0.2  #: of every leaky ReLU
GROUP_SIZE = 16  #: fewest channels that are normalised together, if there are as many


class AdaptivePolyphase(nn.Module):
    """Shift-equivariant downsampling: keep the strongest of the sh x sw grids that a stride can read (Sec. 3.3.1).

    A fixed stride always reads the same grid, so a one-pixel shift of the input changes which pixels are read. If the
    grid (*polyphase component*) is chosen by its L2 norm, the choice follows the content instead: a circular shift of
    the input gives a circular shift of the same output. The choice is made per sample and shared by all channels. It
    is not differentiable, so only the chosen grid receives a gradient.

    Args:
        stride: (rows, columns). It may be asymmetric: audio-visual networks need (1, 2) and (3, 1).
        lpf: taps of a binomial low-pass filter along the strided axes, 1 (none) or 3. The grid is chosen on the
            unfiltered input and read from the filtered one.
    """

    def __init__(self, stride: tuple[int, int], lpf: int = 1) -> None:
        super().__init__()
        if lpf not in (1, 3):
            raise ValueError(f"lpf must be 1 or 3, not {lpf}")
        self.stride = stride
        self.lpf = lpf

    def phase(self, x: Tensor) -> Tensor:
        """(B,) index i * sw + j of each sample's strongest grid ``x[..., i::sh, j::sw]``; the first one if tied."""
        (sh, sw), (batch, _, rows, columns) = self.stride, x.shape
        # In float32 whatever the input: squares overflow in half precision, and ties become common in bfloat16.
        energy = x.detach().float().square().sum(1).reshape(batch, rows // sh, sh, columns // sw, sw)
        return energy.sum((1, 3)).flatten(1).argmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample (B, C, H, W) to (B, C, ceil(H / sh), ceil(W / sw)).

        A size that the stride does not divide is first padded circularly; shift equivariance is then not exact.
        """
        sh, sw = self.stride
        if x.shape[2] % sh or x.shape[3] % sw:
            x = F.pad(x, (0, -x.shape[3] % sw, 0, -x.shape[2] % sh), mode="circular")
        index = self.phase(x)
        for axis, step in ((2, sh), (3, sw)):
            if self.lpf == 3 and step > 1:
                x = (x.roll(1, axis) + 2 * x + x.roll(-1, axis)) / 4
        batch, channels, rows, columns = x.shape
        grids = x.reshape(batch, channels, rows // sh, sh, columns // sw, sw).permute(0, 3, 5, 1, 2, 4).flatten(1, 2)
        return grids[torch.arange(batch, device=x.device), index]

    def extra_repr(self) -> str:
        """What ``print(module)`` shows."""
        return f"stride={self.stride}, lpf={self.lpf}"


class ConvUnit(nn.Module):
    """The SyncNets' building block: convolution, batch norm, optional residual, ReLU, optional adaptive sampling.

    Args:
        inputs, outputs: channels.
        kernel: side of the square kernel.
        stride: of the convolution; 1 where ``sampling`` does the downsampling.
        padding: px on each side.
        circular: pad circularly, as exact shift-invariance requires, instead of with zeros.
        residual: add the input before the ReLU; input and output must have the same shape.
        sampling: downsampling after the activation (Sec. 3.3.1).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: tuple[int, int] = (1, 1),
        padding: int = 0,
        *,
        circular: bool = False,
        residual: bool = False,
        sampling: AdaptivePolyphase | None = None,
    ) -> None:
        super().__init__()
        mode: Literal["circular", "zeros"] = "circular" if circular else "zeros"
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, padding_mode=mode)
        self.norm = nn.BatchNorm2d(outputs)
        self.residual = residual
        self.sampling = sampling

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        y = self.norm(self.conv(x))
        y = F.relu_(y + x if self.residual else y)
        return y if self.sampling is None else self.sampling(y)


class FeatureNorm(nn.Module):
    """Group normalisation, with ``audio`` followed by a scale and a shift predicted from the audio feature (Sec. 3.2).

    ``GN(x) * (1 + gamma(a)) + beta(a)``, with gamma and beta linear in the audio feature a. Their weights start small
    but not at zero: if audio has no effect at first, the network learns to copy the reference instead.
    """

    def __init__(self, channels: int, audio: bool = False) -> None:
        super().__init__()
        most = max(1, channels // GROUP_SIZE)
        self.norm = nn.GroupNorm(next(n for n in range(most, 0, -1) if channels % n == 0), channels)
        self.modulation = nn.Linear(AUDIO_FEATURES, 2 * channels) if audio else None
        if self.modulation is not None:
            nn.init.normal_(self.modulation.weight, std=0.02)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, audio: Tensor | None = None) -> Tensor:
        """Normalise (N, C, H, W); ``audio`` (N, 512) is used only if the layer was built with ``audio``."""
        y = self._normalised(laid_out(x))
        if self.modulation is None:
            return y
        gamma, beta = self.modulation(audio)[:, :, None, None].chunk(2, dim=1)
        return y * (1 + gamma) + beta

    def _normalised(self, x: Tensor) -> Tensor:
        if x.is_cuda or x.dtype != torch.bfloat16 or x.shape[1] >= GROUP_SIZE:
            return cast(Tensor, self.norm(x))
        # With so few channels, PyTorch's group norm is not vectorised in bfloat16 on CPUs. The channels form a single
        # group, so a layer norm over all of them computes the same, five times as fast.
        shape = *x.shape[2:], x.shape[1]
        weight, bias = (each.to(x.dtype).expand(shape).contiguous() for each in (self.norm.weight, self.norm.bias))
        return F.layer_norm(x.permute(0, 2, 3, 1), shape, weight, bias, self.norm.eps).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two pre-activated 3x3 convolutions and an identity shortcut; the sum is scaled to keep its variance."""

    def __init__(self, channels: int, audio: bool = False) -> None:
        super().__init__()
        self.norm1 = FeatureNorm(channels, audio)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = FeatureNorm(channels, audio)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, audio: Tensor | None = None) -> Tensor:
        """Map (N, C, H, W) to the same shape; ``audio`` (N, 512) is used only if the block was built with it."""
        y = self.conv1(F.leaky_relu(self.norm1(x, audio), SLOPE, inplace=True))
        y = self.conv2(F.leaky_relu(self.norm2(y, audio), SLOPE, inplace=True))
        return (x + y).mul_(math.sqrt(0.5))


def laid_out(maps: Tensor) -> Tensor:
    """Maps (N, C, H, W) in channels-last memory format, in which CPUs convolve and normalise fastest.

    Maps on a GPU are returned unchanged: their layout follows that of the weights.
    """
    return maps if maps.is_cuda else maps.contiguous(memory_format=torch.channels_last)


def convolved(layer: nn.Conv2d, maps: Tensor, first: int = 0) -> Tensor:
    """The contribution of maps (N, C, H, W) to a convolution over several concatenated maps.

    The sum of all contributions equals the convolution of the concatenation, but saves concatenating, which takes
    longer than convolving. ``first`` is the index of the maps' first channel in the concatenation; 0 adds the bias.
    """
    weight = layer.weight[:, first : first + maps.shape[1]]
    return F.conv2d(laid_out(maps), weight, None if first else layer.bias, padding=1)


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, trainable and frozen, without buffers."""
    return sum(p.numel() for p in module.parameters())
