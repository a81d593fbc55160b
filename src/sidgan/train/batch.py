"""The batch of one step of generator training: augmented windows with the mouth hidden."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.config import GeneratorConfig
from sidgan.data.dataset import Windows
from sidgan.train import augment

DISPLACEMENT = 0.02  #: standard deviation of the displacements that change a face, as a share of the side
MASK_JITTER = 8 / 512  #: largest random shift of an edge of the hidden box, as a share of the side
ECHO_SHARE, GAP_SHARE = 0.3, 0.2  #: probabilities that a sound gets an echo, and that it loses some bands
COLOUR = 0.05  #: strength of colour changes. With 0.15 a small generator learns to match colours instead of lips


@dataclass(frozen=True)
class Batch:
    """One batch of N = B T frames; fields as in `sidgan.data.dataset.Windows`, with ``query`` the masked target.

    All are (N, ...) except ``reference`` (B, K, ...) and ``sync_mel`` (B, ...).
    """

    query: Tensor
    target: Tensor
    mask: Tensor
    lips: Tensor
    reference: Tensor
    placed: Tensor
    mels: Tensor
    sync_mel: Tensor

    def shown_to(self, config: GeneratorConfig) -> Tensor:
        """(N, 3, S, S), the queries as a generator gets them: unmasked if it reads only the pose from them."""
        return self.target if config.sees_mouth else self.query

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(**{f.name: getattr(self, f.name).to(device) for f in fields(self)})


def prepare_batch(windows: Windows, rng: np.random.Generator | None, identity: float = 0.0) -> Batch:
    """Augment windows, and hide their mouths.

    Args:
        rng: source of the augmentation, which is applied before mouths are hidden and is the same for all pictures of
            a window; ``None`` for no augmentation.
        identity: strength of the changes of a person's looks, 0 to 1 (`sidgan.train.augment.repaint`).
    """
    # References are augmented like the frames: if they differed, a generator would learn to ignore the references.
    target, mask, lips, reference = windows.target, windows.mask, windows.lips, windows.reference
    placed = windows.placed
    if rng is not None:
        count, frames = target.shape[:2]
        shown = frames + reference.shape[1]
        packed = torch.cat([target.flatten(1, 2), reference.flatten(1, 2), mask.flatten(1, 2), lips.flatten(1, 2)], 1)
        theta = augment.random_affines(rng, count, shift=0.02, scale=0.03)
        bent = augment.random_displacements(packed, rng, strength=DISPLACEMENT * identity) if identity else None
        packed = augment.apply_affines(packed, theta, bent)
        placed = _moved_placement(theta, placed)
        pictures = packed[:, : 3 * shown].view(count, shown, 3, *packed.shape[2:])
        pictures = augment.colour(pictures, rng, strength=COLOUR)
        if identity:
            pictures = augment.repaint(pictures, rng, strength=identity)
        target, reference = pictures[:, :frames], pictures[:, frames:]
        mask, lips = (part.view_as(mask) for part in (packed[:, 3 * shown :] > 0.5).float().chunk(2, 1))
        mask = _jittered(mask, rng)
    target, mask, lips, placed = (part.flatten(0, 1) for part in (target, mask, lips, placed))
    mels = windows.mels if rng is None else _augment_mels(windows.mels, rng)
    return Batch(target * (1 - mask), target, mask, lips, reference, placed, mels.flatten(0, 1), windows.sync_mel)


def _augment_mels(mels: Tensor, rng: np.random.Generator) -> Tensor:
    """Change mel windows (B, T, 1, 80, C): voice, microphone, room and background sounds."""
    mels = augment.mel_voice(augment.mel_noise(mels, rng), rng)
    mels = augment.mel_echo(augment.mel_background(mels, rng), rng, chance=ECHO_SHARE)
    return augment.mel_band_gaps(mels, rng, chance=GAP_SHARE)


def _moved_placement(theta: np.ndarray, placed: Tensor) -> Tensor:
    """``placed`` (B, T, K, 2, 3) after queries and references of each item were both moved by ``theta`` (B, 2, 3).

    Displacements are ignored: they are the same in all pictures of an item, so the error is small.
    """
    whole, inner = _homogeneous(torch.from_numpy(theta).to(placed)), _homogeneous(placed)
    return (torch.linalg.inv(whole)[:, None, None] @ inner @ whole[:, None, None])[..., :2, :]


def _homogeneous(affine: Tensor) -> Tensor:
    """(..., 2, 3) -> (..., 3, 3): append the row 0, 0, 1."""
    last = torch.tensor([0.0, 0.0, 1.0]).to(affine).expand(*affine.shape[:-2], 1, 3)
    return torch.cat([affine, last], -2)


def _jittered(masks: Tensor, rng: np.random.Generator) -> Tensor:
    """Bounding boxes of ``masks`` (B, T, 1, S, S), with each edge moved out or in by up to `MASK_JITTER`.

    The moves are the same for all frames of a window. An edge at the border of the picture stays there, as the lower
    edge does in dubbing.
    """
    most = round(MASK_JITTER * masks.shape[-1])
    moves = torch.from_numpy(rng.integers(-most, most + 1, (4, len(masks), 1, 1, 1))).to(masks.device)
    rows, columns = _widened(masks.amax(-1), *moves[:2]), _widened(masks.amax(-2), *moves[2:])
    return rows[..., :, None] * columns[..., None, :]


def _widened(shares: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Move both ends of the ones in (B, T, 1, S) outwards by (B, 1, 1, 1) pixels, except ends at the border."""
    places, last = torch.arange(shares.shape[-1], device=shares.device), shares.shape[-1] - 1
    there = shares > 0
    first = there.int().argmax(-1, keepdim=True)
    end = last - there.flip(-1).int().argmax(-1, keepdim=True)
    low, high = first - before * (first > 0), end + after * (end < last)
    return ((places >= low) & (places <= high) & there.any(-1, keepdim=True)).to(shares.dtype)


def at_level(images: Tensor, level: int) -> Tensor:
    """(N, C, S, S) averaged down to (N, C, level, level)."""
    return images if images.shape[-1] == level else F.interpolate(images, (level, level), mode="area")
