"""Drawing a batch of faces in torch: `redrawn` defines the output that all engines must reproduce."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.audio import NOTHING
from sidgan.config import MEL_STEPS
from sidgan.engine.devices import choose_precision
from sidgan.nn import Features, Generator
from sidgan.nn.generator import PICTURE
from sidgan.nn.motion import NEVER
from sidgan.nn.syncnet import middle
from sidgan.types import AS_LEARNT, Opening

OPENING = -1  #: key, in the `Features` of engines, of how a person's mouth opens: the values of an `Opening`, (1, 2)
SHUT_REFERENCE = 2  #: of three references, the one that shows shut lips
#: Logit added to the belief in it at the edge of silence, and within; it counts from two thirds of silence on. Networks
#: hardly ever shut a mouth by themselves, as they learn the mean of all that a sound may look like.
EDGE, SILENT = -16.0, 8.0


class Painter(Protocol):
    """A generator in some engine, ready to draw batches of one size with a fixed number of reference pictures.

    Attributes:
        name: engine and precision, for reports.
    """

    name: str

    def encode(self, pictures: Tensor, opening: Opening = AS_LEARNT) -> Features:
        """Features of reference pictures (1, K, 3, T, T) in [0, 1] of a person, for this painter's `draw`."""

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """See `redrawn`; ``reference`` comes from `encode`."""


class TorchPainter:
    """The PyTorch network.

    Args:
        generator: in evaluation mode, on ``device``.
        device: where the generator is.
        exact: always use fp32; otherwise bf16 is used where the hardware supports it.
    """

    def __init__(self, generator: Generator, device: torch.device, exact: bool = False) -> None:
        self._generator, self._device = generator, device
        self._mixed = not exact and choose_precision(device) == "bf16-mixed"
        self.name = f"torch {'bf16' if self._mixed else 'fp32'}"

    def encode(self, pictures: Tensor, opening: Opening = AS_LEARNT) -> Features:
        """See `Painter.encode`."""
        with torch.inference_mode(), self._precision():
            return opened(self._generator.encode_reference(pictures), opening)

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """See `redrawn`. A shut reference is left out where nothing is silent, which changes no bit and saves time."""
        if reference[PICTURE].shape[1] == SHUT_REFERENCE + 1 and not _silence(mels).any():
            reference = {level: maps[:, :SHUT_REFERENCE] for level, maps in reference.items()}
            placed = None if placed is None else placed[:, :SHUT_REFERENCE]
        with torch.inference_mode(), self._precision():
            return redrawn(self._generator, faces, hidden, mels, reference, placed)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed)


def opened(reference: Features, opening: Opening) -> Features:
    """Features of one person's references, and how this person's mouth opens in speech."""
    return {**reference, OPENING: reference[PICTURE].new_tensor([opening])}


def redrawn(
    generator: Generator, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features,
    placed: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A generator's finest output for a batch of faces, at their own size.

    Args:
        faces: (N, 3, T, T) in [0, 1]. T is one of the generator's ``sizes``, or a multiple if its output copies pixels.
        hidden: (N, 1, T, T) bool; pixels to black out before the network sees them.
        mels: (N, 1, 80, 28) mel windows.
        reference: from `Generator.encode_reference`, of pictures of T px; or from `opened`.
        placed: (N, K, 2, 3), see `Generator.decode`. If K is 3, the third reference must show shut lips: it is used in
            silence alone.

    Returns:
        (N, 3, T, T) float32 in [0, 1].
    """
    side = faces.shape[-1]
    own = min(side, generator.config.size)
    queries = faces if generator.config.sees_mouth else faces.masked_fill(hidden, 0)
    how: dict[str, Any] = {"placed": placed, "finest": True, "favour": _favour(mels, reference[PICTURE].shape[1])}
    if OPENING in reference:
        how["opening"] = reference[OPENING] * (1 - _silence(mels))
    if side == own:
        return generator.decode(queries, reference, mels, **how)[side]
    # A reduced pixel is hidden if any part of it is: the mask must have a hard edge, as in training.
    covered = F.max_pool2d(hidden.float(), side // own) > 0
    small = F.avg_pool2d(faces, side // own).masked_fill(covered, 0)
    return generator.decode(small, reference, mels, sharp=queries, **how)[side]


def _silence(mels: Tensor) -> Tensor:
    """The share of silent columns in the 0.2 s around each frame, (N, 1), from mel windows (N, 1, 80, 28)."""
    return (middle(mels, MEL_STEPS).float().mean((1, 2)) <= NOTHING).float().mean(-1, keepdim=True)


def _favour(mels: Tensor, references: int) -> Tensor | None:
    """What the sound adds to the logits of the references, (N, K); ``None`` if none of them shows shut lips."""
    if references != SHUT_REFERENCE + 1:
        return None
    share = _silence(mels)
    return F.pad(torch.where(share > 0, EDGE + (SILENT - EDGE) * share, NEVER), (SHUT_REFERENCE, 0))
