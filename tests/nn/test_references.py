"""References that move to fit: where they are read, which is believed, and what an output copies."""

import dataclasses

import cv2
import numpy as np
import pytest
import torch
from invariants.faces import moving

from sidgan import geometry
from sidgan.config import GeneratorConfig
from sidgan.data.dataset import PackedClip, stack_windows
from sidgan.engine import Engine, redrawn
from sidgan.errors import ConfigError
from sidgan.nn import Generator
from sidgan.nn.motion import Motion, Reading, gathered, mixed
from sidgan.people import telling
from sidgan.synth import Mouth, Portrait, Pose
from sidgan.synth import Person as Drawn
from sidgan.train.batch import prepare_batch
from sidgan.train.growth import trunk_of, warm_start, with_trunk

COPYING = GeneratorConfig(
    size=64, base=4, cmax=16, start=8, rgb_levels=(32, 64), rgb="copying", warp_levels=(8, 16, 32),
    audio_levels=(8,), audio_width=2, audio_blocks=0.0,
)  # fmt: skip


@pytest.fixture
def net():
    return moving(COPYING)


def seen(people=2, pictures=1, frames=4):
    torch.manual_seed(1)
    return torch.rand(frames, 3, 64, 64), torch.rand(people, pictures, 3, 64, 64), torch.randn(frames, 1, 80, 16)


def reading(motion):
    return Reading(torch.eye(2, 3).expand(1, motion.shape[1], 2, 3), motion)


def motion_of(columns, rows, belief=0.0):
    return torch.tensor([columns, rows, belief]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 8, 8)


def test_a_bitten_lip_shows_no_network_what_lips_look_like():
    points = np.tile(np.random.default_rng(0).random((68, 2)), (40, 1, 1))
    points[:, [36, 45]] = [[0.3, 0.4], [0.7, 0.4]]
    opening, lips = np.linspace(0, 0.2, 40), np.full(40, 0.08)  # the first eight are those with the lips closest
    lips[:5] = 0.04
    for pair, apart in (((62, 66), opening), ((51, 57), opening + lips)):
        points[:, pair[0]], points[:, pair[1]] = [0.5, 0.6], np.stack([np.full(40, 0.5), 0.6 + apart], 1)
    assert telling(np.zeros((40, 3)), points, 2) == [[5, 6, 7], [38, 39]]
    points[:8, 57] = points[:8, 66]
    assert telling(np.zeros((40, 3)), points, 2) == [[*range(8)], [38, 39]], "where there are no others, they serve"


@pytest.mark.parametrize(("least", "most", "shut"), [
    (0.0, 0.3, [0, 1, 2]), (0.018, 0.3, [0, 1]), (0.03, 0.3, [0, 1]), (0.0, 0.02, [0, 1, 2, 3]),
])  # fmt: skip
def test_a_third_reference_shows_lips_as_shut_as_they_get(least, most, shut):
    """A twentieth of the frames at least, and a tenth at most, as far as lips are shut there."""
    points = np.tile(np.random.default_rng(0).random((68, 2)), (40, 1, 1))
    points[:, [36, 45]] = [[0.3, 0.4], [0.7, 0.4]]
    opening = 0.4 * np.linspace(least, most, 40)
    for pair, apart in (((62, 66), opening), ((51, 57), opening + 0.08)):
        points[:, pair[0]], points[:, pair[1]] = [0.5, 0.6], np.stack([np.full(40, 0.5), 0.6 + apart], 1)
    groups = telling(np.zeros((40, 3)), points, 3)
    assert groups[:2] == telling(np.zeros((40, 3)), points, 2)
    assert groups[2] == shut


def test_a_motion_says_where_to_read():
    maps = torch.arange(256.0).view(1, 1, 1, 16, 16)
    moved, merged = gathered(maps, reading(motion_of(2 * 3 / 16, -2 * 2 / 16)))  # three columns on, two rows back
    assert torch.allclose(moved[0][0, 0, 4, 5], maps[0, 0, 0, 2, 8], atol=1e-3)
    edge = torch.tensor([3.0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 15, 15])
    assert torch.allclose(merged[0, 0, 0], edge, atol=1e-3), "what lies outside is the edge's"
    assert torch.equal(merged, moved[0])


def test_places_are_exact_in_mixed_precision_too():
    maps, placed = torch.rand(1, 2, 3, 128, 128), torch.tensor([[1.013, 0.021, 0.207], [-0.021, 1.013, -0.107]])
    reading = Reading(placed.expand(1, 2, 2, 3))
    _, exact = gathered(maps, reading)
    with torch.autocast("cpu", torch.bfloat16):
        _, mixed = gathered(maps, reading)
    assert torch.allclose(mixed, exact, atol=1e-5)
    grid = torch.nn.functional.affine_grid(placed[None], [1, 3, 128, 128], align_corners=False)
    again = torch.nn.functional.grid_sample(maps[:, 0], grid, padding_mode="border", align_corners=False)
    assert torch.allclose(gathered(maps[:, :1], Reading(placed.expand(1, 1, 2, 3)))[1], again, atol=1e-4)


def test_the_reference_that_is_believed_is_seen():
    maps = torch.rand(1, 2, 3, 16, 16)
    motion = torch.cat([motion_of(0.0, 0.0, -20.0), motion_of(0.0, 0.0, 20.0)], 1)
    assert torch.allclose(gathered(maps, reading(motion))[1], maps[:, 1], atol=1e-5)
    assert torch.allclose(gathered(maps, reading(0 * motion))[1], maps.mean(1), atol=1e-5)
    maps = torch.rand(1, 3, 3, 16, 16)
    assert torch.allclose(gathered(maps, reading(torch.zeros(1, 3, 3, 8, 8)))[1], maps.mean(1), atol=1e-5)
    motion = torch.cat([motion_of(0.0, 0.0, belief) for belief in (0.2, -0.3, 0.9)], 1)
    shares = torch.tensor([0.2, -0.3, 0.9]).softmax(0).view(3, 1, 1, 1)
    assert torch.allclose(gathered(maps, reading(motion))[1][0], (shares * maps[0]).sum(0), atol=1e-5)


def test_a_motion_starts_at_rest_and_corrects_what_it_is_given():
    motion, x, maps = Motion(8), torch.rand(1, 8, 16, 16), torch.rand(1, 2, 8, 16, 16)
    moved = maps.unbind(1)
    assert not motion(x, moved, None).any()
    assert torch.allclose(motion(x, moved, motion_of(0.2, 0.1).expand(1, 2, -1, -1, -1))[:, :, 0], torch.tensor(0.2))


@pytest.mark.parametrize("source", [0, 1, 2])
def test_an_output_is_made_of_the_source_that_has_the_share(source):
    drawn = torch.zeros(1, 6, 16, 16)
    drawn[:, :3] = torch.randn(1, 3, 16, 16)
    drawn[:, 3 + source] = 30
    query, picture = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 3, 16, 16)
    wanted = (drawn[:, :3].sigmoid(), picture[:, 0], query)[source]
    assert torch.allclose(mixed(drawn, query, picture, None), wanted, atol=1e-5)


@pytest.mark.parametrize("lead", [5, 15, 40])
def test_however_sure_a_share_is_nothing_black_is_taken_from_what_is_hidden(lead):
    drawn = torch.tensor([0.0, 0, 0, -30, 0, lead]).view(1, 6, 1, 1).expand(1, 6, 8, 8)
    query, picture = torch.rand(1, 3, 16, 16), torch.rand(1, 1, 3, 16, 16)
    query[..., 8:, :] = 0
    assert torch.allclose(mixed(drawn, query, picture, None)[..., 8:, :], picture[0, :, :, 8:, :], atol=1e-5)


def test_the_order_of_references_does_not_matter_nor_does_saying_one_twice(net):
    query, pictures, mel = seen(pictures=3)
    with torch.no_grad():
        images = net(query, pictures, mel)[64]
        assert torch.allclose(net(query, pictures.flip(1), mel)[64], images, atol=1e-5)
        one = net(query, pictures[:, 0], mel)[64]
        assert torch.allclose(net(query, pictures[:, :1].expand(-1, 2, -1, -1, -1), mel)[64], one, atol=1e-5)
    assert (images - one).abs().max() > 0.01, "three say more than one"


def test_the_sound_moves_the_reference(net):
    query, pictures, mel = seen()
    with torch.no_grad():
        for block in net.rgb.values():  # copy the reference and nothing else
            block.weight.zero_()
            block.bias.copy_(torch.tensor([0.0, 0, 0, -30, 30, -30]))
        right, wrong = (net(query, pictures, m)[64] for m in (mel, mel.flip(0)))
    assert (right - wrong).abs().mean() > 1e-3
    assert float(right.min()) >= 0
    assert float(right.max()) <= 1


def test_every_level_learns(net):
    net.train()(*seen(pictures=2))[64].square().mean().backward()
    for level, motion in net.motion.items():
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in motion.parameters()), level


def test_a_warp_level_must_be_a_level():
    with pytest.raises(ConfigError, match="48"):
        dataclasses.replace(COPYING, warp_levels=(48,))


def test_a_smaller_generator_goes_on_as_the_coarser_part_of_a_larger_one(net):
    large = warm_start(net, dataclasses.replace(COPYING, size=128, base=2, rgb_levels=(32, 64, 128)))
    mine, its = large.state_dict(), net.state_dict()
    kept = {k for k in its if k in mine and torch.equal(mine[k], its[k])}
    assert {k for k in its if k.startswith(("blocks.", "rgb.", "motion.", "audio."))} <= kept
    assert {k for k in its if k.startswith("query.stages.")} <= kept
    assert warm_start(net, COPYING) is net
    listening = warm_start(net, dataclasses.replace(COPYING, audio_context=2))
    assert {k for k in listening.state_dict() if k not in its} == {"context"}
    assert all(torch.equal(value, its[k]) for k, value in listening.state_dict().items() if k != "context")
    with pytest.raises(ConfigError, match=r"have other widths: .* at 64"):
        warm_start(net, dataclasses.replace(COPYING, size=128, rgb_levels=(128,)))
    with pytest.raises(ConfigError, match="rgb is copying, not direct"):
        warm_start(net, dataclasses.replace(COPYING, size=128, base=2, rgb_levels=(128,), rgb="direct"))
    with pytest.raises(ConfigError, match="audio_context is 2, not 0"):
        warm_start(listening, COPYING)
    with pytest.raises(ConfigError, match="size is 64, not 32"):
        warm_start(net, dataclasses.replace(COPYING, size=32, base=8, rgb_levels=(32,), warp_levels=(8,)))


def test_what_is_copied_is_as_sharp_as_the_reference(net):
    torch.manual_seed(2)
    query, picture = torch.rand(2, 3, 256, 256), torch.rand(2, 1, 3, 256, 256)
    hidden = torch.zeros(2, 1, 256, 256, dtype=torch.bool)
    hidden[..., 131:, 60:201] = True  # edges between the pixels of the network's 64
    mel = torch.randn(2, 1, 80, 16)
    with torch.no_grad():
        for motion in net.motion.values():
            motion.head.weight.zero_()
        copy = torch.tensor([0.0, 0, 0, -30, 1, 1])  # half reference, half query: as much black, where it is hidden
        for block in net.rgb.values():
            block.weight.zero_()
            block.bias.copy_(copy)
        features = net.encode_reference(picture)
        large = redrawn(net, query, hidden, mel, features)
        small = net.decode(torch.nn.functional.avg_pool2d(query, 4), features, mel)[64]
    inside = hidden.expand_as(large)
    assert torch.allclose(large[inside], picture[:, 0][inside], atol=1e-5), "nothing black is mixed in"
    assert torch.allclose(large[~inside], (picture[:, 0] + query)[~inside] / 2, atol=1e-5)
    assert small.shape == (2, 3, 64, 64)


GROWN = dataclasses.replace(COPYING, size=128, base=2, rgb_levels=(32, 64, 128), trunk=64)


def hidden_mouths(side):
    hidden = torch.zeros(2, 1, side, side, dtype=torch.bool)
    hidden[..., side // 2 + 1 :, side // 4 - 1 : -side // 4] = True
    return hidden


def test_a_level_on_a_trunk_begins_where_the_smaller_generator_was(net):
    torch.manual_seed(3)
    large = warm_start(net, GROWN).eval()
    mels = torch.randn(2, 1, 80, 16)
    for side in (64, 128):
        faces, pictures = torch.rand(2, 3, side, side), torch.rand(1, 2, 3, side, side)
        with torch.no_grad():
            before = redrawn(net, faces, hidden_mouths(side), mels, net.encode_reference(pictures))
            after = redrawn(large, faces, hidden_mouths(side), mels, large.encode_reference(pictures))
        assert torch.equal(before, after), "small faces stay the trunk's, large ones are its copies, enlarged"
    assert [Engine(large, "cpu").fitting(s).size for s in (20, 64, 90, 91, 300, 400)] == [64, 64, 64, 128, 256, 512]


def test_what_is_above_a_trunk_learns_and_changes_large_faces_alone(net):
    torch.manual_seed(4)
    large = warm_start(net, GROWN).eval()
    beyond = set(dict(large.named_parameters())) - set(large.within)
    assert set(large.within) == set(dict(net.named_parameters())), "the trunk is the smaller generator"
    query, pictures, mels = torch.rand(2, 3, 128, 128), torch.rand(1, 2, 3, 128, 128), torch.randn(2, 1, 80, 16)
    query = query.masked_fill(hidden_mouths(128), 0)
    optimiser = torch.optim.SGD([p for n, p in large.named_parameters() if n in beyond], lr=1.0)
    outputs = large(query, pictures, mels)
    for _ in range(2):  # the last layer begins at zero: what is before it learns from the second step on
        optimiser.zero_grad()
        large(query, pictures, mels)[128].square().mean().backward()
        optimiser.step()
    moved = [n for n, p in large.named_parameters() if n in beyond and p.grad is not None and p.grad.abs().sum() > 0]
    assert set(moved) == beyond
    again = large(query, pictures, mels)
    assert torch.equal(outputs[64], again[64])
    assert not torch.equal(outputs[128], again[128])


def test_a_trunk_can_be_taken_out_trained_and_put_back(net):
    large = warm_start(net, GROWN).eval()
    taken = trunk_of(large)
    assert taken.config == COPYING == warm_start(large, COPYING).config
    assert trunk_of(net) is net is with_trunk(net, net)
    before = {k: v.clone() for k, v in large.state_dict().items()}
    with torch.no_grad():
        for parameter in taken.parameters():
            parameter.add_(1.0)
    again = with_trunk(large, taken)
    assert all(torch.equal(v, before[k]) for k, v in large.state_dict().items()), "what it was taken from stays"
    for name, value in again.named_parameters():
        assert torch.equal(value, before[name] + 1 if name in large.within else before[name]), name


def test_a_trunk_is_a_smaller_generator_that_copies(net):
    with pytest.raises(ConfigError, match="trunk must be 0 or a level below 128"):
        dataclasses.replace(GROWN, trunk=128)
    with pytest.raises(ConfigError, match="trunk needs rgb"):
        dataclasses.replace(GROWN, rgb="direct")
    with pytest.raises(ConfigError, match="every level from the trunk on needs an output"):
        dataclasses.replace(GROWN, rgb_levels=(32, 128))
    with pytest.raises(ConfigError, match="the size of the first weights"):
        warm_start(net, dataclasses.replace(GROWN, trunk=32))


def test_only_what_copies_can_be_enlarged(net):
    query, pictures, mel = seen()
    with pytest.raises(ValueError, match="copies"):
        net.decode(query, net.encode_reference(pictures), mel, level=32, sharp=torch.rand(4, 3, 128, 128))
    drawing = Generator(dataclasses.replace(COPYING, rgb="direct"))
    assert Engine(drawing, "cpu").fitting(500).size == 64
    engine = Engine(net, "cpu")
    assert [engine.fitting(side).size for side in (20, 64, 90, 91, 300, 400, 5000)] == [64, 64, 64, 128, 256, 512, 512]


def test_references_are_placed_by_the_head_and_not_by_the_mouth():
    rng = np.random.default_rng(0)
    face = rng.uniform(0.2, 0.8, (68, 2))
    cos, sin = 1.1 * np.cos(0.2), 1.1 * np.sin(0.2)
    other = face @ np.array([[cos, sin], [-sin, cos]]) + (0.05, -0.1)
    placed = geometry.placement(np.stack([face, other]), np.stack([other, face]))
    assert np.allclose(placed[0, 1], np.eye(2, 3), atol=1e-5)
    for row, (start, end) in enumerate(((face, other), (other, face))):
        found = (2 * start - 1) @ placed[row, row, :, :2].T + placed[row, row, :, 2]
        assert np.allclose(found, 2 * end - 1, atol=1e-5)
    talking = face.copy()
    talking[[*range(3, 14), *range(48, 68)]] += 0.1
    assert np.allclose(geometry.placement(talking[None], other[None]), placed[:1, :1])


def test_a_mouth_is_found_in_a_head_that_nods_or_turns_far_from_its_reference():
    portrait = Portrait(Drawn.random(1), (512, 512))

    def cropped(**pose: float) -> np.ndarray:
        points = portrait.landmarks(Mouth(), Pose(**pose))[None]
        return geometry.to_unit(geometry.square_matrix(geometry.face_square(points)), points)

    def off(query: np.ndarray, reference: np.ndarray) -> float:
        placed = geometry.placement(query, reference)[0, 0]
        mouth = [2 * points[0, [48, 51, 54, 57]].mean(0) - 1 for points in (query, reference)]
        return float(np.linalg.norm(placed[:, :2] @ mouth[0] + placed[:, 2] - mouth[1]))

    slack = geometry.SLACK
    for one, other in (({"pitch": -25}, {"pitch": 25}), ({"yaw": -20}, {"yaw": 20}), ({"yaw": 45}, {})):
        query, reference = cropped(**one), cropped(**other)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(geometry, "SLACK", np.inf)
            before = off(query, reference)
        assert before > slack + 0.03
        assert off(query, reference) < min(before - 0.03, slack + 0.03)
    query, reference = cropped(pitch=3, yaw=4), cropped()
    assert off(query, reference) < slack
    with pytest.MonkeyPatch.context() as patch:
        found = geometry.placement(query, reference)
        patch.setattr(geometry, "SLACK", np.inf)
        assert np.array_equal(found, geometry.placement(query, reference)), "the usual stays as it was learnt"


def test_what_the_head_did_is_undone_before_anything_is_learnt():
    torch.manual_seed(0)
    net = Generator(COPYING).eval()
    with torch.no_grad():
        for block in net.rgb.values():
            block.weight.zero_()
            block.bias.copy_(torch.tensor([0.0, 0, 0, -30, 30, -30]))
        picture = torch.rand(1, 3, 64, 64)
        placed = torch.tensor([[1.0, 0, 2 * 5 / 64], [0, 1.0, 0]])[None, None]  # five columns to the right
        drawn = net(torch.rand(1, 3, 64, 64), picture, torch.randn(1, 1, 80, 16), placed=placed)[64]
    assert torch.allclose(drawn[..., :59], picture[..., 5:], atol=1e-4)


def test_augmented_references_are_placed_as_their_pictures_are_moved():
    rng = np.random.default_rng(3)
    smooth = cv2.GaussianBlur(rng.uniform(0, 1, (64, 64, 3)).astype(np.float32), (0, 0), 3)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    turn = cv2.getRotationMatrix2D((31.5, 31.5), 8, 1.0)
    frames = np.stack([smooth, cv2.warpAffine(smooth, turn, (64, 64), borderMode=cv2.BORDER_REPLICATE)] * 10)
    points = rng.uniform(0.3, 0.7, (68, 2)).astype(np.float32)
    turned = np.concatenate([points * 64 - 0.5, np.ones((68, 1))], 1) @ turn.T
    images = torch.from_numpy((frames * 255).astype(np.uint8)).permute(0, 3, 1, 2)
    landmarks = np.stack([points, (turned + 0.5) / 64] * 10).astype(np.float32)
    boxes = torch.tensor([0.2, 0.5, 0.8, 1.0]).expand(20, 4)
    clip = PackedClip("a", images, torch.zeros(20, 1, 80, 28), boxes, landmarks)
    batch = prepare_batch(stack_windows([(clip, 0, [1, 3]), (clip, 5, [2, 6])], 1, 64), rng)
    grids = torch.nn.functional.affine_grid(batch.placed.flatten(0, 1), [4, 3, 64, 64], align_corners=False)
    read = torch.nn.functional.grid_sample(batch.reference.flatten(0, 1), grids, align_corners=False)
    middle = (slice(None), slice(None), slice(20, 44), slice(20, 44))
    difference = (read - batch.target.repeat_interleave(2, 0))[middle].abs().mean()
    untouched = (batch.reference.flatten(0, 1) - batch.target.repeat_interleave(2, 0))[middle].abs().mean()
    assert difference < 0.25 * untouched
