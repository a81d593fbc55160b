from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from invariants import shifts
from invariants.shifts import calibrated, natural, small
from torch import nn

from sidgan.config import SyncNetConfig
from sidgan.losses import sync_bce
from sidgan.nn import SyncNet, count_parameters, lower_half_windows
from sidgan.nn.layers import AdaptivePolyphase

# Parameters of the paper-size network, layer by layer: convolution and batch normalisation together.
AUDIO = [384, *[9_312] * 2, 18_624, *[37_056] * 2, 74_112, *[147_840] * 2, 295_680, *[590_592] * 2, 1_181_184, 262_656]
VIDEO = [
    23_616, 51_392, *[37_056] * 2, 74_112, *[147_840] * 3, 295_680, *[590_592] * 2, 1_181_184, *[2_360_832] * 2,
    2_360_832, 2_360_832, 262_656,
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("seeded")


def samplers(net: nn.Module) -> Iterator[AdaptivePolyphase]:
    return (m for m in net.modules() if isinstance(m, AdaptivePolyphase))


@pytest.mark.parametrize("kind", ["aps", "vanilla"])
def test_paper_size(kind: str) -> None:
    with torch.device("meta"):
        net = SyncNet(SyncNetConfig(kind=kind, face=96))  # type: ignore[arg-type]
    assert [count_parameters(u) for u in net.audio.units] == AUDIO[:-1]
    assert count_parameters(net.audio.head) == AUDIO[-1]
    assert [count_parameters(u) for u in net.video.units] == VIDEO[:-1]
    assert count_parameters(net.video.head) == VIDEO[-1]
    assert count_parameters(net.audio) == 3_402_240
    assert count_parameters(net.video) == 13_030_784


def test_paper_size_at_128() -> None:
    with torch.device("meta"):
        net = SyncNet(SyncNetConfig())
    assert count_parameters(net) == 3_402_240 + 13_030_784


def test_narrow_expert_is_proportional_and_ends_in_512() -> None:
    net = SyncNet(SyncNetConfig(width=8, audio_width=8, blocks=0.5)).eval()
    channels = [u.conv.out_channels for u in net.video.units]
    assert sorted(set(channels)) == [8, 16, 32, 64, 128]
    assert 0.8e6 < count_parameters(net) < 1.0e6
    assert net.embed_audio(torch.randn(2, 1, 80, 16)).shape == (2, 512)
    assert net.embed_video(torch.rand(2, 15, 64, 128)).shape == (2, 512)
    assert not any(u.residual for u in SyncNet(small(blocks=0.0)).video.units)


@pytest.mark.parametrize(("kind", "face"), [("aps", 96), ("aps", 128), ("vanilla", 96), ("vanilla", 128)])
def test_one_feature_per_window(kind: str, face: int) -> None:
    net = SyncNet(small(kind=kind, face=face)).eval()
    shapes: list[tuple[int, ...]] = []
    net.video.units[-1].register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape[2:])))
    cosine = net(torch.rand(3, 15, face // 2, face), torch.randn(3, 1, 80, 16))
    assert cosine.shape == (3,)
    assert cosine.abs().max() <= 1 + 1e-6
    assert shapes == [{"vanilla": (1, 1)}.get(kind, (face // 32, face // 32))]


@pytest.mark.parametrize(("face", "lpf"), [(128, 1), (128, 3), (96, 1)])
def test_feature_does_not_see_circular_shifts(face: int, lpf: int) -> None:
    shifts.feature_ignores_shifts(face, lpf)


@pytest.mark.parametrize("face", [96, 128])
def test_strides_divide_the_picture_and_make_it_square(face: int) -> None:
    shifts.maps_keep_their_shape(face)


def test_feature_without_adaptive_sampling_sees_shifts() -> None:
    shifts.strides_see_shifts()


def test_zero_padding_would_break_it() -> None:
    shifts.zero_padding_sees_shifts()


def test_both_kinds_share_their_weights() -> None:
    aps, vanilla = SyncNet(small(face=96)), SyncNet(small(kind="vanilla", face=96))
    vanilla.load_state_dict(aps.state_dict())


def test_batch_mates_do_not_matter() -> None:
    shifts.batch_mates_do_not_matter()


def test_cosine_is_that_of_the_features() -> None:
    net = calibrated(SyncNet(small()))
    x, mel = natural(2, 15, 64, 128), torch.randn(2, 1, 80, 16)
    with torch.no_grad():
        expected = F.cosine_similarity(net.video(x), net.audio(mel))
        assert torch.allclose(net(x, mel), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("where", "strides"), [("none", []), ("freq", [(3, 1)] * 3), ("full", [(3, 1), (3, 3), (3, 2)])]
)
def test_adaptive_sampling_of_sound(where: str, strides: list[tuple[int, int]]) -> None:
    net = SyncNet(small(aps_audio=where)).eval()
    assert [s.stride for s in samplers(net.audio)] == strides
    assert [m.padding_mode for m in net.audio.modules() if isinstance(m, nn.Conv2d)].count("circular") == 0
    assert net.audio(torch.randn(2, 1, 80, 16)).shape == (2, 512)


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_windows_are_lower_halves_in_frame_order(size: int) -> None:
    faces = torch.zeros(2, 5, 3, size, size)
    for t in range(5):
        for c in range(3):
            faces[:, t, c] = (3 * t + c) / 15
    faces[..., : size // 2 - size // 16, :] = 1
    windows = lower_half_windows(faces)
    assert windows.shape == (2, 15, 64, 128)
    assert torch.allclose(windows, torch.arange(15).view(1, 15, 1, 1) / 15, atol=1e-6)


def test_windows_of_large_faces_are_block_means() -> None:
    shifts.large_faces_are_block_means()
    faces = torch.rand(1, 5, 3, 128, 128)
    assert torch.equal(lower_half_windows(faces), faces.flatten(1, 2)[:, :, 64:])


def test_shift_by_a_block_at_512_is_invisible() -> None:
    shifts.adaptive_feature_at_512()


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_every_level_gets_a_gradient(size: int) -> None:
    shifts.every_level_gets_a_gradient(size)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="64, 128"):
        SyncNet(small())(torch.rand(1, 15, 48, 96), torch.randn(1, 1, 80, 16))


@pytest.mark.parametrize("kind", ["aps", "vanilla"])
def test_exported_expert_gives_the_same_for_any_batch(kind: str) -> None:
    shifts.exported_expert_is_the_same(kind)


def test_a_small_expert_learns_pairs() -> None:
    """Brightness of the mouth follows the loudness of the sound; wrong pairs must become distinguishable."""
    net = SyncNet(small(face=96, blocks=0.0))
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    losses = []
    for _ in range(12):
        loud = torch.linspace(0, 1, 12).view(-1, 1, 1, 1)
        seen = net.embed_video(torch.rand(12, 15, 48, 96) * 0.2 + 0.8 * loud)
        heard = net.embed_audio(torch.randn(12, 1, 80, 16) + 4 * (2 * loud - 1))
        right, wrong = (seen * heard).sum(1), (seen * heard.roll(6, 0)).sum(1)
        loss = sync_bce(right, torch.ones(12)) + sync_bce(wrong, torch.zeros(12))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item() / 2)
    assert losses[-1] < 0.4  # chance is ln 2 = 0.69
