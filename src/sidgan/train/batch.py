"""What one step of a generator's training sees: windows with their mouths hidden, augmented."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.config import GeneratorConfig
from sidgan.data.dataset import Windows
from sidgan.train import augment

BEND = 0.02  #: standard deviation of the displacement that makes a face another's, as a share of the side
MASK_JITTER = 8 / 512  #: largest random move of each edge of the hidden boxes of a window, as a share of the side
ROOMS, GAPS = 0.3, 0.2  #: shares of the sounds that get an echo, and lose some bands
COLOUR = 0.05  #: strength of colour changes. With 0.15 a small generator learns to match colours instead of lips


@dataclass(frozen=True)
class Batch:
    """What one step sees, N = B T frames: all (N, ...) but ``reference`` (B, K, ...) and ``sync_mel`` (B, ...)."""

    query: Tensor
    target: Tensor
    mask: Tensor
    lips: Tensor
    reference: Tensor
    placed: Tensor
    mels: Tensor
    sync_mel: Tensor

    def shown_to(self, config: GeneratorConfig) -> Tensor:
        """(N, 3, S, S), the queries as a generator sees them: unmasked where only their pose is looked at."""
        return self.target if config.sees_mouth else self.query

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def prepare_batch(windows: Windows, rng: np.random.Generator | None, identity: float = 0.0) -> Batch:
    """Hide the mouths; with ``rng``, augment first, all pictures of a window alike, and all its sounds.

    Args:
        identity: how much people are made others, 0 to 1 (`sidgan.train.augment.repaint`).
    """
    # A generator that could tell augmented frames from their reference would learn to ignore the reference.
    target, mask, lips, reference = windows.target, windows.mask, windows.lips, windows.reference
    placed = windows.placed
    if rng is not None:
        count, frames = target.shape[:2]
        shown = frames + reference.shape[1]
        packed = torch.cat([target.flatten(1, 2), reference.flatten(1, 2), mask.flatten(1, 2), lips.flatten(1, 2)], 1)
        theta = augment.moves(rng, count, shift=0.02, scale=0.03)
        bent = augment.bends(packed, rng, strength=BEND * identity) if identity else None
        packed = augment.moved(packed, theta, bent)
        placed = _between(theta, placed)
        pictures = packed[:, : 3 * shown].view(count, shown, 3, *packed.shape[2:])
        pictures = augment.colour(pictures, rng, strength=COLOUR)
        if identity:
            pictures = augment.repaint(pictures, rng, strength=identity)
        target, reference = pictures[:, :frames], pictures[:, frames:]
        mask, lips = (part.view_as(mask) for part in (packed[:, 3 * shown :] > 0.5).float().chunk(2, 1))
        mask = _jittered(mask, rng)
    target, mask, lips, placed = (part.flatten(0, 1) for part in (target, mask, lips, placed))
    mels = windows.mels if rng is None else _elsewhere(windows.mels, rng)
    return Batch(target * (1 - mask), target, mask, lips, reference, placed, mels.flatten(0, 1), windows.sync_mel)


def _elsewhere(mels: Tensor, rng: np.random.Generator) -> Tensor:
    """Sounds as they were if said by another voice, with another microphone, in another room, in company."""
    mels = augment.mel_voice(augment.mel_noise(mels, rng), rng)
    mels = augment.mel_room(augment.mel_company(mels, rng), rng, chance=ROOMS)
    return augment.mel_gaps(mels, rng, chance=GAPS)


def _between(theta: np.ndarray, placed: Tensor) -> Tensor:
    """Where places lie in the references (B, T, K, 2, 3) once all pictures of an item are read as (B, 2, 3) says.

    A face that is bent as well is bent alike in all its pictures; what differs by that is left to the network.
    """
    whole, inner = _square(torch.from_numpy(theta).to(placed)), _square(placed)
    return (torch.linalg.inv(whole)[:, None, None] @ inner @ whole[:, None, None])[..., :2, :]


def _square(affine: Tensor) -> Tensor:
    """(..., 2, 3) -> (..., 3, 3)."""
    last = torch.tensor([0.0, 0.0, 1.0]).to(affine).expand(*affine.shape[:-2], 1, 3)
    return torch.cat([affine, last], -2)


def _jittered(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """The boxes around (B, T, 1, S, S), with each edge moved by up to `MASK_JITTER`, out or in, in a window alike.

    Edges at the border of the picture stay there: that of the chin, where dubbing hides all that is below.
    """
    reach = round(MASK_JITTER * masks.shape[-1])
    moves = torch.from_numpy(rng.integers(-reach, reach + 1, (4, len(masks), 1, 1, 1))).to(masks.device)
    rows, columns = _widened(masks.amax(-1), *moves[:2]), _widened(masks.amax(-2), *moves[2:])
    return rows[..., :, None] * columns[..., None, :]


def _widened(shares: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Move both ends of the ones in (B, T, 1, S) outwards by so many places (B, 1, 1, 1), but none from the border."""
    places, last = torch.arange(shares.shape[-1], device=shares.device), shares.shape[-1] - 1
    there = shares > 0
    first = there.int().argmax(-1, keepdim=True)
    end = last - there.flip(-1).int().argmax(-1, keepdim=True)
    low, high = first - before * (first > 0), end + after * (end < last)
    return ((places >= low) & (places <= high) & there.any(-1, keepdim=True)).to(shares.dtype)


def at_level(images: Tensor, level: int) -> Tensor:
    """(N, C, S, S) averaged down to (N, C, level, level)."""
    return images if images.shape[-1] == level else F.interpolate(images, (level, level), mode="area")
