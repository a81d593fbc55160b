"""What training minimises; each function names its equation of the paper.

Images are (N, 3, S, S) in [0, 1]. Everything here is computed in float32, whatever precision the networks run in.
"""

from __future__ import annotations

import torch
from torch import Tensor

PROBABILITY_FLOOR = 1e-6  #: keeps the logarithms finite: the sync loss ends at 13.8


def _full_precision(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def sync_probability(cosine: Tensor) -> Tensor:
    """Probability that picture and sound belong together: (1 + cosine) / 2, kept inside (0, 1) (Eq. 2).

    Args:
        cosine: (B,) in [-1, 1], from `sidgan.nn.SyncNet`.

    Returns:
        (B,) in [1e-6, 1 - 1e-6].
    """
    with _full_precision(cosine):
        return ((1 + cosine.float()) / 2).clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)


def sync_loss(cosine: Tensor) -> Tensor:
    """-log of the sync probability, mean over windows (Eq. 2): 0 at cosine 1, ln 2 at 0, 13.8 at -1."""
    with _full_precision(cosine):
        return -sync_probability(cosine).log().mean()


def sync_bce(cosine: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy that an expert is trained with; for label 1 it is exactly `sync_loss` (Sec. 3.3.1).

    Args:
        cosine: (B,) in [-1, 1].
        label: (B,) 1 where picture and sound belong together, 0 where not.
    """
    with _full_precision(cosine):
        p, y = sync_probability(cosine), label.float()
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def masked_l1(image: Tensor, target: Tensor, mask: Tensor, mouth_weight: float = 1.0) -> Tensor:
    """Mean absolute difference in which the hidden region weighs ``mouth_weight`` times as much (L1 of Eq. 4).

    Weights are scaled to mean 1 in every image, so that the size of the loss does not depend on the size of the
    mask; ``mouth_weight`` 1 is plain L1.

    Args:
        image: (N, 3, S, S) output.
        target: (N, 3, S, S) truth.
        mask: (N, 1, S, S), 1 where the query was hidden, 0 elsewhere; soft values are allowed.
        mouth_weight: positive.
    """
    with _full_precision(image):
        weight = 1 + (mouth_weight - 1) * mask.float()
        weight = weight / weight.mean((1, 2, 3), keepdim=True)
        return (weight * (image.float() - target.float()).abs()).mean()


def lsgan_d(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: its scores of real patches go to 1, of generated ones to 0 (Sec. 3.3.3)."""
    with _full_precision(real):
        return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def lsgan_g(fake: Tensor) -> Tensor:
    """What the generator minimises against a discriminator: its patches should score 1 (L_GAN of Eq. 4)."""
    with _full_precision(fake):
        return (fake.float() - 1).square().mean()
