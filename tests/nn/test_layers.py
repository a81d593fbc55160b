import pytest
import torch
from invariants import shifts
from invariants.shifts import is_circular_shift, noise

from sidgan.nn.layers import AdaptivePolyphase, ConvUnit, FeatureNorm, ResidualBlock, laid_out

STRIDES = [(1, 2), (2, 1), (2, 2), (3, 1), (3, 3)]


@pytest.mark.parametrize("lpf", [1, 3])
@pytest.mark.parametrize("stride", STRIDES)
def test_shift_of_the_input_is_a_shift_of_the_output(stride: tuple[int, int], lpf: int) -> None:
    shifts.shifts_travel(stride, lpf)


def test_a_fixed_grid_would_not_pass() -> None:
    x = noise(1, 3, 12, 24)
    assert not is_circular_shift(x[..., ::2, ::2], x.roll(1, 3)[..., ::2, ::2])


@pytest.mark.parametrize("stride", STRIDES)
def test_output_is_the_strongest_grid(stride: tuple[int, int]) -> None:
    shifts.strongest_grid(stride)


def test_each_sample_chooses_for_itself() -> None:
    shifts.each_sample_chooses()


def test_only_the_chosen_grid_has_a_gradient() -> None:
    shifts.gradient_of_the_chosen_grid()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_chooses_as_full_precision(dtype: torch.dtype) -> None:
    shifts.half_precision_chooses_alike(dtype)


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
    expected = norm.norm(laid_out(x)) * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]
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


@pytest.mark.parametrize("last", [False, True], ids=["planes", "channels last"])
def test_maps_are_normalised_alike_in_any_order_in_memory(last: bool) -> None:
    torch.manual_seed(0)
    norm, audio = FeatureNorm(8, audio=True), torch.randn(2, 512)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    maps = 3 * torch.randn(2, 8, 24, 20) + 5
    given = maps.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    with torch.inference_mode():
        drawn = norm(given, audio)
    assert torch.allclose(drawn, norm(given, audio), atol=1e-5)
    assert drawn.is_contiguous(memory_format=torch.channels_last), "as it is going to be convolved"


def test_thin_maps_are_normalised_in_bfloat16_as_in_float32_and_learnt_from() -> None:
    torch.manual_seed(0)
    norm = FeatureNorm(8)
    torch.nn.init.normal_(norm.norm.weight)
    torch.nn.init.normal_(norm.norm.bias)
    maps, pull = (3 * torch.randn(2, 8, 24, 20) + 5).bfloat16(), torch.randn(2, 8, 24, 20)
    found = []
    for given in (maps.float(), maps):
        norm.zero_grad()
        given.requires_grad_()
        normalised = norm(given).float()
        (normalised * pull).sum().backward()
        grads = [each.grad.float() for each in (given, norm.norm.weight, norm.norm.bias)]  # type: ignore[union-attr]
        found.append([normalised.detach(), *grads])
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() < 0.01 * exact.norm()


def test_any_number_of_channels_is_normalised_in_equal_groups():
    sizes = [channels // FeatureNorm(channels).norm.num_groups for channels in range(1, 201)]
    assert sizes[:31] == list(range(1, 32)), "one group"
    assert [sizes[c - 1] for c in (32, 48, 50, 53, 64, 100, 200)] == [16, 16, 25, 53, 16, 20, 20]
    assert FeatureNorm(50)(torch.randn(2, 50, 4, 4)).shape == (2, 50, 4, 4)
