"""The compared systems: networks as published, trained by the one loop, used like ours."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from small import small_vgg

from sidgan.config import DiscriminatorConfig, GeneratorConfig, SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.engine import Engine
from sidgan.errors import ConfigError
from sidgan.losses import RIVALRY, content_loss
from sidgan.nn import Generator, SyncNet, count_parameters
from sidgan.nn.baselines import KINDS, build, critic
from sidgan.nn.baselines.lipgan import same_padded
from sidgan.nn.baselines.pcavs import augmented, identity_encoder, other_encoder
from sidgan.nn.baselines.synthesis import ModulatedConv
from sidgan.settings import read_toml
from sidgan.train.gan import GanTask
from sidgan.train.judging import judge, spread
from sidgan.train.runs import gan_config

SYSTEMS = ("lipgan", "wav2lip96", "wav2lip384", "pcavs")
SMALL = ("lipgan_small", "wav2lip_small", "wav2lip384_small", "pcavs_small")
TINY_EXPERT = SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)


def tiny(kind: str, size: int = 32, **changes) -> GeneratorConfig:
    """As small as they get."""
    values = {"kind": kind, "size": size, "start": 4, "base": 4, "cmax": 32, "audio_width": 2,
              "rgb_levels": (size,), "audio_levels": ()}  # fmt: skip
    return GeneratorConfig(**values | changes)


def inputs(size: int, count: int = 2):
    rng = torch.Generator().manual_seed(1)
    return (torch.rand(count, 3, size, size, generator=rng), torch.rand(1, 3, size, size, generator=rng),
            torch.randn(count, 1, 80, 28, generator=rng))  # fmt: skip


def settled(config: GeneratorConfig) -> Generator:
    """With random weights, and the statistics of what it is shown, without which normalisations drown all signals."""
    torch.manual_seed(0)
    net = build(config).train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32), torch.randn(4, 1, 80, 28))
    return net.eval()


def task_of(name: str, blob, *changes: str, **networks) -> GanTask:
    config = gan_config(name, 40, None, [*shrink(name), *changes])
    data = PackedSet.of([blob(max(128, config.generator.size), 40)])
    return GanTask(config, data, {"held": data}, Fabric(accelerator="cpu", devices=1), **networks)


def shrink(name: str) -> list[str]:
    """Settings that leave a preset its losses and make its networks tiny."""
    size = read_toml(name)["generator"]["size"]
    least = ["generator.base=4", "generator.cmax=32", "generator.audio_width=2"]
    least += ["batch=5", "recon_frames=1", "vgg=random"] if size > 128 else ["batch=10"]
    return [*least, f"discriminators.{size}.base=4", f"discriminators.{size}.cmax=16"]


# ------------------------------------------------------------------------------------------------------ networks

@pytest.mark.parametrize(("name", "size", "parameters"), [
    ("wav2lip96", 96, 36_298_035),  # as its training script counts
    ("lipgan", 96, 49_543_123), ("wav2lip384", 384, 69_900_147), ("pcavs", 224, 78_126_281),
])  # fmt: skip
def test_presets_have_the_published_size(name, size, parameters):
    with torch.device("meta"):
        net = build(gan_config(name, 10, None, []).generator)
    assert (net.config.size, count_parameters(net)) == (size, parameters)


def test_parts_have_the_published_size():
    with torch.device("meta"):
        assert count_parameters(identity_encoder(512)) == 25_028_904 - 1000 * 2049, "ResNeXt-50 without classifier"
        assert count_parameters(other_encoder(512)) == 11_689_512 - 1000 * 513, "ResNet-18 without classifier"
        visual = critic(DiscriminatorConfig(kind="half", base=32, layers=5), 96)
    assert count_parameters(visual) == 14_113_793


@pytest.mark.parametrize("kind", KINDS)
def test_all_draw_through_one_interface(kind):
    net = settled(tiny(kind) if kind != "sidgan" else tiny(kind, audio_levels=(4,)))
    query, reference, mel = inputs(32)
    with torch.no_grad():
        (image,) = net(query, reference, mel).values()
        apart = net.decode(query, net.encode_reference(reference), mel, finest=True)[32]
        other = net(query, reference, mel.flip(0))[32]
        stranger = net(query, 1 - reference, mel)[32]
    assert image.shape == (2, 3, 32, 32)
    assert image.dtype == torch.float32
    assert 0 <= image.min() < image.max() <= 1
    torch.testing.assert_close(apart, image)
    assert (image - other).abs().max() > 1e-4, "it hears"
    assert (image - stranger).abs().max() > 1e-4, "it sees the reference"


@pytest.mark.parametrize(("kind", "sees"), [("lipgan", False), ("wav2lip", False), ("pcavs", True)])
def test_who_sees_the_mouth(kind, sees):
    net = settled(tiny(kind))
    query, reference, mel = inputs(32)
    changed = query.clone()
    changed[:, :, 20:] = 0.5
    with torch.no_grad():
        apart = (net(query, reference, mel)[32] - net(changed, reference, mel)[32]).abs().max()
    assert (apart > 1e-4) == sees
    hidden = torch.ones(2, 1, 32, 32, dtype=torch.bool)
    engine = Engine(net, "cpu", batch=2)
    faces = (query.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8)
    known = engine.encode_reference((reference.permute(0, 2, 3, 1).numpy() * 255).astype(np.uint8))
    drawn = [engine.run(f, hidden[:, 0].numpy(), mel.numpy(), known).astype(int) for f in (faces, 255 - faces)]
    assert (np.abs(drawn[0] - drawn[1]).max() > 0) == sees, "whatever is hidden, PC-AVS reads the pose"


def test_the_same_code_gives_the_same_picture_and_emphasis_moves_it():
    net = settled(tiny("pcavs"))
    query, reference, mel = inputs(32)
    with torch.no_grad():
        first, again = net(query, reference, mel)[32], net(query, reference, mel)[32]
        net.emphasis = 0.0
        deaf = [net(query, reference, m)[32] for m in (mel, mel.flip(0))]
    assert torch.equal(first, again)
    assert torch.equal(*deaf), "without emphasis every sound is the usual one"


@pytest.mark.parametrize("doubles", [False, True])
def test_modulation_is_that_of_each_sample_s_weights(doubles):
    torch.manual_seed(0)
    layer, x, code = ModulatedConv(3, 5, 3, 4, upsample=doubles), torch.randn(2, 3, 6, 6), torch.randn(2, 4)
    drawn = layer(x, code)
    for one, style, mine in zip(x, layer.modulation(code), drawn, strict=True):
        weight = layer.weight / 27**0.5 * style[:, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        if doubles:
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
            apart = F.conv_transpose2d(one[None], weight.transpose(0, 1), stride=2)
            want = F.conv2d(F.pad(apart, (1, 1, 1, 1)).transpose(0, 1), torch.outer(taps, taps)[None, None] / 16)
            want = want.transpose(0, 1)[0]
        else:
            want = F.conv2d(one[None], weight, padding=1)[0]
        torch.testing.assert_close(mine, want, rtol=1e-4, atol=1e-5)


def test_disguises_keep_pictures_pictures():
    images = inputs(32)[0]
    torch.manual_seed(0)
    other = augmented(images)
    assert other.shape == images.shape
    assert (other - images).abs().mean() > 0.02
    assert other.min() >= 0
    assert other.max() <= 1


@pytest.mark.parametrize(("size", "kernel", "stride"), [(80, 3, 3), (27, 3, 3), (96, 5, 2), (12, 7, 1), (9, 3, 1)])
def test_padding_is_tensorflow_s(size, kernel, stride):
    conv = torch.nn.Conv2d(1, 1, kernel, stride)
    padded = same_padded(torch.ones(1, 1, size, size), conv)
    assert conv(padded).shape[-1] == -(-size // stride)
    before, after = padded[0, 0, size // 2 + 3].argmax(), padded[0, 0, size // 2 + 3].flip(0).argmax()
    assert 0 <= after - before <= 1, "one more at the end"


@pytest.mark.parametrize(("change", "message"), [
    ({"rgb": "copying"}, 'set rgb = "direct"'), ({"rgb_levels": (16, 32)}, r"rgb_levels = \[32\]"),
    ({"audio_levels": (4,)}, r"audio_levels = \[\]"), ({"audio_context": 2}, "audio_context = 0"),
])  # fmt: skip
def test_settings_without_a_meaning_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        tiny("wav2lip", **change)


@pytest.mark.parametrize(("kind", "widths", "message"), [
    ("pcavs", {"cmax": 33}, "cmax of a pcavs generator must be a multiple of 16, not 33"),
    ("lipgan", {"cmax": 3}, "base must be at most cmax, which is 3, not 4"),
    ("lipgan", {"cmax": 5}, None), ("wav2lip", {"cmax": 7}, None), ("pcavs", {"cmax": 48, "base": 3}, None),
])  # fmt: skip
def test_widths_fit_or_are_refused(kind, widths, message):
    if message is not None:
        with pytest.raises(ConfigError, match=f"^{message}$"):
            tiny(kind, **widths)
        return
    query, reference, mel = inputs(32)
    assert build(tiny(kind, **widths)).eval()(query, reference, mel)[32].shape == query.shape


def test_a_wrong_use_says_so():
    net = build(tiny("wav2lip"))
    query, reference, mel = inputs(32)
    with pytest.raises(ValueError, match="sees 32 px, not 16"):
        net.encode_reference(reference[..., :16, :16])
    with pytest.raises(ValueError, match="nothing to fade from"):
        net(query, reference, mel, fade=0.5)
    with pytest.raises(ValueError, match="2 references cannot be shared evenly by 3"):
        net(inputs(32, 3)[0], query, inputs(32, 3)[2])


# -------------------------------------------------------------------------------------------------------- losses

@pytest.mark.parametrize("kind", RIVALRY)
def test_critics_and_generators_want_opposite_things(kind):
    told, wants = RIVALRY[kind]
    good, bad = torch.full((4, 1), 0.9), torch.full((4, 1), 0.1)
    assert told(good, bad) < told(good, good) < told(bad, good)
    assert wants(good) < wants(bad)


def test_content_is_matched_both_ways():
    codes = torch.eye(4, 8)
    assert content_loss(codes, codes) < 1e-4
    assert float(content_loss(codes, torch.ones(4, 8))) == pytest.approx(np.log(4), abs=1e-4)
    assert content_loss(codes, codes.roll(1, 0)) > 5


@pytest.mark.parametrize("kind", ["half", "sound", "scales", "patch"])
def test_critics_look_where_they_should(kind):
    torch.manual_seed(0)
    judge = critic(DiscriminatorConfig(kind=kind, base=4, cmax=8, layers=3), 48).eval()
    image, _, mel = inputs(48)
    changed = image.clone()
    changed[:, :, :20] = 0.5
    with torch.no_grad():
        score, top, sound = judge(image, mel), judge(changed, mel), judge(image, mel.flip(0))
    assert score.shape[0] == 2
    assert torch.equal(score, top) == (kind == "half")
    assert torch.equal(score, sound) == (kind != "sound")


# ------------------------------------------------------------------------------------------------------ training

@pytest.mark.parametrize("name", [*SMALL, *SYSTEMS])
def test_presets_train(name, blob):
    needs = {"vgg": small_vgg()} if name == "pcavs" else {}
    task = task_of(name, blob, "sync_from=0", "sync_gate=0", "gan_from=0.0", "expert_kind=any", "sync_every=1",
                   expert=SyncNet(TINY_EXPERT), **needs)  # fmt: skip
    before = {k: v.clone() for k, v in task.net.module.named_parameters()}
    reports = [task.step(i) for i in range(2)]
    size = task.config.generator.size
    terms = {"l1", "gan", f"real{size}", f"fake{size}"}
    terms |= {"wav2lip": {"sync"}, "pcavs": {"content"}}.get(name[:7].split("_")[0], set())
    assert set(reports[1]) - {"features"} == terms
    assert ("features" in reports[1]) == (name == "pcavs")
    assert all(np.isfinite(v) for report in reports for v in report.values())
    still = [k for k, v in task.net.module.named_parameters() if torch.equal(v, before[k])]
    # A gate of one unit may be dead, and a bias that a normalisation takes away again has no gradient but rounding.
    stuck = [k for k in still if ".fc." not in k and not k.endswith("conv_block.0.bias")]
    assert not stuck, "everything learns, the ears too"


@pytest.mark.parametrize(("kind", "steps", "rate", "reached", "gap"), [
    ("lipgan", 70, 3e-3, 16.5, 0.2), ("wav2lip", 50, 3e-3, 19.0, 0.3), ("pcavs", 32, 1e-2, 11.5, -0.5),
])  # fmt: skip
def test_each_learns_a_clip_and_listens(kind, steps, rate, reached, gap, blob):
    config = gan_config("wav2lip_small", steps, None, [])
    net = tiny(kind, size=16, base=8, audio_width=4)
    plain = dataclasses.replace(config, generator=net, weights={}, discriminators={}, lr=rate, ema=0.9)
    task = GanTask(plain, PackedSet.of([blob(32, 60)]), {}, Fabric(accelerator="cpu", devices=1))
    before = judge(task.ema, spread(task.train, 20), 16)
    for index in range(steps):
        task.step(index)
    seen = judge(task.ema, spread(task.train, 20), 16)
    assert before.right < 12.5
    assert seen.right > reached
    assert seen.right > seen.wrong + gap, "the mouth depends on the sound; PC-AVS gets there later"
