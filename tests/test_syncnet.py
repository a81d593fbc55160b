from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import SyncNetConfig
from sidgan.losses import sync_bce, sync_loss
from sidgan.nn import SyncNet, count_parameters, lower_half_windows
from sidgan.nn.layers import AdaptivePolyphase

# Parameters of the paper-size network, layer by layer: convolution and batch normalisation together.
AUDIO = [384, *[9_312] * 2, 18_624, *[37_056] * 2, 74_112, *[147_840] * 2, 295_680, *[590_592] * 2, 1_181_184, 262_656]
VIDEO = [
    23_616, 51_392, *[37_056] * 2, 74_112, *[147_840] * 3, 295_680, *[590_592] * 2, 1_181_184, *[2_360_832] * 2,
    2_360_832, 2_360_832, 262_656,
]  # fmt: skip
SHIFTS = [(0, 1), (1, 0), (1, 1), (0, 7), (5, 3), (-9, 20), (31, 63)]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # these networks are too small to share
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def natural(batch: int, channels: int, rows: int, columns: int) -> Tensor:
    """Random pictures with the 1/f spectrum of photographs, periodic, in [0, 1]."""
    fy, fx = torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns)[None]
    falloff = 1 / torch.hypot(fy, fx).clamp(min=1 / columns)
    x = torch.fft.irfft2(torch.fft.rfft2(torch.randn(batch, channels, rows, columns)) * falloff, (rows, columns))
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low)


def small(**changes: object) -> SyncNetConfig:
    return SyncNetConfig(**{"width": 4, "audio_width": 4, "blocks": 0.5, **changes})  # type: ignore[arg-type]


def calibrated(net: SyncNet) -> SyncNet:
    """Running statistics as after training, without training."""
    config = net.config
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None
    with torch.no_grad():
        net.train()(natural(8, 15, config.face // 2, config.face), torch.randn(8, 1, 80, 16))
    return net.eval()


def shift_error(embed: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Largest change of the feature under circular shifts, relative to its largest element."""
    with torch.no_grad():
        still = embed(x)
        change = max(float((embed(x.roll(s, (2, 3))) - still).abs().max()) for s in SHIFTS)
    return change / float(still.abs().max())


def relative_change(embed: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> float:
    """How far the feature moves from x to y, as a share of the distance between different pictures."""
    with torch.no_grad():
        a, b = embed(x), embed(y)
    return float((a - b).norm(dim=1).mean() / (a - a.roll(1, 0)).norm(dim=1).mean())


class FixedGrid(nn.Module):
    """What a stride does: always the same grid."""

    def __init__(self, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :: self.stride[0], :: self.stride[1]]


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
    net = calibrated(SyncNet(small(face=face, lpf=lpf)))
    x = natural(2, 15, face // 2, face)
    assert shift_error(net.video, x) <= 1e-5
    assert relative_change(net.video, x, natural(2, 15, face // 2, face)) > 0.1  # and yet it looks


def test_feature_without_adaptive_sampling_sees_shifts() -> None:
    x = natural(4, 15, 64, 128)
    vanilla = calibrated(SyncNet(small(kind="vanilla")))
    fixed = SyncNet(small())
    for unit in fixed.video.units:
        if unit.sampling is not None:
            unit.sampling = FixedGrid(unit.sampling.stride)
    calibrated(fixed)
    for net in (vanilla, fixed):
        assert relative_change(net.video, x, x.roll(1, 3)) > 1e-3
        assert shift_error(net.video, x) > 1e-3


def test_zero_padding_would_break_it() -> None:
    net = SyncNet(small())
    for m in net.video.modules():
        if isinstance(m, nn.Conv2d):
            m.padding_mode = "zeros"
    assert shift_error(calibrated(net).video, natural(2, 15, 64, 128)) > 1e-3


def test_both_kinds_share_their_weights() -> None:
    aps, vanilla = SyncNet(small(face=96)), SyncNet(small(kind="vanilla", face=96))
    vanilla.load_state_dict(aps.state_dict())


def test_batch_mates_do_not_matter() -> None:
    net = calibrated(SyncNet(small()))
    x, mel = natural(2, 15, 64, 128), torch.randn(2, 1, 80, 16)
    batch = torch.cat([x, x.roll((3, 5), (2, 3))])
    with torch.no_grad():
        together = net(batch, mel.repeat(2, 1, 1, 1))
        alone = torch.cat([net(x[i : i + 1], mel[i : i + 1]) for i in (0, 1)])
    assert torch.allclose(together[:2], alone, atol=1e-5)
    assert torch.allclose(together[2:], alone, atol=1e-5)


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
    faces = torch.rand(1, 5, 3, 256, 256)
    blocks = faces.view(1, 15, 128, 2, 128, 2).mean((3, 5))
    assert torch.allclose(lower_half_windows(faces), blocks[:, :, 64:], atol=1e-6)
    assert torch.equal(lower_half_windows(blocks.view(1, 5, 3, 128, 128)), blocks[:, :, 64:])


def test_shift_by_a_block_at_512_is_invisible() -> None:
    net = calibrated(SyncNet(small()))
    faces = natural(2, 15, 512, 512).view(2, 5, 3, 512, 512)

    def change(k: int) -> float:
        with torch.no_grad():
            a, b = (net.embed_video(lower_half_windows(f)) for f in (faces, faces.roll(k, 4)))
        return float((a - b).abs().max())

    assert change(4) <= 1e-5
    assert change(2) > 1e-5  # half a pixel for the expert is not exact: the bound above means something


@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_every_level_gets_a_gradient(size: int) -> None:
    net = calibrated(SyncNet(small())).requires_grad_(False)
    faces = natural(1, 15, size, size).view(1, 5, 3, size, size).requires_grad_()
    sync_loss(net(lower_half_windows(faces), torch.randn(1, 1, 80, 16))).backward()
    assert faces.grad is not None
    assert torch.isfinite(faces.grad).all()
    assert faces.grad.abs().max() > 0
    assert faces.grad[..., : size // 2 - size // 16, :].abs().max() == 0  # the eyes do not matter


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="64, 128"):
        SyncNet(small())(torch.rand(1, 15, 48, 96), torch.randn(1, 1, 80, 16))


@pytest.mark.parametrize("kind", ["aps", "vanilla"])
def test_exported_expert_gives_the_same_for_any_batch(kind: str) -> None:
    net = calibrated(SyncNet(small(kind=kind, blocks=0.0)))
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (natural(2, 15, 64, 128), torch.randn(2, 1, 80, 16))
    exported = torch.export.export(net, example, dynamic_shapes=({0: batch}, {0: batch})).module()
    for n in (1, 5):
        inputs = (natural(n, 15, 64, 128), torch.randn(n, 1, 80, 16))
        with torch.no_grad():
            assert torch.allclose(exported(*inputs), net(*inputs), atol=1e-6)


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
