"""What the generator draws, what is hidden from it, and how its picture is put back."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
import torch
from drawn import talking_blob
from torch import Tensor

from invariants.shifts import SMALL, noise
from sidgan import geometry
from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.data.dataset import PackedSet, box_masks
from sidgan.engine import Engine
from sidgan.media.pictures import turned
from sidgan.nn import Generator, SyncNet, count_parameters
from sidgan.train.batch import prepare_batch
from sidgan.types import Frame, PixelFormat, PlaneMap

# --------------------------------------------------------------------------------------------------------- generator


def moving(config: GeneratorConfig) -> Generator:
    """One that moves its references as if it had been trained; new ones do not move them."""
    torch.manual_seed(0)
    net = Generator(config).eval()
    for motion in net.motion.values():
        torch.nn.init.normal_(motion.head.weight, std=0.1)
    return net


def inputs(n: int = 2, size: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Query with a black mouth, reference, mel window."""
    generator = torch.Generator().manual_seed(n)
    query, reference = torch.rand(2, n, 3, size, size, generator=generator)
    query[..., size // 2 :, size // 4 : -size // 4] = 0
    return query, reference, noise(n, 1, 80, 16)


def meta(config: GeneratorConfig) -> Generator:
    with torch.device("meta"):
        return Generator(config)


def outputs_are_pictures() -> None:
    """Three outputs, 128 to 512 px at paper size, with values between 0 and 1 whatever comes in."""
    paper = meta(GeneratorConfig()).eval()
    with torch.device("meta"):
        images = paper(torch.rand(1, 3, 512, 512), torch.rand(1, 3, 512, 512), torch.rand(1, 1, 80, 16))
    shapes = {r: tuple(image.shape) for r, image in images.items()}
    assert shapes == {r: (1, 3, r, r) for r in (128, 256, 512)}, f"the outputs at paper size are {shapes}"
    for gain in (1, 100):
        drawn = Generator(SMALL).eval()
        with torch.no_grad():
            for layer in drawn.rgb.values():
                layer.weight *= gain
            images = drawn(*inputs())
        assert list(images) == [16, 32, 64], f"the outputs are {list(images)}"
        for r, image in images.items():
            low, high = float(image.min()), float(image.max())
            assert 0 <= low < high <= 1, f"the output at {r} px has values from {low:.2f} to {high:.2f}"


def parameters_of_the_paper() -> None:
    """Block by block, exactly."""
    net = meta(GeneratorConfig())
    for what, counted, expected in (
        ("blocks", {r: count_parameters(b) for r, b in net.blocks.items()},
         {"16": 11_031_552, "32": 13_377_024, "64": 4_329_216, "128": 885_888, "256": 221_760, "512": 55_584}),
        ("RGB blocks", {r: count_parameters(b) for r, b in net.rgb.items()}, {"128": 3_459, "256": 1_731, "512": 867}),
        ("query encoder", _by_stage(net.query), _STAGES),
        ("reference encoder", _by_stage(net.reference), _STAGES),
        ("audio encoder", count_parameters(net.audio), 3_402_240),
        ("all but that", count_parameters(net) - count_parameters(net.audio), 59_766_025),
    ):  # fmt: skip
        assert counted == expected, f"{what}: {counted} parameters, not {expected}"


_STAGES = {"stem": 4_736, "256": 92_736, "128": 369_792, "64": 1_476_864, "32": 5_902_848, "16": 7_082_496}


def _by_stage(encoder: torch.nn.Module) -> dict[str, int]:
    return {"stem": count_parameters(encoder.stem)} | {r: count_parameters(s) for r, s in encoder.stages.items()}


def cached_reference_is_the_same() -> None:
    """One reference encoded once for four frames, or two for two each, draws what encoding it each time does."""
    net = Generator(SMALL).eval()
    query, reference, mel = inputs(4)
    for serves in (4, 2):
        few = reference[: 4 // serves]
        with torch.no_grad():
            cached = net.decode(query, net.encode_reference(few), mel)
            direct = net(query, few.repeat_interleave(serves, 0), mel)
        for r, image in direct.items():
            off = float((image - cached[r]).abs().max())
            assert off <= 1e-6, f"a reference shared by {serves} frames changes the output at {r} px by {off:.1e}"


def sound_changes_the_face(inject: str = "adain") -> None:
    """At the start of training already, another sound is another picture; and not just at the borders."""
    net = Generator(dataclasses.replace(SMALL, audio_inject=inject)).eval()
    query, reference, mel = inputs()
    with torch.no_grad():
        one, other = net(query, reference, mel), net(query, reference, noise(2, 1, 80, 16, seed=9))
    for r, image in one.items():
        change = float((image - other[r]).abs().max())
        assert change > 1e-4, f"another sound changes the output at {r} px by {change:.1e} only"


# -------------------------------------------------------------------------------------------------------------- mask


def mask_is_the_box() -> None:
    """Hidden are exactly the pixels whose centres lie in the box, in training as in dubbing."""
    box, size = np.array([0.25, 0.53125, 0.75, 1.0], np.float32), 64  # its edges run between pixels
    expected = np.zeros((size, size), np.float32)
    expected[34:, 16:48] = 1
    for what, mask in (("dubbing", geometry.mask_image(box, size)),
                       ("training", box_masks(torch.from_numpy(box), size)[0].numpy())):  # fmt: skip
        leaks, too_much = int((expected > mask).sum()), int((mask > expected).sum())
        assert leaks == 0, f"{what}: {leaks} pixels of the box are not hidden"
        assert too_much == 0, f"{what}: {too_much} pixels outside the box are hidden"


def dubbing_does_not_see_under_the_mask() -> None:
    """Whatever is scribbled under the mask, to the last row and column, the engine draws the same."""
    engine = Engine(Generator(SMALL), "cpu", batch=2)
    rng = np.random.default_rng(0)
    crops = rng.integers(1, 256, (2, 64, 64, 3)).astype(np.uint8)
    masks = np.stack([geometry.mask_image(np.array([0.13, 0.53, 0.87, 1.0], np.float32), 64)] * 2)
    mels = noise(2, 1, 80, 16).numpy()
    reference = engine.encode_reference(crops[:1])
    seen: list[Tensor] = []
    hook = engine._generator.query.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    drawn = engine.run(crops, masks, mels, reference)
    scribbled = np.where(masks[..., None] > 0, rng.integers(1, 256, crops.shape).astype(np.uint8), crops)
    again = engine.run(scribbled, masks, mels, reference)
    hook.remove()
    hidden = float((seen[0] * torch.from_numpy(masks)[:, None]).abs().max())
    assert hidden == 0, f"the network sees values up to {hidden:.2f} under the mask"
    assert np.array_equal(drawn, again), "scribbles under the mask change what is drawn"
    beside = np.where(masks[..., None] > 0, crops, 255 - crops)
    other = engine.run(beside, masks, mels, reference)
    assert not np.array_equal(drawn, other), "what lies beside the mask is not seen"


def training_does_not_see_under_the_mask() -> None:
    """Two clips that differ under their masks only make the same queries; and the truth is all there."""
    windows = PackedSet.of([talking_blob(64, 60)]).windows(np.random.default_rng(0), 4, 5)
    spoken = torch.where(windows.mask > 0, 1 - windows.target, windows.target)
    plain, other = (prepare_batch(dataclasses.replace(windows, target=t), None) for t in (windows.target, spoken))
    leaks = int((plain.query != other.query).any(1).any(0).any(1).sum())
    assert leaks == 0, f"{leaks} rows of the query show what is under the mask"
    assert torch.equal(plain.target, windows.target.flatten(0, 1)), "the truth is hidden too"
    beside = plain.target * (1 - windows.mask.flatten(0, 1))
    assert torch.equal(plain.query, beside), "more than the mask is hidden"
    augmented = prepare_batch(windows, np.random.default_rng(1))
    left = float((augmented.query * augmented.mask).abs().max())
    assert left == 0, f"augmented, the query has values up to {left:.2f} under the mask"


# ------------------------------------------------------------------------------------------------------------- audio

EXPERT = SyncNetConfig(width=4, audio_width=4, blocks=0.0)


def audio_encoder_is_the_experts() -> None:
    """After loading it hears as the expert's does; running statistics count too."""
    expert = SyncNet(EXPERT)
    expert.audio.train()(2 + 3 * noise(4, 1, 80, 16))
    net = Generator(SMALL).eval()
    net.audio.take_over(expert.audio)
    theirs = expert.audio.state_dict()
    other = [name for name, value in net.audio.state_dict().items() if not torch.equal(value, theirs[name])]
    assert not other, f"{len(other)} of {len(theirs)} tensors are not the expert's, {other[0]} first"
    mel = noise(3, 1, 80, 16, seed=5)
    assert torch.equal(net.audio(mel), expert.eval().audio(mel)), "the same sound gives another feature"


def frozen_ears_stay() -> None:
    """A frozen audio encoder gets no gradient and keeps its statistics; thawed it learns."""
    net = Generator(SMALL)
    net.freeze_audio()
    before = {k: v.clone() for k, v in net.audio.state_dict().items()}
    for _ in range(2):
        net.train()
        sum(i.mean() for i in net(*inputs()).values()).backward()
    moved = [name for name, p in net.audio.named_parameters() if p.grad is not None]
    assert not moved, f"{len(moved)} frozen parameters have a gradient, {moved[0]} first"
    changed = [k for k, v in net.audio.state_dict().items() if not torch.equal(v, before[k])]
    assert not changed, f"{len(changed)} frozen values have changed, {changed[0]} first"
    assert net.query.stem.weight.grad is not None, "the rest is frozen too"
    net.freeze_audio(False)
    sum(i.mean() for i in net(*inputs()).values()).backward()
    assert net.audio.head.weight.grad is not None, "thawed, it has no gradient"
    assert not torch.equal(net.audio.units[0].norm.running_mean, before["units.0.norm.running_mean"]), "it stays frozen"


# ---------------------------------------------------------------------------------------------- cut out and put back

GRIDS = {"420": PlaneMap(2, 2, 0.0, 0.5), "422": PlaneMap(2, 1), "444": PlaneMap()}
HEIGHT, WIDTH = 560, 640
CENTRE, TOP, INSET = 318.7, 20.4, 40  #: of the square, in frame px; of alpha, in crop px of 512


def pixel_format(chroma: str = "420", bits: int = 8, turns: int = 0, full_range: bool = False) -> PixelFormat:
    name = f"yuv{chroma}p" + ("10le" if bits == 10 else "")
    return PixelFormat(name, bits, full_range, "bt709", turned(GRIDS[chroma], turns))


def smooth_frame(fmt: PixelFormat) -> Frame:
    """Gentle waves, sampled where the format says that the samples of each plane lie."""
    planes = []
    for grid, (x_wave, y_wave, level, swing) in zip(
        (PlaneMap(), fmt.chroma, fmt.chroma), ((90, 130, 125, 25), (150, 110, 133, 8), (120, 170, 122, 8)), strict=True
    ):  # all of it colours that RGB has
        y, x = np.mgrid[: HEIGHT // grid.step_y, : WIDTH // grid.step_x].astype(np.float64)
        x, y = x * grid.step_x + grid.offset_x, y * grid.step_y + grid.offset_y
        value = level + swing * (np.sin(2 * np.pi * x / x_wave) + np.cos(2 * np.pi * y / y_wave))
        planes.append(np.round(value * 2 ** (fmt.bits - 8)).astype(np.uint8 if fmt.bits == 8 else np.uint16))
    return Frame(0, Fraction(0), (planes[0], planes[1], planes[2]), fmt, None)


def unit(centre_x: float, top: float, side: float) -> np.ndarray:
    return geometry.square_matrix(np.array([centre_x, top, side], np.float32))


def window(size: int, inset: int) -> np.ndarray:
    alpha = np.zeros((size, size), np.float32)
    alpha[inset:-inset, inset:-inset] = 1
    return alpha


def put_back_is_the_identity(chroma: str = "420", bits: int = 8, side: float = 417.3) -> None:
    """A crop pasted back unchanged: 45 dB where alpha is 1, not moved, not brighter; bit-exact where it is 0."""
    fmt = pixel_format(chroma, bits)
    frame, before = smooth_frame(fmt), smooth_frame(fmt)
    square = unit(CENTRE, TOP, side)
    crop = geometry.crop_face(frame, square, 512)
    geometry.paste_face(frame, crop.image, window(512, INSET), square)
    pixel = max(1.0, side / 512)
    inner = side * (0.5 - INSET / 512) - 3 * pixel  # where alpha is surely 1
    outer = side * (0.5 - INSET / 512) + 2 * pixel  # where it is surely 0
    names = ("luma", "blue", "red")
    maps = (PlaneMap(), fmt.chroma, fmt.chroma)
    for name, plane, old, grid in zip(names, frame.planes, before.planes, maps, strict=True):
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
        away = np.maximum(
            abs(x * grid.step_x + grid.offset_x - CENTRE), abs(y * grid.step_y + grid.offset_y - TOP - side / 2)
        )
        inside, outside = away < inner, away > outer
        error = plane.astype(float) - old
        decibels = 10 * np.log10((2**bits - 1) ** 2 / max(np.mean(error[inside] ** 2), 1e-9))
        assert decibels >= 45, f"{name}: {decibels:.1f} dB inside, less than 45"
        slopes = np.gradient(old.astype(float))
        moved = [float((error * s)[inside].sum() / (s**2)[inside].sum()) for s in slopes]
        assert max(map(abs, moved)) < 0.2, f"{name}: moved by {moved[0]:+.2f} rows and {moved[1]:+.2f} columns"
        bias = float(error[inside].mean()) / 2 ** (bits - 8)
        assert abs(bias) < 0.25, f"{name}: {bias:+.2f} brighter"
        changed = int((error[outside] != 0).sum())
        assert changed == 0, f"{name}: {changed} samples changed where alpha is 0"


def only_alpha_changes(side: float = 300.0) -> None:
    """A white disc: white where alpha is 1, not a bit changed where it is 0, though that lies in its rectangle."""
    fmt = pixel_format()
    frame, before = smooth_frame(fmt), smooth_frame(fmt)
    square = unit(300.0, 30.0, side)
    white = np.full((256, 256, 3), 255, np.uint8)
    geometry.paste_face(frame, white, np.zeros((256, 256), np.float32), square)
    same = [np.array_equal(a, b) for a, b in zip(frame.planes, before.planes, strict=True)]
    assert all(same), "something changed though alpha is 0 everywhere"
    y, x = np.mgrid[:256, :256]
    geometry.paste_face(frame, white, (np.hypot(x - 127.5, y - 127.5) < 80).astype(np.float32), square)
    step = max(1.0, side / 256)  # alpha may reach one crop pixel further
    for name, plane, old, grid, colour in zip(
        ("luma", "blue", "red"), frame.planes, before.planes, (PlaneMap(), fmt.chroma, fmt.chroma), (235, 128, 128),
        strict=True,
    ):  # fmt: skip
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
        away = np.hypot(x * grid.step_x + grid.offset_x - 300, y * grid.step_y + grid.offset_y - 30 - side / 2)
        radius, rim = 80 / 256 * side, 2 * step + max(grid.step_x, grid.step_y)
        changed = int((plane != old)[away > radius + rim].sum())
        assert changed == 0, f"{name}: {changed} samples changed where alpha is 0"
        off = int(np.abs(plane[away < radius - rim].astype(int) - colour).max())
        assert off <= 1, f"{name}: off by {off} where alpha is 1"


def crops_tile_the_square(x: float = 318.7, y: float = 20.4, side: float = 417.3, size: int = 512) -> None:
    """The outer corners of a crop's pixels are the corners of the square, whatever the crop's size."""
    corners = np.array([[-0.5, -0.5], [size - 0.5, size - 0.5]], np.float32)
    ends = geometry.transform(geometry.crop_matrix(unit(x, y, side), size), corners)
    off = float(np.abs(ends - [[x - side / 2, y], [x + side / 2, y + side]]).max())
    assert off <= 1e-5 * (side + abs(x) + abs(y)), f"the crop's corners are {off:.2f} px from the square's"
