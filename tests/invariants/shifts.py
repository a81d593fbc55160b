"""What a shift, the company in a batch, the precision and an export may not change (T1 to T8, T10)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.losses import sync_loss
from sidgan.nn import Generator, SyncNet, lower_half_windows
from sidgan.nn.layers import AdaptivePolyphase

SHIFTS = [(0, 1), (1, 0), (1, 1), (0, 7), (5, 3), (-9, 20), (31, 63)]
EXACT = 1e-5  #: of the largest element; float32 sums in another order

# Five blocks; the audio reaches the first two, the last three make pictures.
SMALL = GeneratorConfig(
    size=64, base=4, cmax=32, start=4, rgb_levels=(16, 32, 64), audio_levels=(4, 8), audio_width=4, audio_blocks=0.0
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def natural(batch: int, channels: int, rows: int, columns: int, seed: int = 0) -> Tensor:
    """Random pictures with the 1/f spectrum of photographs, periodic, in [0, 1]."""
    fy, fx = torch.fft.fftfreq(rows)[:, None], torch.fft.rfftfreq(columns)[None]
    falloff = 1 / torch.hypot(fy, fx).clamp(min=1 / columns)
    x = torch.fft.irfft2(torch.fft.rfft2(noise(batch, channels, rows, columns, seed=seed)) * falloff, (rows, columns))
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    return (x - low) / (high - low)


# ------------------------------------------------------------------------------------------------ the sampling layer


def is_circular_shift(a: Tensor, b: Tensor) -> bool:
    shifts = itertools.product(range(a.shape[2]), range(a.shape[3]))
    return any(torch.equal(a.roll(s, (2, 3)), b) for s in shifts)


def shifts_travel(stride: tuple[int, int] = (2, 2), lpf: int = 1) -> None:
    """T1: a circular shift of the input is a circular shift of the output, bit for bit."""
    layer = AdaptivePolyphase(stride, lpf)
    x = noise(1, 3, 12, 24)
    still = layer(x)
    expected = (1, 3, 12 // stride[0], 24 // stride[1])
    assert tuple(still.shape) == expected, f"the output is {tuple(still.shape)}, not {expected}"
    for shift in itertools.product(range(6), range(6)):
        moved = layer(x.roll(shift, (2, 3)))
        assert is_circular_shift(still, moved), f"moved by {shift}, the output is no shift of what it was"


def strongest_grid(stride: tuple[int, int] = (2, 2)) -> None:
    """T1: what is kept is the grid with the largest norm."""
    x = noise(4, 3, 12, 24)
    sh, sw = stride
    for i, (sample, chosen) in enumerate(zip(x, AdaptivePolyphase(stride)(x), strict=True)):
        grids = [sample[:, i::sh, j::sw] for i in range(sh) for j in range(sw)]
        best = max(grids, key=lambda g: float(g.double().square().sum()))
        assert torch.equal(chosen, best), f"sample {i}: another grid than the strongest was kept"


def each_sample_chooses() -> None:
    """T6: the four shifts of one picture choose four grids, in a batch as alone."""
    layer = AdaptivePolyphase((2, 2))
    x = noise(1, 3, 12, 24)
    batch = torch.cat([x.roll((i, j), (2, 3)) for i in range(2) for j in range(2)])
    chosen = set(layer.phase(batch).tolist())
    assert len(chosen) == 4, f"four shifts of a picture in one batch chose {len(chosen)} grid(s), not 4"
    together = layer(batch)
    for i in range(4):
        assert torch.equal(together[i : i + 1], layer(batch[i : i + 1])), f"sample {i} chose otherwise when alone"


def gradient_of_the_chosen_grid() -> None:
    """T7: a quarter of the inputs, the chosen grid, has a gradient."""
    x = noise(2, 3, 12, 24).requires_grad_()
    AdaptivePolyphase((2, 2))(x).sum().backward()
    assert x.grad is not None, "there is no gradient"
    shares = (x.grad != 0).float().mean((1, 2, 3)).tolist()
    assert shares == [0.25, 0.25], f"{shares[0]:.0%} of the inputs have a gradient, not 25%"
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}, "the gradient of a sum is not 1 where something was kept"


def half_precision_chooses_alike(dtype: torch.dtype = torch.bfloat16) -> None:
    """T8: the grid chosen, whatever the precision of the input, is the strongest in exact arithmetic."""
    x = (noise(256, 64, 8, 8) * 1000).to(dtype)  # squares of these overflow in float16
    exact = torch.stack([x[..., i::2, j::2].double().square().sum((1, 2, 3)) for i in range(2) for j in range(2)], 1)
    layer = AdaptivePolyphase((2, 2))
    wrong = int((layer.phase(x) != exact.argmax(1)).sum())
    assert wrong == 0, f"{wrong} of 256 samples chose another grid than in exact arithmetic"
    assert layer(x).dtype == dtype, f"{dtype} became {layer(x).dtype}"
    assert torch.isfinite(layer(x)).all(), "the output is not finite"


# ----------------------------------------------------------------------------------------------------------- experts


def small(**changes: object) -> SyncNetConfig:
    return SyncNetConfig(**{"width": 4, "audio_width": 4, "blocks": 0.5, **changes})  # type: ignore[arg-type]


def calibrated(net: SyncNet) -> SyncNet:
    """Running statistics as after training, without training."""
    config = net.config
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = None
    net.train()
    with torch.no_grad():
        net.video(natural(8, 15, config.face // 2, config.face, seed=7))
        net.audio(torch.randn(8, 1, 80, 16))
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


def feature_ignores_shifts(face: int = 128, lpf: int = 1) -> None:
    """T2, T3: no circular shift of the picture changes what the adaptive expert makes of it."""
    net = calibrated(SyncNet(small(face=face, lpf=lpf)))
    x, other = (natural(2, 15, face // 2, face, seed=s) for s in (0, 1))
    error = shift_error(net.video, x)
    assert error <= EXACT, f"a shift changes the feature by {error:.0e} of its largest element"
    looks = relative_change(net.video, x, other)
    assert looks > 0.1, f"another picture changes the feature by {looks:.2f} of a usual distance: it does not look"


class FixedGrid(nn.Module):
    """What a stride does: always the same grid."""

    def __init__(self, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :: self.stride[0], :: self.stride[1]]


def strides_see_shifts() -> None:
    """T4: without adaptive sampling, with or without a mean over positions, one pixel changes the feature."""
    x = natural(4, 15, 64, 128)
    fixed = SyncNet(small())
    for unit in fixed.video.units:
        if unit.sampling is not None:
            unit.sampling = FixedGrid(unit.sampling.stride)
    for name, net in (("the vanilla expert", SyncNet(small(kind="vanilla"))), ("fixed grids", fixed)):
        calibrated(net)
        change = relative_change(net.video, x, x.roll(1, 3))
        assert change > 1e-3, f"{name}: one pixel changes the feature by {change:.0e} only"
        error = shift_error(net.video, x)
        assert error > 1e-3, f"{name}: shifts change the feature by {error:.0e} only"


def zero_padding_sees_shifts() -> None:
    """T5: zeros for padding undo shift-invariance, and the checker of T2 sees that."""
    net = SyncNet(small())
    for m in net.video.modules():
        if isinstance(m, nn.Conv2d):
            m.padding_mode = "zeros"
    error = shift_error(calibrated(net).video, natural(2, 15, 64, 128))
    assert error > 1e-3, f"with zero padding a shift changes the feature by {error:.0e} only"


def maps_keep_their_shape(face: int = 128) -> None:
    """T2: the asymmetric stride makes the twice as wide picture square, and all strides divide it."""
    net = SyncNet(small(face=face)).eval()
    shapes: list[tuple[int, ...]] = []
    net.video.units[-1].register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape[2:])))
    net.video(torch.rand(1, 15, face // 2, face))
    assert shapes == [(face // 32, face // 32)], f"the last map is {shapes[0]}, not {(face // 32, face // 32)}"


def batch_mates_do_not_matter() -> None:
    """T6: pictures and their shifts have equal features; each is the same alone as in a batch."""
    net = calibrated(SyncNet(small()))
    x, mel = natural(2, 15, 64, 128), noise(2, 1, 80, 16, seed=2)
    batch = torch.cat([x, x.roll((3, 5), (2, 3))])
    with torch.no_grad():
        for name, embed, many in (("picture", net.video, batch), ("sound", net.audio, mel.repeat(2, 1, 1, 1))):
            together = embed(many)
            alone = torch.cat([embed(many[i : i + 1]) for i in range(4)])
            scale = float(alone.abs().max())
            mates = float((together - alone).abs().max()) / scale
            assert mates <= EXACT, f"{name}: in a batch the feature is {mates:.0e} of its size from the one alone"
            shifted = float((together[:2] - together[2:]).abs().max()) / scale
            assert shifted <= EXACT, f"{name}: a row differs from that of its shift by {shifted:.0e} of its size"


def every_level_gets_a_gradient(size: int = 512) -> None:
    """T7: the sync loss reaches the lower half of an output of any size, and only that."""
    net = calibrated(SyncNet(small())).requires_grad_(False)
    faces = natural(1, 15, size, size).view(1, 5, 3, size, size).requires_grad_()
    loss = sync_loss(net(lower_half_windows(faces), noise(1, 1, 80, 16)))
    assert loss.requires_grad, "the sync loss does not depend on the picture"
    loss.backward()
    assert faces.grad is not None, "there is no gradient"
    assert torch.isfinite(faces.grad).all(), "the gradient is not finite"
    eyes, mouth = faces.grad[..., : size // 2 - size // 16, :], faces.grad[..., size // 2 + size // 16 :, :]
    assert eyes.abs().max() == 0, "the eyes have a gradient"
    blocks = F.max_pool2d(mouth.abs().flatten(1, 2), max(1, size // 16))
    assert (blocks > 0).all(), "parts of the lower half have no gradient"


def adaptive_feature_at_512() -> None:
    """T9: a block of four pixels at 512 is one pixel for the expert, which it does not see; two pixels it may."""
    net = calibrated(SyncNet(small()))
    faces = natural(2, 15, 512, 512).view(2, 5, 3, 512, 512)

    def change(k: int) -> float:
        with torch.no_grad():
            a, b = (net.embed_video(lower_half_windows(f)) for f in (faces, faces.roll(k, 4)))
        return float((a - b).abs().max())

    block = change(4)
    assert block <= EXACT, f"four pixels at 512 change the feature by {block:.0e}"
    half = change(2)  # half a pixel for the expert is not exact: the bound above means something
    assert half > EXACT, f"two pixels at 512 change the feature by {half:.0e} only"


def large_faces_are_block_means() -> None:
    """T9: what the expert sees of a large output are means over blocks, from the middle row down."""
    for size in (256, 512):
        faces = torch.rand(1, 5, 3, size, size, generator=torch.Generator().manual_seed(0))
        k = size // 128
        blocks = faces.view(1, 15, 128, k, 128, k).mean((3, 5))[:, :, 64:]
        error = float((lower_half_windows(faces) - blocks).abs().max())
        assert error <= 1e-6, f"at {size} px the expert's pixels are {error:.2f} from the means over blocks"


# ------------------------------------------------------------------------------------------------------------ export


def _exported(module: nn.Module, example: tuple[object, ...], shapes: tuple[object, ...]) -> nn.Module:
    try:
        return torch.export.export(module, example, dynamic_shapes=shapes).module()
    except Exception as error:
        raise AssertionError(f"no export for any batch: {type(error).__name__}") from error


def exported_expert_is_the_same(kind: str = "aps") -> None:
    """T10: exported for any batch, an expert computes what it does here."""
    net = calibrated(SyncNet(small(kind=kind, blocks=0.0)))
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (natural(2, 15, 64, 128), noise(2, 1, 80, 16))
    exported = _exported(net, example, ({0: batch}, {0: batch}))
    for n in (1, 5):
        inputs = (natural(n, 15, 64, 128, seed=n), noise(n, 1, 80, 16, seed=n))
        with torch.no_grad():
            error = float((exported(*inputs) - net(*inputs)).abs().max())
        assert error <= 1e-6, f"for a batch of {n} the export differs by {error:.0e}"


def exported_generator_is_the_same() -> None:
    """T10: exported for any batch and one cached reference, a generator draws what it does here."""

    class Dub(nn.Module):
        """One cached reference, as many frames as there are."""

        def __init__(self) -> None:
            super().__init__()
            self.net = Generator(SMALL).eval()

        def forward(self, query: Tensor, features: dict[int, Tensor], mel: Tensor) -> Tensor:
            return self.net.decode(query, features, mel)[64]

    dub = Dub()
    batch = torch.export.Dim("batch", min=1, max=64)

    def inputs(n: int) -> tuple[Tensor, Tensor]:
        return natural(n, 3, 64, 64, seed=n), noise(n, 1, 80, 16, seed=n)

    with torch.no_grad():
        features = dub.net.encode_reference(natural(1, 3, 64, 64))
        query, mel = inputs(3)
        exported = _exported(dub, (query, features, mel), ({0: batch}, dict.fromkeys(features), {0: batch}))
        for n in (2, 5):
            query, mel = inputs(n)
            error = float((exported(query, features, mel) - dub(query, features, mel)).abs().max())
            assert error <= 1e-6, f"for a batch of {n} the export differs by {error:.0e}"
