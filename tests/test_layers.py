import itertools

import pytest
import torch
from torch import Tensor

from sidgan.nn.layers import AdaptivePolyphase, ConvUnit, FeatureNorm, ResidualBlock

STRIDES = [(1, 2), (2, 1), (2, 2), (3, 1), (3, 3)]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def is_circular_shift(a: Tensor, b: Tensor) -> bool:
    shifts = itertools.product(range(a.shape[2]), range(a.shape[3]))
    return any(torch.equal(a.roll(s, (2, 3)), b) for s in shifts)


@pytest.mark.parametrize("lpf", [1, 3])
@pytest.mark.parametrize("stride", STRIDES)
def test_shift_of_the_input_is_a_shift_of_the_output(stride: tuple[int, int], lpf: int) -> None:
    layer = AdaptivePolyphase(stride, lpf)
    x = noise(1, 3, 12, 24)
    still = layer(x)
    assert still.shape == (1, 3, 12 // stride[0], 24 // stride[1])
    for shift in itertools.product(range(6), range(6)):
        moved = layer(x.roll(shift, (2, 3)))
        assert torch.equal(moved.flatten().sort().values, still.flatten().sort().values), shift
        assert is_circular_shift(still, moved), shift


def test_a_fixed_grid_would_not_pass() -> None:
    x = noise(1, 3, 12, 24)
    assert not is_circular_shift(x[..., ::2, ::2], x.roll(1, 3)[..., ::2, ::2])


@pytest.mark.parametrize("stride", STRIDES)
def test_output_is_the_strongest_grid(stride: tuple[int, int]) -> None:
    x = noise(4, 3, 12, 24)
    sh, sw = stride
    for sample, chosen in zip(x, AdaptivePolyphase(stride)(x), strict=True):
        grids = [sample[:, i::sh, j::sw] for i in range(sh) for j in range(sw)]
        assert torch.equal(chosen, max(grids, key=lambda g: float(g.square().sum())))


def test_each_sample_chooses_for_itself() -> None:
    layer = AdaptivePolyphase((2, 2))
    x = noise(1, 3, 12, 24)
    batch = torch.cat([x.roll((i, j), (2, 3)) for i in range(2) for j in range(2)])
    assert len(set(layer.phase(batch).tolist())) == 4
    together = layer(batch)
    for i in range(4):
        assert torch.equal(together[i : i + 1], layer(batch[i : i + 1]))


def test_only_the_chosen_grid_has_a_gradient() -> None:
    x = noise(2, 3, 12, 24).requires_grad_()
    AdaptivePolyphase((2, 2))(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).float().mean((1, 2, 3)).tolist() == [0.25, 0.25]
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_chooses_as_full_precision(dtype: torch.dtype) -> None:
    x = (noise(32, 64, 8, 8) * 1000).to(dtype)  # squares of these overflow in float16
    layer = AdaptivePolyphase((2, 2))
    assert torch.equal(layer.phase(x), layer.phase(x.float()))
    assert layer(x).dtype == dtype
    assert torch.isfinite(layer(x)).all()


def test_grid_is_chosen_before_blurring() -> None:
    columns = torch.tensor([3.0, -2.9, -2.8]).repeat(4)  # blurred, the second is stronger than the first
    x = columns.view(1, 1, 1, 12)
    layer = AdaptivePolyphase((1, 3), lpf=3)
    assert layer.phase(x).item() == 0
    assert layer(x).flatten().tolist() == pytest.approx([(-2.8 + 6 - 2.9) / 4] * 4, abs=1e-6)


def test_blur_is_along_strided_axes_only() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(4).view(1, 1, 8, 1).expand(1, 1, 8, 8).contiguous()
    assert torch.equal(AdaptivePolyphase((1, 2), lpf=3)(stripes), stripes[..., ::2])
    assert AdaptivePolyphase((2, 1), lpf=3)(stripes).abs().max() == 0


def test_odd_sizes_wrap_around() -> None:
    x = noise(1, 1, 80, 16)
    assert AdaptivePolyphase((3, 1))(x).shape == (1, 1, 27, 16)
    assert AdaptivePolyphase((3, 3))(x).shape == (1, 1, 27, 6)


def test_tie_takes_the_first_grid() -> None:
    assert AdaptivePolyphase((2, 2)).phase(torch.ones(2, 1, 4, 4)).tolist() == [0, 0]


def test_unknown_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="lpf"):
        AdaptivePolyphase((2, 2), lpf=5)


def test_residual_unit_adds_its_input() -> None:
    unit = ConvUnit(4, 4, 3, padding=1, residual=True).eval()
    torch.nn.init.zeros_(unit.conv.weight)
    torch.nn.init.zeros_(unit.conv.bias)
    x = noise(1, 4, 6, 6)
    assert torch.equal(unit(x), x.relu())


def test_audio_scales_and_shifts_what_was_normalised() -> None:
    norm = FeatureNorm(32, audio=True)
    x, audio = noise(2, 32, 6, 6), noise(2, 512, seed=1)
    gamma, beta = norm.modulation(audio).chunk(2, dim=1)  # type: ignore[misc]
    expected = norm.norm(x) * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
    assert torch.allclose(norm(x, audio), expected)
    assert gamma.std() > 0.2  # it listens from the first step
    assert not torch.equal(norm(x, audio), norm(x, audio.flip(0)))


def test_deaf_layers_ignore_audio() -> None:
    block = ResidualBlock(16)
    x = noise(2, 16, 6, 6)
    assert torch.equal(block(x), block(x, noise(2, 512)))


def test_residual_block_keeps_the_scale() -> None:
    torch.manual_seed(0)
    x = noise(1, 64, 32, 32)
    for _ in range(8):
        x = ResidualBlock(64)(x)
    assert 0.1 < x.std() < 2
