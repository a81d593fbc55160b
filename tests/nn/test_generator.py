import dataclasses

import pytest
import torch
import torch.nn.functional as F
from invariants import faces, shifts
from invariants.faces import inputs, meta
from invariants.shifts import SMALL
from torch import nn

from sidgan.config import DiscriminatorConfig, GeneratorConfig, SyncNetConfig
from sidgan.errors import ConfigError
from sidgan.losses import lsgan_d, lsgan_g
from sidgan.nn import Discriminator, FaceEncoder, Generator, SyncNet, count_parameters
from sidgan.settings import from_dict, presets, read_toml

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def net() -> Generator:
    return Generator(SMALL).eval()


def test_paper_size() -> None:
    faces.parameters_of_the_paper()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("full", 59.77), ("lite512", 15.94), ("lite256", 8.66), ("tiny128", 4.49), ("nano64", 0.67)],
)
def test_presets(name: str, millions: float) -> None:
    assert name in presets()
    net = meta(from_dict(GeneratorConfig, read_toml(name)["generator"]))
    assert round((count_parameters(net) - count_parameters(net.audio)) / 1e6, 2) == millions


def test_concatenated_audio_costs_what_it_should() -> None:
    adain, concat = meta(GeneratorConfig()), meta(GeneratorConfig(audio_inject="concat"))
    modulation = sum(3 * (512 * 2 * c + 2 * c) for c in (512, 512, 256))
    assert count_parameters(adain) - count_parameters(concat) == modulation - 512 * 9 * (512 + 512 + 256)


def test_encoder_gives_one_map_per_block() -> None:
    features = FaceEncoder(SMALL)(torch.rand(2, 3, 64, 64))
    assert {r: tuple(f.shape) for r, f in features.items()} == {r: (2, SMALL.channels(r), r, r) for r in SMALL.levels}


def test_outputs_are_pictures_at_each_level() -> None:
    faces.outputs_are_pictures()


@pytest.mark.parametrize("inject", ["adain", "concat"])
def test_the_sound_alone_changes_the_face(inject: str) -> None:
    faces.sound_changes_the_face(inject)


@pytest.mark.parametrize("which", [0, 1])
def test_query_and_reference_both_matter(net: Generator, which: int) -> None:
    given = list(inputs())
    with torch.no_grad():
        before = net(*given)
        given[which] = given[which].flip(-1)
        after = net(*given)
    assert (before[64] - after[64]).abs().max() > 1e-3


def test_what_the_mask_hides_has_no_influence() -> None:
    faces.dubbing_does_not_see_under_the_mask()
    faces.training_does_not_see_under_the_mask()


def test_cached_reference_gives_the_same() -> None:
    faces.cached_reference_is_the_same()


def test_references_that_cannot_be_shared_are_refused(net: Generator) -> None:
    query, reference, mel = inputs(4)
    with pytest.raises(ValueError, match="3 references"):
        net(query, reference[:3], mel)


def test_coarse_outputs_do_not_depend_on_how_far_it_goes(net: Generator) -> None:
    given = inputs()
    with torch.no_grad():
        whole = net(*given)
        for level in SMALL.rgb_levels:
            part = net(*given, level=level)
            assert list(part) == [r for r in SMALL.rgb_levels if r <= level]
            assert all(torch.equal(part[r], whole[r]) for r in part)


def test_finer_blocks_are_not_computed(net: Generator) -> None:
    ran: list[str] = []
    for r, block in net.blocks.items():
        block.register_forward_hook(lambda *_, r=r: ran.append(r))
    sum(i.sum() for i in net(*inputs(), level=16).values()).backward()
    assert ran == ["4", "8", "16"]
    idle = [p.grad is None for r in ("32", "64") for p in [*net.blocks[r].parameters(), *net.rgb[r].parameters()]]
    assert all(idle)
    assert net.query.stem.weight.grad is not None  # the encoders still see the full size


def test_fading_in(net: Generator) -> None:
    given = inputs()
    with torch.no_grad():
        plain = net(*given, level=32)
        old = F.interpolate(plain[16], (32, 32), mode="bilinear", align_corners=False)
        assert torch.equal(net(*given, level=32, fade=0.0)[32], old)
        assert torch.equal(net(*given, level=32, fade=1.0)[32], plain[32])
        half = net(*given, level=32, fade=0.25)
    assert torch.allclose(half[32], 0.75 * old + 0.25 * plain[32], atol=1e-6)
    assert torch.equal(half[16], plain[16])
    with pytest.raises(ValueError, match="coarsest"):
        net(*given, level=16, fade=0.5)


def test_single_output(net: Generator) -> None:
    flat = Generator(dataclasses.replace(SMALL, rgb_levels=(64,))).eval()
    assert list(flat(*inputs())) == [64]
    assert [b.norm.modulation is not None for b in flat.blocks.values()] == [
        b.norm.modulation is not None for b in net.blocks.values()
    ]


def test_wrong_requests_are_refused(net: Generator) -> None:
    query, reference, mel = inputs()
    with pytest.raises(ValueError, match="level 8"):
        net(query, reference, mel, level=8)
    with pytest.raises(ValueError, match="64 px"):
        net(*inputs(size=32))


def test_every_parameter_learns() -> None:
    net = Generator(SMALL)
    images = net(*inputs())
    sum((i - torch.rand_like(i)).abs().mean() for i in images.values()).backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    # A bias before batch normalisation is subtracted again with the mean; its gradient is rounding only.
    assert [name for name in dead if not (name.startswith("audio") and name.endswith("conv.bias"))] == []


def test_takes_the_ears_of_an_expert() -> None:
    faces.audio_encoder_is_the_experts()
    with pytest.raises(ConfigError, match="audio_width"):
        Generator(SMALL).audio.take_over(SyncNet(SyncNetConfig(width=4, audio_width=8, blocks=0.0)).audio)


def test_a_generator_may_hear_the_sounds_around_a_frame() -> None:
    """It hears 0.35 s then and no more; without a context 0.2 s, in whatever window it is given."""
    query, reference, _ = inputs()
    mel = faces.noise(len(query), 1, 80, 28)

    def changes(net: Generator, columns: slice) -> bool:
        other = mel.clone()
        other[..., columns] += 1
        with torch.no_grad():
            return not torch.equal(net(query, reference, mel)[64], net(query, reference, other)[64])

    deaf = Generator(SMALL).eval()
    assert not changes(deaf, slice(0, 6))
    assert not changes(deaf, slice(22, 28))
    assert changes(deaf, slice(6, 22))
    wide = Generator(dataclasses.replace(SMALL, audio_context=2)).eval()
    for end in (slice(0, 1), slice(27, 28)):
        assert changes(wide, end)
    near = Generator(dataclasses.replace(SMALL, audio_context=1)).eval()
    assert not changes(near, slice(0, 3))
    assert changes(near, slice(3, 4))
    with pytest.raises(ValueError, match="28 columns cannot be the middle of 16"):
        wide(query, reference, mel[..., 6:22])
    with pytest.raises(ConfigError, match="0 to 2, not 3"):
        dataclasses.replace(SMALL, audio_context=3)


def test_context_is_learnt() -> None:
    net = Generator(dataclasses.replace(SMALL, audio_context=2))
    query, reference, _ = inputs()
    net(query, reference, faces.noise(len(query), 1, 80, 28))[64].square().mean().backward()
    assert net.context.grad is not None
    assert (net.context.grad.abs().sum(1) > 0).all()
    assert torch.allclose(net.context.sum(0), torch.ones(512)), "it begins as a mean, nearest sounds first"


def test_frozen_ears_stay_as_they_are() -> None:
    faces.frozen_ears_stay()


def test_frames_do_not_influence_each_other(net: Generator) -> None:
    query, reference, mel = inputs(3)
    with torch.no_grad():
        together = net(query, reference, mel)
        for i in range(3):
            alone = net(query[i : i + 1], reference[i : i + 1], mel[i : i + 1])
            assert all(torch.allclose(alone[r][0], together[r][i], atol=1e-5) for r in alone)


def test_reduced_precision_and_memory_format(net: Generator) -> None:
    query, reference, mel = inputs()
    with torch.no_grad():
        exact = net(query, reference, mel)
        with torch.autocast("cpu", torch.bfloat16):
            rough = net(query, reference, mel)
        net.to(memory_format=torch.channels_last)
        query, reference = (x.contiguous(memory_format=torch.channels_last) for x in (query, reference))
        last = net(query, reference, mel)
    for r, image in exact.items():
        assert rough[r].dtype == torch.float32
        assert (rough[r] - image).abs().max() < 0.05
        assert torch.allclose(last[r], image, atol=1e-5)


def test_exported_generator_gives_the_same_for_any_batch() -> None:
    shifts.exported_generator_is_the_same()


def test_learns_what_only_the_sound_can_tell() -> None:
    """The same query and reference, two sounds: dark mouth for one, bright for the other."""
    net = Generator(dataclasses.replace(SMALL, size=32, rgb_levels=(16, 32)))
    query, reference, mel = inputs(1, 32)
    mel = torch.cat([mel, torch.randn(1, 1, 80, 16)])
    target = torch.cat([query, query])
    target[0, :, 16:, 8:-8], target[1, :, 16:, 8:-8] = 0.1, 0.9
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(60):
        image = net(query.expand(2, -1, -1, -1), reference, mel)[32]
        optimiser.zero_grad()
        (image - target).abs().mean().backward()
        optimiser.step()
    mouths = image.detach()[:, :, 20:-4, 12:-12].mean((1, 2, 3))
    assert mouths[1] - mouths[0] > 0.5  # 0 for a network that does not listen, 0.8 for a perfect one


@pytest.mark.parametrize(
    ("layers", "size", "patches", "field", "count"),
    [(2, 128, 30, 34, 662_977), (3, 256, 30, 70, 2_764_737), (3, 512, 62, 70, 2_764_737)],
)
def test_discriminator_of_the_paper(layers: int, size: int, patches: int, field: int, count: int) -> None:
    with torch.device("meta"):
        critic = Discriminator(DiscriminatorConfig(layers=layers))
        assert critic(torch.rand(2, 3, size, size)).shape == (2, 1, patches, patches)
    assert count_parameters(critic) == count
    sees = 1
    for unit in reversed([u for u in critic.units if isinstance(u, nn.Conv2d)]):
        sees = (sees - 1) * unit.stride[0] + unit.kernel_size[0]
    assert sees == field


def test_discriminator_layers_have_unit_norm() -> None:
    critic = Discriminator(DiscriminatorConfig(base=8, layers=2))
    for _ in range(30):  # each pass in training mode refines the estimate of the norm
        critic(torch.rand(1, 3, 32, 32))
    for unit in critic.eval().units:
        if isinstance(unit, nn.Conv2d):
            assert torch.linalg.matrix_norm(unit.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_discriminator_learns_to_tell_apart() -> None:
    critic = Discriminator(DiscriminatorConfig(base=8, layers=2))
    optimiser = torch.optim.Adam(critic.parameters(), 2e-3, betas=(0.5, 0.999))
    for _ in range(60):
        sharp = torch.rand(4, 3, 32, 32)
        loss = lsgan_d(critic(sharp), critic(F.avg_pool2d(sharp, 3, 1, 1)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.15  # 0.25 is indifference
    assert lsgan_g(critic(F.avg_pool2d(sharp, 3, 1, 1))) > 0.4


def test_a_critic_of_detail_hears_neither_brightness_nor_the_upper_half() -> None:
    critic = Discriminator(DiscriminatorConfig(base=8, layers=2, sees="detail"))
    face = 0.2 + 0.5 * torch.rand(2, 3, 64, 64)
    other = face.clone()
    other[:, :, :32] = 0
    torch.testing.assert_close(critic(other), critic(face))
    torch.testing.assert_close(critic(face + 0.2), critic(face), atol=1e-4, rtol=0)
    assert not torch.allclose(critic(F.avg_pool2d(face, 3, 1, 1)), critic(face), atol=1e-3)


def test_laplacian_outputs_add_detail_to_the_enlarged_coarser_one() -> None:
    config = from_dict(GeneratorConfig, {**read_toml("nano64")["generator"], "rgb": "laplacian"})
    net = Generator(config).eval()
    query, reference, mel = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64), torch.randn(2, 1, 80, 16)
    with torch.no_grad():
        for level in (32, 64):
            net.rgb[str(level)].weight.zero_()
            net.rgb[str(level)].bias.zero_()
        images = net(query, reference, mel)
    for coarse, fine in ((16, 32), (32, 64)):
        enlarged = torch.nn.functional.interpolate(images[coarse], (fine, fine), mode="bilinear", align_corners=False)
        assert torch.allclose(images[fine], enlarged, atol=1e-6)


def test_emphasis_moves_away_from_the_usual_sound() -> None:
    net, mel = Generator(SMALL), torch.randn(4, 1, 80, 16)
    net.train().audio.eval()  # as in training
    for _ in range(800):
        net.heard(mel)
    net.eval()
    with torch.no_grad():
        learnt, usual = net.heard(mel), net.usual.clone()
        assert torch.allclose(usual, learnt.mean(0), atol=1e-2)
        for emphasis in (0.0, 0.5, 2.0):
            net.emphasis = emphasis
            assert torch.allclose(net.heard(mel) - usual, emphasis * (learnt - usual), atol=1e-4)
    assert torch.equal(net.usual, usual)  # use does not change it


def test_an_opening_changes_the_sound_along_what_opens_mouths_only() -> None:
    net, query, reference, mel = Generator(SMALL).eval(), *torch.rand(2, 3, 3, 64, 64), torch.randn(3, 1, 80, 16)
    opening, seen = torch.tensor([[0.0, 0.0], [0.4, 0.0], [0.4, 1.5]]), []
    with torch.no_grad():
        none = net.decode(query, net.encode_reference(reference), mel, opening=opening)[64]
        assert torch.equal(none, net(query, reference, mel)[64]), "nothing is known to open mouths"
        net.usual.normal_()
        net.opens.normal_()
        heard = net.heard(mel)
        net.blocks["64"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[-1]))
        net.decode(query, net.encode_reference(reference), mel, opening=opening)
    ((made,), along) = seen, net.opens / net.opens.norm() ** 2
    share = (heard - net.usual) @ along
    further, swing = opening.T
    assert torch.allclose((made - net.usual) @ along, share + further + swing * share, atol=1e-4)
    assert torch.equal(made[0], heard[0])
    across = (made - heard) - ((made - heard) @ along)[:, None] * net.opens
    assert across.abs().max() < 1e-4
