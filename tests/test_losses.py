import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sidgan.losses import lsgan_d, lsgan_g, masked_l1, sync_bce, sync_loss, sync_probability


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize(("cosine", "loss"), [(1.0, 0.0), (0.0, math.log(2)), (-1.0, -math.log(1e-6))])
def test_sync_loss_at_its_landmarks(cosine: float, loss: float) -> None:
    assert sync_loss(torch.tensor([cosine])).item() == pytest.approx(loss, abs=2e-6)


def test_sync_loss_falls_with_the_cosine() -> None:
    losses = torch.stack([sync_loss(c[None]) for c in torch.linspace(-1, 1, 41)])
    assert (losses.diff() < 0).all()


def test_sync_loss_survives_cosines_just_outside() -> None:
    cosine = torch.tensor([1 + 1e-6, -1 - 1e-6])
    assert ((sync_probability(cosine) > 0) & (sync_probability(cosine) < 1)).all()
    assert torch.isfinite(sync_bce(cosine, torch.tensor([0.0, 1.0])))


def test_sync_loss_pulls_towards_agreement() -> None:
    cosine = torch.tensor([-0.5, 0.0, 0.9], requires_grad=True)
    sync_loss(cosine).backward()
    assert cosine.grad is not None
    assert torch.allclose(cosine.grad, -1 / (1 + cosine.detach()) / 3)


def test_bce_for_true_pairs_is_the_sync_loss() -> None:
    cosine = torch.rand(16) * 2 - 1
    assert sync_bce(cosine, torch.ones(16)) == sync_loss(cosine)
    assert torch.allclose(sync_bce(cosine, torch.zeros(16)), sync_loss(-cosine))


def test_bce_is_the_standard_one() -> None:
    cosine, label = torch.rand(16) * 1.8 - 0.9, torch.randint(0, 2, (16,))
    expected = torch.nn.functional.binary_cross_entropy((1 + cosine) / 2, label.float())
    assert torch.allclose(sync_bce(cosine, label), expected)


def test_unit_weight_is_plain_l1() -> None:
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[:, :, 4:] = 1
    assert torch.allclose(masked_l1(a, b, mask, 1.0), (a - b).abs().mean())


def test_inside_weighs_more() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:, :] = 1
    target = torch.zeros(1, 3, 8, 8)
    inside, outside = mask.expand_as(target), 1 - mask.expand_as(target)
    assert masked_l1(inside, target, mask, 5.0) == pytest.approx(5 * masked_l1(outside, target, mask, 5.0).item())


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(0, 8), weight=st.floats(0.1, 50))
def test_uniform_error_costs_the_same_whatever_the_mask(rows: int, weight: float) -> None:
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, :rows] = 1
    target = torch.rand(2, 3, 8, 8)
    assert masked_l1(target + 0.25, target, mask, weight).item() == pytest.approx(0.25, rel=1e-4)


def test_an_image_does_not_weigh_more_for_its_large_mask() -> None:
    a, b = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, :, 6:] = 1
    mask[1, :, 1:] = 1
    each = [masked_l1(a[i : i + 1], b[i : i + 1], mask[i : i + 1], 5.0) for i in (0, 1)]
    assert torch.allclose(masked_l1(a, b, mask, 5.0), torch.stack(each).mean())


def test_gan_losses_at_their_optima() -> None:
    ones, zeros = torch.ones(2, 1, 5, 5), torch.zeros(2, 1, 5, 5)
    assert lsgan_d(ones, zeros) == 0
    assert lsgan_g(ones) == 0
    assert lsgan_d(ones * 0.5, ones * 0.5) == 0.25
    assert lsgan_d(zeros, ones) == 1
    assert lsgan_g(zeros) == 1


def test_half_precision_is_left_at_the_door() -> None:
    cosine = torch.tensor([1 - 2**-8, -1 + 2**-8]).bfloat16()
    image, target = torch.rand(1, 3, 64, 64).bfloat16(), torch.rand(1, 3, 64, 64).bfloat16()
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        values = [sync_loss(cosine), sync_bce(cosine, torch.ones(2)), masked_l1(image, target, mask, 5.0)]
        values += [lsgan_d(image, target), lsgan_g(image)]
    assert all(v.dtype == torch.float32 for v in values)
    assert values[2] == masked_l1(image.float(), target.float(), mask, 5.0)
    assert values[0] == sync_loss(cosine.float())
