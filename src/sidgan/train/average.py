"""The running average of a network's weights, which is what is judged and written."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def average_in(mean: nn.Module, net: nn.Module, index: int, decay: float) -> None:
    """Move ``mean`` towards ``net`` after step ``index``; at first faster than ``decay`` says, to forget the start.

    Buffers, such as the statistics of normalisations, are copied.
    """
    decay = min(decay, (1 + index) / (10 + index))
    for kept, value in zip(mean.parameters(), net.parameters(), strict=True):
        kept.lerp_(value, 1 - decay)
    for buffer, current in zip(mean.buffers(), net.buffers(), strict=True):
        buffer.copy_(current)


@torch.no_grad()
def take_back(net: nn.Module, mean: nn.Module) -> None:
    """After a step that is left out: give ``net`` back the buffers of the step before, which `average_in` has copied.

    Statistics of normalisations move whenever a network looks at a batch, and one that holds no numbers spoils them.
    """
    for buffer, before in zip(net.buffers(), mean.buffers(), strict=True):
        buffer.copy_(before)
