import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import losses

from sidgan.losses import (
    contextual_loss,
    focal_frequency_loss,
    lsgan_d,
    lsgan_g,
    masked_l1,
    perceptual_loss,
    sync_bce,
    sync_loss,
    sync_probability,
)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_sync_loss_at_its_landmarks() -> None:
    losses.sync_loss_landmarks()


def test_sync_loss_falls_with_the_cosine() -> None:
    losses = torch.stack([sync_loss(c[None]) for c in torch.linspace(-1, 1, 41)])
    assert (losses.diff() < 0).all()


def test_sync_loss_survives_cosines_just_outside() -> None:
    cosine = torch.tensor([1 + 1e-6, -1 - 1e-6])
    assert ((sync_probability(cosine) > 0) & (sync_probability(cosine) < 1)).all()
    assert torch.isfinite(sync_bce(cosine, torch.tensor([0.0, 1.0])))


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
    losses.gan_losses_at_their_optima()


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


# ------------------------------------------------------------------------------------------------- reconstruction


def test_contextual_loss_of_equal_features_is_zero() -> None:
    losses.equal_features_cost_nothing()


def test_contextual_loss_ignores_positions() -> None:
    losses.positions_do_not_count()
    a, b = torch.randn(2, 32, 6, 6), torch.randn(2, 32, 6, 6)
    mixed = a.flatten(2)[..., torch.randperm(36)].view_as(a)
    assert not torch.allclose(perceptual_loss(mixed, b), perceptual_loss(a, b), atol=1e-3)


def test_contextual_loss_is_the_published_formula() -> None:
    losses.contextual_loss_is_the_formula()


def test_l1_grows_with_every_pixel_of_shift() -> None:
    losses.l1_grows_with_shifts()


def test_contextual_loss_pulls_and_refuses_what_has_no_context() -> None:
    target = torch.randn(1, 16, 5, 5)
    features = torch.randn(1, 16, 5, 5, requires_grad=True)
    optimiser = torch.optim.Adam([features], 0.05)
    losses = []
    for _ in range(60):
        loss = contextual_loss(features, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(ValueError, match="several positions"):
        contextual_loss(target[..., :1, :1], target[..., :1, :1])


def test_focal_frequency_loss_against_a_direct_evaluation() -> None:
    losses.focal_frequency_loss_is_the_formula()


def test_focal_frequency_loss_is_at_most_the_squared_error() -> None:
    losses.focal_frequency_loss_in_its_bounds()


def test_focal_frequency_loss_keeps_finite_gradients_in_half_precision() -> None:
    image = torch.full((1, 3, 512, 512), 0.5, dtype=torch.float16, requires_grad=True)
    loss = focal_frequency_loss(image, torch.zeros(1, 3, 512, 512, dtype=torch.float16))
    loss.backward()
    assert loss.item() == pytest.approx(0.25)  # all of the error is in one frequency, which weighs 1
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()


def test_moving_all_features_costs_the_contextual_loss_nothing() -> None:
    """On any features, moving them all costs the contextual loss nothing; the positional losses grow."""
    features = torch.nn.functional.avg_pool2d(torch.randn(1, 16, 40, 40), 5, 1, 2)
    moved = [features.roll(k, 3) for k in (1, 2, 4)]
    assert all(contextual_loss(m, features) < 1e-3 for m in moved)
    costs = [perceptual_loss(m, features).item() for m in moved]
    assert costs == sorted(costs)
    assert costs[0] > 0.05
