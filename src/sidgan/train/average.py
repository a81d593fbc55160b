"""The running average of a network's weights, which is evaluated and exported."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average_in(mean: nn.Module, net: nn.Module, index: int, decay: float) -> None:
    """Move ``mean`` towards ``net`` after step ``index``; faster than ``decay`` at first, to forget the start.

    Buffers, such as normalisation statistics, are copied.
    """
    decay = min(decay, (1 + index) / (10 + index))
    for kept, value in zip(mean.parameters(), net.parameters(), strict=True):
        kept.lerp_(value, 1 - decay)
    for buffer, current in zip(mean.buffers(), net.buffers(), strict=True):
        buffer.copy_(current)


@torch.no_grad()
def take_back(net: nn.Module, mean: nn.Module) -> None:
    """After a skipped step, restore the buffers of ``net`` from the step before, which `average_in` has copied.

    Normalisation statistics are updated in every forward pass, and a batch with NaN would spoil them.
    """
    for buffer, before in zip(net.buffers(), mean.buffers(), strict=True):
        buffer.copy_(before)
