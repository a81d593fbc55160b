"""The losses of training, with their equations and sections in the paper.

Images are (N, 3, S, S) in [0, 1]. All losses are computed in float32, whatever precision the networks run in.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

PROBABILITY_FLOOR = 1e-6  #: keeps the logarithms finite: the sync loss is at most 13.8


def _full_precision(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def sync_probability(cosine: Tensor) -> Tensor:
    """Probability that picture and sound belong together: (1 + cosine) / 2, clamped to the inside of (0, 1) (Eq. 2).

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
    """Binary cross-entropy for training an expert; with labels 1 it equals `sync_loss` (Sec. 3.3.1).

    Args:
        cosine: (B,) in [-1, 1].
        label: (B,) 1 where picture and sound belong together, 0 where not.
    """
    with _full_precision(cosine):
        p, y = sync_probability(cosine), label.float()
        return -(y * p.log() + (1 - y) * (1 - p).log()).mean()


def masked_l1(image: Tensor, target: Tensor, mask: Tensor, mouth_weight: float = 1.0) -> Tensor:
    """Mean absolute difference, with weight ``mouth_weight`` in the hidden region and 1 elsewhere (L1 of Eq. 4).

    Weights are scaled to mean 1 in every image, so that the loss does not depend on the size of the mask;
    ``mouth_weight`` 1 is plain L1.

    Args:
        image: (N, 3, S, S) output.
        target: (N, 3, S, S) ground truth.
        mask: (N, 1, S, S), 1 where the query was hidden, 0 elsewhere; soft values are allowed.
        mouth_weight: positive.
    """
    with _full_precision(image):
        weight = 1 + (mouth_weight - 1) * mask.float()
        weight = weight / weight.mean((1, 2, 3), keepdim=True)
        return (weight * (image.float() - target.float()).abs()).mean()


def lsgan_d(real: Tensor, fake: Tensor) -> Tensor:
    """LSGAN loss of a discriminator, with target 1 for scores of real patches, 0 for generated ones (Sec. 3.3.3)."""
    with _full_precision(real):
        return ((real.float() - 1).square().mean() + fake.float().square().mean()) / 2


def lsgan_g(fake: Tensor) -> Tensor:
    """LSGAN loss of the generator, with target 1 for the scores of its patches (L_GAN of Eq. 4)."""
    with _full_precision(fake):
        return (fake.float() - 1).square().mean()


# ---------------------------------------------------------------------------------------------- compared systems

SHARPNESS = 1 / 0.07  #: inverse temperature of the softmax over cosines


def contrastive_d(real: Tensor, fake: Tensor) -> Tensor:
    """Contrastive loss of LipGAN's discriminator: distances of matching pairs to 0, of others to 1 or more.

    Args:
        real, fake: one minus the distances.
    """
    with _full_precision(real):
        return ((real.float() - 1).square().mean() + fake.float().relu().square().mean()) / 2


def entropy_d(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of Wav2Lip's visual discriminator: mean cross-entropy of its probabilities that images are real."""
    return (entropy_g(real) + entropy_g(1 - fake)) / 2


def entropy_g(fake: Tensor) -> Tensor:
    """Loss of Wav2Lip's generator: -log of the probability that its images are real."""
    with _full_precision(fake):
        return -fake.float().clamp(PROBABILITY_FLOOR, 1).log().mean()


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of PC-AVS's discriminators: scores of real patches at least 1, of generated ones at most 0.

    PC-AVS has margins of 1 and -1; here they are 1 and 0, the targets of the other losses.
    """
    with _full_precision(real):
        return (1 - real.float()).relu().mean() + fake.float().relu().mean()


def hinge_g(fake: Tensor) -> Tensor:
    """Loss of PC-AVS's generator: minus the mean score."""
    with _full_precision(fake):
        return -fake.float().mean()


def content_loss(seen: Tensor, heard: Tensor) -> Tensor:
    """Contrastive loss of PC-AVS: cross-entropy of finding the sound of each mouth in the batch, and vice versa.

    Computed from cosines. Near 0 if all are found; log N at chance.

    Args:
        seen, heard: (N, C) lip and audio features of the same moments, in the same order.
    """
    with _full_precision(seen):
        cosines = F.normalize(seen.float(), dim=1) @ F.normalize(heard.float(), dim=1).T
        own = torch.arange(len(cosines), device=cosines.device)
        return (F.cross_entropy(SHARPNESS * cosines, own) + F.cross_entropy(SHARPNESS * cosines.T, own)) / 2


Rule = tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]
#: Kind of discriminator (`sidgan.config.DiscriminatorConfig`) -> losses of the discriminator and of the generator.
RIVALRY: dict[str, Rule] = {
    "patch": (lsgan_d, lsgan_g), "sound": (contrastive_d, lsgan_g), "half": (entropy_d, entropy_g),
    "scales": (hinge_d, hinge_g),
}  # fmt: skip


# ------------------------------------------------------------------------------------------------- reconstruction

BANDWIDTH = 0.5  #: h of the contextual similarity; with 0.1 its gradient vanishes once features roughly match
EPSILON = 1e-5  #: avoids division by 0 and log 0


def contextual_loss(features: Tensor, target: Tensor) -> Tensor:
    """-log of the contextual similarity of two feature maps (Eq. 3).

    It compares each target feature with the most similar output feature at *any* position, so an image that is shifted
    by a few pixels costs almost nothing.

    Args:
        features: (N, C, H, W) of the output; `sidgan.nn.VGG19` up to relu5_3 in the paper.
        target: (N, C, H, W) of the ground truth.

    Raises:
        ValueError: maps with fewer than four positions.
    """
    if features.shape[2] * features.shape[3] < 4:
        raise ValueError(f"contextual loss needs several positions, not {tuple(features.shape[2:])}; enlarge the image")
    with _full_precision(features):
        mean = target.float().mean((0, 2, 3), keepdim=True)
        x, y = (F.normalize((f.float() - mean).flatten(2), dim=1) for f in (features, target))
        distance = (1 - x.transpose(1, 2) @ y).clamp(min=0)  # (N, positions of the output, positions of the target)
        relative = distance / (distance.amin(2, keepdim=True) + EPSILON)
        closeness = ((1 - relative) / BANDWIDTH).exp()
        similarity = closeness / closeness.sum(2, keepdim=True)
        return -similarity.amax(1).mean(1).clamp(min=EPSILON).log().mean()


def perceptual_loss(features: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of two feature maps, position by position (the ablation of Table 4)."""
    with _full_precision(features):
        return (features.float() - target.float()).abs().mean()


def focal_frequency_loss(image: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the spectra, weighted by the relative error of each frequency (L_FFL of Eq. 4).

    Jiang et al., "Focal frequency loss for image reconstruction and synthesis", 2021, with exponent 1. It is at most
    the mean squared error of the images.

    Args:
        image: (N, 3, S, S) output.
        target: (N, 3, S, S) ground truth.
    """
    with _full_precision(image):  # the squared DC component of a 512 px image overflows in fp16
        error = torch.fft.fft2(image.float() - target.float(), norm="ortho")
        squares = error.real.square() + error.imag.square()
        with torch.no_grad():
            weight = squares.sqrt()
            weight = (weight / weight.amax((2, 3), keepdim=True)).nan_to_num(0.0).clamp(0, 1)
        return (weight * squares).mean()
