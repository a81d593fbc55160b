"""What the losses are worth where their value is known (T9 and the landmarks of Eq. 2 to 4)."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from invariants.shifts import natural, noise
from sidgan.losses import contextual_loss, focal_frequency_loss, lsgan_d, lsgan_g, masked_l1, sync_loss


def near(value: float | Tensor, expected: float, tolerance: float, what: str) -> None:
    value = float(torch.as_tensor(value).detach())
    assert abs(value - expected) <= tolerance, f"{what} is {value:.6g}, not {expected:.6g}"


# -------------------------------------------------------------------------------------------------------------- sync


def sync_loss_landmarks() -> None:
    """0 at cosine 1, ln 2 at 0, 13.8 at -1; and the gradient pulls towards agreement."""
    for cosine, loss in ((1.0, 0.0), (0.0, math.log(2)), (-1.0, -math.log(1e-6))):
        near(sync_loss(torch.tensor([cosine])), loss, 2e-6, f"the sync loss at cosine {cosine:g}")
    cosine = torch.tensor([-0.5, 0.0, 0.9], requires_grad=True)
    sync_loss(cosine).backward()
    assert cosine.grad is not None, "there is no gradient"
    expected = -1 / (1 + cosine.detach()) / 3
    assert torch.allclose(cosine.grad, expected), f"the gradient is {cosine.grad.tolist()}, not {expected.tolist()}"


# -------------------------------------------------------------------------------------------------------- contextual


def equal_features_cost_nothing() -> None:
    """T9: the contextual loss of a picture and itself is 0, of strangers it is not."""
    features, other = noise(2, 32, 6, 6), noise(2, 32, 6, 6, seed=1)
    near(contextual_loss(features, features), 0, 1e-4, "the contextual loss of equal features")
    apart = float(contextual_loss(other, features))
    assert apart > 0.5, f"the contextual loss of strangers is {apart:.3g} only"


def positions_do_not_count() -> None:
    """T9: features in other places, of the output or of the truth, cost the same."""
    a, b = noise(2, 32, 6, 6), noise(2, 32, 6, 6, seed=1)
    order = torch.randperm(36, generator=torch.Generator().manual_seed(2))
    moved_a, moved_b = (f.flatten(2)[..., order].view_as(f) for f in (a, b))
    cost = float(contextual_loss(a, b))
    near(contextual_loss(moved_a, b), cost, 1e-5, "the contextual loss with the output's features in other places")
    near(contextual_loss(a, moved_b), cost, 1e-5, "the contextual loss with the truth's features in other places")


def contextual_loss_is_the_formula() -> None:
    """T9: Eq. 3 written out with loops."""
    x, y = noise(1, 8, 3, 3), noise(1, 8, 3, 3, seed=1) + 0.5  # of another mean, so that it matters which is taken
    mean = y.mean((0, 2, 3))
    fx, fy = ([(f[0, :, i // 3, i % 3] - mean) for i in range(9)] for f in (x, y))
    d = [[1 - torch.nn.functional.cosine_similarity(a, b, dim=0).item() for b in fy] for a in fx]
    w = [[math.exp((1 - v / (min(row) + 1e-5)) / 0.5) for v in row] for row in d]
    c = [[v / sum(row) for v in row] for row in w]
    expected = -math.log(sum(max(c[i][j] for i in range(9)) for j in range(9)) / 9)
    near(contextual_loss(x, y), expected, 1e-3 * expected, "the contextual loss")


def l1_grows_with_shifts() -> None:
    """T9: on pictures with the spectrum of photographs, each further pixel of shift costs more."""
    x = natural(4, 3, 64, 64)
    mask = torch.zeros(4, 1, 64, 64)
    mask[..., 32:, 16:48] = 1
    for weight in (1.0, 5.0):
        costs = [float(masked_l1(x.roll(k, 3), x, mask, weight)) for k in range(9)]
        told = ", ".join(f"{c:.3f}" for c in costs)
        assert costs[0] == 0, f"L1 of a picture and itself is {costs[0]:.3g}"
        assert all(a < b for a, b in itertools.pairwise(costs)), f"over shifts of 0 to 8 px L1 is {told}"


# --------------------------------------------------------------------------------------------------- focal frequency


def focal_frequency_loss_is_the_formula() -> None:
    """Value and gradient, evaluated directly in NumPy; the weights are constants for the gradient."""
    a, b = natural(2, 3, 24, 24), natural(2, 3, 24, 24, seed=1)
    error = np.fft.fft2(a.double().numpy() - b.double().numpy(), norm="ortho")
    weight = np.abs(error) / np.abs(error).max((2, 3), keepdims=True)
    image = a.clone().requires_grad_()
    loss = focal_frequency_loss(image, b)
    expected = float((weight * np.abs(error) ** 2).mean())
    near(loss, expected, 1e-5 * expected, "the focal frequency loss")
    loss.backward()
    assert image.grad is not None, "there is no gradient"
    slope = 2 / error.size * np.fft.ifft2(weight * error, norm="ortho").real
    off = float(np.abs(image.grad.numpy() - slope).max() / np.abs(slope).max())
    assert off <= 1e-4, f"the gradient is off by {off:.1e} of its largest element"


def focal_frequency_loss_in_its_bounds() -> None:
    """At most the squared error, 0 for equal pictures, and finite with its gradient, for equal ones too."""
    for size in (8, 17, 32):
        a, b = natural(1, 3, size, size), natural(1, 3, size, size, seed=1)
        loss, most = float(focal_frequency_loss(a, b)), float((a - b).square().mean())
        assert 0 < loss <= most * (1 + 1e-5), f"the focal frequency loss is {loss:.3g}, the squared error {most:.3g}"
        image = a.clone().requires_grad_()
        same = focal_frequency_loss(image, a)
        near(same.detach(), 0, 0, "the focal frequency loss of equal pictures")
        same.backward()
        assert image.grad is not None, "there is no gradient"
        assert torch.isfinite(image.grad).all(), "the gradient for equal pictures is not finite"


# --------------------------------------------------------------------------------------------------------------- GAN


def gan_losses_at_their_optima() -> None:
    """A critic is content with 1 for real and 0 for generated patches, a generator with 1."""
    ones, zeros = torch.ones(2, 1, 5, 5), torch.zeros(2, 1, 5, 5)
    for what, value, expected in (
        ("a perfect critic's loss", lsgan_d(ones, zeros), 0.0),
        ("an undecided critic's loss", lsgan_d(ones / 2, ones / 2), 0.25),
        ("a deceived critic's loss", lsgan_d(zeros, ones), 1.0),
        ("a perfect generator's loss", lsgan_g(ones), 0.0),
        ("an unmasked generator's loss", lsgan_g(zeros), 1.0),
    ):
        near(value, expected, 0, what)
