"""Right and wrong pairs of picture and sound, on which an expert is trained."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sidgan.config import MEL_STEPS, SYNC_FRAMES
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.losses import sync_bce
from sidgan.nn import SyncNet, middle

MAX_DISTANCE = 50  #: frames (2 s) within which negatives are drawn: farther ones are too easy to recognise
SAME_SOUND = 0.4  #: mean absolute difference of two mel windows, in -4 to 4, up to which they count as the same sound


class SyncPairs(nn.Module):
    """Cosines of each window with several sounds, in one forward pass, as distributed training needs it."""

    def __init__(self, net: SyncNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, video: Tensor, mels: Tensor) -> Tensor:
        """(B, 15, H, W) and (B, M, 1, 80, 28) -> cosines (B, M)."""
        seen = self.net.embed_video(video)
        heard = self.net.embed_audio(mels.flatten(0, 1)).view(*mels.shape[:2], -1)
        return (seen[:, None] * heard).sum(-1)


def pair_loss(cosines: Tensor) -> Tensor:
    """Cross-entropy of (B, M) cosines, the first of each row right, the others wrong; both classes count equally."""
    right = sync_bce(cosines[:, 0], torch.ones_like(cosines[:, 0]))
    wrong = sync_bce(cosines[:, 1:], torch.zeros_like(cosines[:, 1:]))
    return (right + wrong) / 2


def draw_pairs(
    rng: np.random.Generator, data: PackedSet, count: int, negatives: int, near: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Random windows of a set, each with its own sound and ``negatives`` other sounds of its clip.

    Args:
        near: share of negatives that are only 2 to 4 frames off.

    Returns:
        Faces (count, 5, 3, S, S) in [0, 1] and mel windows (count, 1 + negatives, 1, 80, 28), the right one first.
    """
    faces, mels = [], []
    for _ in range(count):
        clip = data.draw(rng)
        start = int(rng.integers(len(clip) - SYNC_FRAMES + 1))
        faces.append(clip.images[start : start + SYNC_FRAMES])
        mels.append(clip.mels[[start + 2, *(draw_negatives(rng, clip, start, negatives, near) + 2)]])
    return torch.stack(faces).to(data.device).float() / 255, torch.stack(mels).to(data.device).float()


def draw_negatives(rng: np.random.Generator, clip: PackedClip, start: int, count: int, near: float) -> np.ndarray:
    """Start frames of windows with another sound: 5 to 50 frames away, or 2 to 4 with probability ``near``."""
    last = len(clip) - SYNC_FRAMES
    low, high = max(0, start - MAX_DISTANCE), min(start + MAX_DISTANCE, last)
    others = np.arange(low, high + 1)
    distance = np.abs(others - start)
    wrong = ~same_sound(clip.mels[start + 2 : start + 3], clip.mels[low + 2 : high + 3])[0].cpu().numpy()
    far = others[wrong & (distance >= SYNC_FRAMES)]
    close = others[wrong & (distance >= 2) & (distance < SYNC_FRAMES)]
    if len(far) == 0:
        far = np.array([end for end in (0, last) if abs(end - start) == max(start, last - start)])
    pools = [close if len(close) and rng.random() < near else far for _ in range(count)]
    return np.array([rng.choice(pool) for pool in pools])


def same_sound(some: Tensor, others: Tensor) -> Tensor:
    """(A, B) bool: which of mel windows (A, 1, 80, C) and (B, 1, 80, C) sound the same, such as two silent ones.

    Only the 16 columns that an expert uses are compared.
    """
    one, other = (middle(mels, MEL_STEPS).flatten(1).float() for mels in (some, others))
    return torch.cdist(one, other, p=1) <= SAME_SOUND * one.shape[1]
