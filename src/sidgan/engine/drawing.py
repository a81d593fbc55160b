"""What an engine draws, in torch: `redrawn` is the picture that every other engine must make as well."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.engine.devices import choose_precision
from sidgan.nn import Features, Generator


class Painter(Protocol):
    """A generator that is ready to draw batches of one size, for one number of reference pictures.

    Attributes:
        name: what runs it, for reports.
    """

    name: str

    def encode(self, pictures: Tensor) -> Features:
        """What this painter needs to know of reference pictures (1, K, 3, T, T) in [0, 1]."""

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """As `redrawn`, with what `encode` made of the pictures."""


class TorchPainter:
    """The network as it is.

    Args:
        generator: in evaluation, on its device.
        exact: fp32 throughout; otherwise bf16 where hardware makes it faster.
    """

    def __init__(self, generator: Generator, device: torch.device, exact: bool = False) -> None:
        self._generator, self._device = generator, device
        self._mixed = not exact and choose_precision(device) == "bf16-mixed"
        self.name = f"torch {'bf16' if self._mixed else 'fp32'}"

    def encode(self, pictures: Tensor) -> Features:
        """Features of pictures (1, K, 3, T, T) in [0, 1]."""
        with torch.inference_mode(), self._precision():
            return self._generator.encode_reference(pictures)

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """See `redrawn`."""
        with torch.inference_mode(), self._precision():
            return redrawn(self._generator, faces, hidden, mels, reference, placed)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed)


def redrawn(
    generator: Generator, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features,
    placed: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A generator's finest picture of faces, at their size.

    Args:
        faces: (N, 3, T, T) in [0, 1], T one of the generator's ``sizes`` or, for one that copies, a multiple of them.
        hidden: (N, 1, T, T) bool; what it covers is blacked out before the network sees it.
        mels: (N, 1, 80, 28).
        reference: from `Generator.encode_reference`, of pictures of T px.
        placed: (N, K, 2, 3), see `Generator.decode`.

    Returns:
        (N, 3, T, T) float32 in [0, 1].
    """
    side = faces.shape[-1]
    own = min(side, generator.config.size)
    queries = faces if generator.config.sees_mouth else faces.masked_fill(hidden, 0)
    if side == own:
        return generator.decode(queries, reference, mels, placed=placed, finest=True)[side]
    # A reduced pixel that is hidden in part is hidden: its edge must be as hard as in training.
    covered = F.max_pool2d(hidden.float(), side // own) > 0
    small = F.avg_pool2d(faces, side // own).masked_fill(covered, 0)
    return generator.decode(small, reference, mels, placed=placed, sharp=queries, finest=True)[side]
