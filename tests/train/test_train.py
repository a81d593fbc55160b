"""Training: schedules, learning, resuming."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from invariants import training
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from small import small_vgg
from torch import nn

from sidgan import checkpoint
from sidgan.config import DiscriminatorConfig, LossWeights, SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.errors import CheckpointError, ConfigError, SidganError
from sidgan.nn import Generator, SyncNet, lower_half_windows
from sidgan.nn.baselines import critic
from sidgan.settings import from_dict, presets, read_toml, to_dict
from sidgan.train import augment, pairs, syncnet
from sidgan.train.batch import _jittered, prepare_batch
from sidgan.train.folder import same_run
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.judging import judge, spread
from sidgan.train.loop import LoopConfig, run
from sidgan.train.pairs import draw_negatives, draw_pairs, same_sound
from sidgan.train.runs import gan_config as gan_settings
from sidgan.train.runs import listener_config, occlusion_config, sync_config
from sidgan.train.schedule import moment
from sidgan.train.syncnet import SyncTask, SyncTrainConfig, pair_scores

TINY_EXPERT = SyncNetConfig(width=2, audio_width=8, blocks=0.5)


def gan_config(steps, **changes):
    generator = read_toml("nano64")["generator"]
    values = {"generator": generator, "loop": {"steps": steps}, "batch": 5, "lr": 2e-3, "grow": [0.0, 0.0],
              "fade": 0.0, "sync_from": 2.0, "gan_from": 2.0, "ema": 0.9}  # fmt: skip
    return from_dict(GanTrainConfig, values | changes)


def fabric():
    return Fabric(accelerator="cpu", devices=1)


def gan_task(blob, config, expert=None):
    data = PackedSet.of([blob(64, 60)])
    return GanTask(config, data, {"held": data}, fabric(), expert)


def test_schedule_grows_fades_and_ramps():
    config = gan_config(100, grow=[0.2, 0.5], fade=0.1, sync_from=0.6, gan_from=0.8)
    assert [moment(config, i).level for i in (0, 19, 20, 49, 50, 99)] == [16, 16, 32, 32, 64, 64]
    assert moment(config, 20).fade == 0
    assert moment(config, 25).fade == pytest.approx(0.5)
    assert moment(config, 31).fade == 1
    assert [moment(config, i).sync for i in (59, 65, 80)] == pytest.approx([0, 0.5, 1])
    assert moment(config, 79).gan_levels == ()
    assert moment(config, 80).gan_levels


def test_data_that_is_too_small_says_how_to_prepare_it(blob):
    with pytest.raises(ConfigError, match=r"faces of 32 px .* generator of 64 px; prepare them with --size 64, or"):
        GanTask(gan_config(1), PackedSet.of([blob(32, 60)]), {}, fabric())


def test_generator_learns_a_clip_and_listens(tmp_path):
    task = training.gan_task(160, audio_lr=1.0, lr=8e-3, betas=[0.9, 0.999])
    for index in range(160):
        task.step(index)
    seen = judge(task.ema, spread(task.train, 20), 32)
    assert seen.right > 20
    assert seen.right > seen.wrong + 1, "the mouth must depend on the sound"
    figures = task.evaluate(160, tmp_path)
    assert figures["held_to_truth"] < figures["held_to_reference"]
    assert task.notes() == [], "a healthy generator gives no warnings"


@pytest.mark.parametrize("features", ["contextual", "perceptual"])
def test_every_term_of_the_loss_joins_in_at_its_level(features, blob):
    weights = {64: {"features": 0.5, "frequency": 5.0, "sync": 0.1, "gan": 0.1}, 32: {"frequency": 5.0}}
    config = gan_config(2, sync_from=0.0, gan_from=0.0, weights=weights, features=features, vgg="random",
                        discriminators={64: {"base": 4, "layers": 2}})  # fmt: skip
    data = PackedSet.of([blob(64, 60)])
    with pytest.raises(ConfigError, match="needs VGG19"):
        GanTask(config, data, {}, fabric())
    task = GanTask(config, data, {}, fabric(), SyncNet(TINY_EXPERT), vgg=small_vgg())
    task.step(0)
    report = task.step(1)
    assert {"l1", "features", "frequency", "sync", "gan"} <= set(report)
    assert all(np.isfinite(v) and v > 0 for k, v in report.items() if k not in ("real64", "fake64"))
    assert not any(p.requires_grad for p in task.vgg.parameters())


def test_a_run_resumes_only_with_the_expert_of_its_sync_loss(blob):
    first, other = SyncNet(TINY_EXPERT).eval(), SyncNet(TINY_EXPERT).eval()
    judged = gan_config(2, weights={64: {"sync": 0.1}})
    begun = gan_task(blob, judged, first).state()
    gan_task(blob, judged, first).restore(begun)
    with pytest.raises(CheckpointError, match="started with another sync expert; resume it with the same --expert"):
        gan_task(blob, judged, other).restore(begun)
    unjudged = gan_config(2)
    gan_task(blob, unjudged, other).restore(gan_task(blob, unjudged, first).state())


def test_a_random_vgg_is_named_in_the_weights_file(blob, tmp_path):
    config = gan_config(1, weights={64: {"features": 0.1}}, vgg="random")
    task = GanTask(config, PackedSet.of([blob(64, 60)]), {}, fabric(), vgg=small_vgg())
    task.export(tmp_path / "w.safetensors", {"steps": 1})
    assert "random" in checkpoint.read_meta(tmp_path / "w.safetensors")["meta"]["vgg"]


def test_critics_are_written_beside_the_weights(blob, tmp_path):
    config = gan_config(2, gan_from=0.0, weights={64: {"gan": 0.1}}, discriminators={64: {"base": 4, "layers": 2}})
    task = gan_task(blob, config)
    task.step(0)
    task.export(tmp_path / "weights.safetensors", {"steps": 1})
    found = checkpoint.load_critics(tmp_path / "weights.safetensors")
    assert found.config.levels == config.discriminators
    assert all(torch.equal(v, found.state_dict()[k]) for k, v in task.critics.module.state_dict().items())
    (tmp_path / "plain").mkdir()
    again = GanTask(config, PackedSet.of([blob(64, 60)]), {}, fabric(), rivals=found)
    assert all(torch.equal(v, found.state_dict()[k]) for k, v in again.critics.module.state_dict().items())
    wider = dataclasses.replace(config, discriminators={64: DiscriminatorConfig(base=8, layers=2)})
    alone, other = (GanTask(wider, PackedSet.of([blob(64, 60)]), {}, fabric(), rivals=one).critics.module.state_dict()
                    for one in (None, found))  # fmt: skip
    assert all(torch.equal(v, other[k]) for k, v in alone.items()), "a critic of other settings begins with nothing"
    gan_task(blob, dataclasses.replace(config, seed=1)).export(tmp_path / "other.safetensors", {"steps": 1})
    told = []
    assert checkpoint.load_critics(tmp_path / "other.safetensors", told.append) is not None
    assert checkpoint.load_critics(tmp_path / "weights.safetensors", told.append) is None
    (line,) = told
    assert "critics.safetensors beside weights.safetensors belongs to other weights and was not used; keep" in line
    gan_task(blob, gan_config(1)).export(tmp_path / "plain" / "weights.safetensors", {"steps": 1})
    assert not (tmp_path / "plain" / "critics.safetensors").exists()


def test_between_steps_with_the_sync_loss_a_batch_has_other_clips(blob):
    config = gan_config(8, sync_from=0.0, sync_every=2, weights={64: {"sync": 0.1}})
    task = gan_task(blob, config, SyncNet(TINY_EXPERT))
    assert [("sync" in task.step(i)) for i in range(1, 5)] == [False, True, False, True]


def test_vgg_looks_in_some_steps_only(blob):
    config = gan_config(8, features_every=3, weights={64: {"features": 0.1, "frequency": 1.0}}, vgg="random")
    task = GanTask(config, PackedSet.of([blob(64, 60)]), {}, fabric(), vgg=small_vgg())
    seen = [task.step(i) for i in range(4)]
    assert [("features" in losses) for losses in seen] == [True, False, False, True]
    assert all("frequency" in losses for losses in seen)


@pytest.mark.parametrize("kind", ["gan", "sync", "dice"])
def test_resumed_is_uninterrupted(kind):
    training.resumed_is_uninterrupted(kind)


def test_one_clip_is_learnt():
    training.one_clip_is_learnt()


def test_critics_learn_which_is_real():
    training.critics_learn_which_is_real()


def test_only_the_generator_learns():
    training.only_the_generator_learns()


def test_runs_begun_before_a_setting_existed_go_on(blob):
    config = resolved("full")
    begun = to_dict(config)
    for new in ("settle", "sync_gate", "recompute"):
        del begun[new]
    assert not same_run(config, begun), "the preset sets two of them"
    begun |= {"settle": config.settle, "sync_gate": config.sync_gate}
    assert same_run(config, begun), "the third has its default"
    assert same_run(config, begun | {"loop": {"steps": 100, "log_every": 7}})
    assert not same_run(config, begun | {"lr": 1.0})
    assert not same_run(config, begun | {"forgotten": 1})
    for task in (gan_task(blob, gan_config(2)), SyncTask(SyncTrainConfig(model=TINY_EXPERT),
                                                         PackedSet.of([blob(128, 40)]), {}, fabric())):  # fmt: skip
        task.restore({k: v for k, v in task.state().items() if k in ("net", "ema", "optimiser")})


def test_audio_encoder_comes_from_the_expert_and_stays(blob):
    expert = SyncNet(TINY_EXPERT).eval()
    task = gan_task(blob, gan_config(2), expert)
    before = {k: v.clone() for k, v in expert.audio.state_dict().items()}
    for index in range(2):
        task.step(index)
    after = task.net.module.audio.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_goes_on_from_given_weights_and_refuses_others(blob):
    data, expert = PackedSet.of([blob(64, 60)]), SyncNet(TINY_EXPERT)
    start = Generator(gan_config(1).generator)
    kept = {k: v.clone() for k, v in start.state_dict().items()}
    task = GanTask(gan_config(1), data, {}, fabric(), expert, start)
    assert all(torch.equal(kept[k], v) for k, v in task.ema.state_dict().items()), "the expert must not overwrite it"
    other = from_dict(GanTrainConfig, {"generator": read_toml("nano64")["generator"] | {"cmax": 24}, "grow": [0, 0],
                                       "batch": 5})  # fmt: skip
    with pytest.raises(ConfigError, match=r"cmax is \d+, not 24"):
        GanTask(other, data, {}, fabric(), expert, start)

    config = SyncTrainConfig(model=TINY_EXPERT)
    begun = SyncTask(config, PackedSet.of([blob(128, 40)]), {}, fabric(), expert)
    assert all(torch.equal(v, begun.net.module.net.state_dict()[k]) for k, v in expert.state_dict().items())
    with pytest.raises(ConfigError, match="width is 2, not 32"):
        SyncTask(SyncTrainConfig(), PackedSet.of([blob(128, 40)]), {}, fabric(), expert)


def test_query_hides_the_mouth_and_reference_is_the_same_person(blob):
    data = PackedSet.of([blob(64, 60)])
    windows = data.windows(np.random.default_rng(0), 4, 5)
    for rng in (None, np.random.default_rng(1)):
        batch = prepare_batch(windows, rng)
        assert float((batch.query * batch.mask).abs().max()) == 0
        assert torch.equal(batch.query * (1 - batch.mask), batch.target * (1 - batch.mask))
        assert batch.query.shape == (20, 3, 64, 64)
        assert batch.reference.shape == (4, 1, 3, 64, 64)


def test_without_augmentation_a_step_sees_clips_as_they_are(blob):
    seen = []
    for changed in (False, True):
        task = gan_task(blob, gan_config(2, augment=changed))
        task.net.module.register_forward_pre_hook(lambda net, given: seen.append(given))
        task.step(0)
    clip = blob(64, 60)
    for query, mel in zip(seen[0][0], seen[0][2], strict=True):
        shown = (clip.images.float() / 255 - query).abs() * (query > 0)
        assert float(shown.flatten(1).amax(1).min()) < 1e-6
        assert float((clip.mels.float() - mel).abs().flatten(1).amax(1).min()) == 0
    assert not torch.equal(seen[0][0], seen[1][0])
    with pytest.raises(ConfigError, match="set augment to true"):
        gan_config(2, augment=False, identity=0.5)


def test_each_edge_of_hidden_boxes_moves_by_itself_in_a_window_alike():
    size, count, frames = 128, 60, 3
    masks = torch.zeros(count, frames, 1, size, size)
    for frame in range(frames):
        masks[:, frame, :, 60 + frame :, 30:100] = 1

    def edges(boxes):  # (4, B, T): top, bottom, left, right
        lines = boxes.amax(-1), boxes.amax(-2)
        found = [f(line[:, :, 0].numpy()) for line in lines for f in (
            lambda ones: ones.argmax(-1), lambda ones: size - 1 - ones[..., ::-1].argmax(-1))]
        return np.stack(found)

    moved = _jittered(masks, np.random.default_rng(0))
    assert torch.equal(moved, _jittered(masks, np.random.default_rng(0)))
    assert torch.equal(moved, moved.amax(-1, keepdim=True) * moved.amax(-2, keepdim=True)), "they stay boxes"
    moves = edges(moved) - edges(masks)
    assert (moves == moves[..., :1]).all(), "alike in a window"
    top, bottom, left, right = moves[..., 0]
    assert (bottom == 0).all(), "below the chin nothing is shown, as in dubbing"
    for one in (top, left, right):
        assert set(one) == {-2, -1, 0, 1, 2}, "8 px of 512, out and in, each window by its own"
    for one, other in ((top, left), (top, right), (left, right), (left, -right)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.4
    assert not _jittered(torch.zeros(2, 1, 1, 32, 32), np.random.default_rng(0)).any(), "nothing hidden, nothing moved"


def test_expert_learns_a_toy(blob):
    data = PackedSet.of([blob(96, 80, seed) for seed in range(2)])
    config = SyncTrainConfig(model=SyncNetConfig(face=96, width=2, audio_width=4, blocks=0.0), batch=8, negatives=4,
                             loop=LoopConfig(steps=70), lr=3e-3, warmup=20)  # fmt: skip
    task = SyncTask(config, data, {}, fabric())
    losses = [task.step(i)["loss"] for i in range(70)]
    assert np.mean(losses[-10:]) < 0.6
    assert pair_scores(task.calibrated(), data)["ranked"] > 0.75


def test_an_expert_is_judged_with_statistics_of_its_present_weights(blob):
    config = SyncTrainConfig(model=TINY_EXPERT, batch=4, negatives=2, loop=LoopConfig(steps=4))
    task = SyncTask(config, PackedSet.of([blob(128, 40)]), {}, fabric())
    task.step(0)
    fresh = task.calibrated()
    mine = task.net.module.net
    for norm in (m for m in mine.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.running_mean.fill_(7.0)  # as if they trailed far behind
    again = task.calibrated()
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(fresh.buffers(), again.buffers(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), again.parameters(), strict=True))
    assert float(mine.video.units[0].norm.running_mean.mean()) == 7.0


def test_an_expert_of_several_gpus_is_judged_by_each_process_alone(blob):
    """Processes normalise together on GPUs; one that writes weights would wait for the others for ever."""
    task = training.sync_task(4)
    task.step(0)
    shared = task.net.module
    alone = task.calibrated()
    shared.net = nn.SyncBatchNorm.convert_sync_batchnorm(shared.net)
    net = task.calibrated()
    assert any(isinstance(m, nn.SyncBatchNorm) for m in shared.modules()), "training goes on as it was"
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in net.modules())
    assert not net.training
    assert all(torch.equal(value, alone.state_dict()[name]) for name, value in net.state_dict().items())


def test_without_augmentation_an_expert_is_given_what_is_there(blob):
    quiet, varied = (SyncTask(SyncTrainConfig(model=TINY_EXPERT, batch=4, negatives=2, augment=augment, ease=0.0),
                              PackedSet.of([blob(128, 40)]), {}, fabric()) for augment in (0.0, 1.0))  # fmt: skip
    sounds, shown = draw_pairs(np.random.default_rng(0), quiet.train, 4, 2)[::-1]
    video, heard = quiet._batch(np.random.default_rng(0), 0.0, 0.0)
    assert torch.equal(heard, sounds)
    assert torch.allclose(video, lower_half_windows(shown, 128), atol=1e-4)
    assert not torch.equal(varied._batch(np.random.default_rng(0), 0.0, 1.0)[1], sounds)


def test_silence_is_no_wrong_sound_for_silence(blob):
    clip = blob(128, 60)
    clip.mels[20:50] = -4.0
    rng = np.random.default_rng(0)
    picked = {int(i) for _ in range(20) for i in draw_negatives(rng, clip, 30, 4, 0.0)}
    assert picked
    assert all(abs(i - 30) >= 5 and not 18 <= i <= 47 for i in picked)  # the window of i sounds at frame i + 2


def test_what_an_expert_does_not_hear_makes_no_other_sound(blob):
    clip = blob(128, 60)
    clip.mels[20:50] = -4.0
    clip.mels[20:50, :, :, [*range(6), *range(22, 28)]] = torch.rand(30, 1, 80, 12).to(clip.mels) * 8 - 4
    rng = np.random.default_rng(0)
    picked = {int(i) for _ in range(20) for i in draw_negatives(rng, clip, 30, 4, 0.0)}
    assert picked
    assert all(not 18 <= i <= 47 for i in picked), "16 silent columns are silence, whatever is around them"


def test_wrong_sounds_are_sought_among_neighbours_only(blob, monkeypatch):
    """In a clip of minutes, comparing with all of its sounds would take longer than the training step."""
    compared, clip = [], dataclasses.replace(blob(32, 400), mels=torch.randn(400, 1, 80, 28).half())
    monkeypatch.setattr(pairs, "same_sound", lambda one, all_: compared.append(len(all_)) or same_sound(one, all_))
    for start in (0, 200, 395):
        picked = draw_negatives(np.random.default_rng(0), clip, start, 64, 0.5) - start
        assert set(map(abs, picked)) <= set(range(2, 51))
        assert {2, 50} & set(map(abs, picked))
    assert compared == [51, 101, 51]
    silent = dataclasses.replace(clip, mels=torch.full((400, 1, 80, 28), -4.0))
    assert set(draw_negatives(np.random.default_rng(0), silent, 190, 3, 0.0)) == {395}, "nothing near differs"


@pytest.mark.parametrize("rows", [7, 10_000])
def test_scores_of_an_expert_are_those_of_all_pairs_within_two_seconds(blob, monkeypatch, rows):
    torch.manual_seed(0)
    mels = torch.randn(160, 1, 80, 28)
    mels[40:60] = -4
    clip = dataclasses.replace(blob(32, 160), mels=mels)
    seen, heard = (torch.nn.functional.normalize(torch.randn(156, 8), dim=1) for _ in range(2))
    monkeypatch.setattr(syncnet, "embeddings", lambda net, clip: (seen, heard))
    monkeypatch.setattr(syncnet, "ROWS", rows)
    cosines = (seen @ heard.T).numpy()
    silent = np.isin(np.arange(156) + 2, np.arange(40, 60))
    far = [(i, j) for i in range(156) for j in range(156) if 5 <= abs(i - j) <= 50 and not (silent[i] and silent[j])]
    hits = [abs(cosines[i, i - 10 : i + 11].argmax() - 10) <= 1 for i in range(10, 146)]
    scores = pair_scores(None, PackedSet.of([clip]))
    assert scores["ranked"] == pytest.approx(np.mean([cosines[i, i] > cosines[i, j] for i, j in far]))
    assert scores["margin"] == pytest.approx(np.diagonal(cosines).mean() - np.mean([cosines[p] for p in far]), abs=1e-6)
    assert scores["within1"] == pytest.approx(np.mean(hits))


def test_augmentation_keeps_shape_range_and_seed():
    images = torch.rand(3, 5, 3, 32, 32)
    for _ in range(2):
        first, second = (augment.colour(images, np.random.default_rng(4), strength=0.3) for _ in range(2))
        assert torch.equal(first, second)
        assert first.shape == images.shape
        assert 0 <= float(first.min()) <= float(first.max()) <= 1
    silent = torch.full((2, 1, 80, 16), -4.0)
    assert torch.equal(augment.mel_noise(silent, np.random.default_rng(0)), silent)


def test_a_weights_file_depends_on_what_it_says_alone(tmp_path):
    expert, meta, written = SyncNet(TINY_EXPERT), {"steps": 1, "of": "Zo\u00eb"}, set()
    for i in range(8):
        path = tmp_path / f"{i}.safetensors"
        checkpoint.save(path, expert, meta if i % 2 else dict(reversed(meta.items())))
        written.add(path.read_bytes())
    assert len(written) == 1
    assert checkpoint.read_meta(path)["meta"] == meta
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0, "tensors begin at whole 8 bytes"


def test_checkpoint_round_trip_and_refusals(tmp_path):
    path = tmp_path / "expert.safetensors"
    expert = SyncNet(TINY_EXPERT).eval()
    checkpoint.save(path, expert, {"note": "x"})
    loaded = checkpoint.load_syncnet(path)
    mine, theirs = expert.state_dict(), loaded.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert checkpoint.read_meta(path)["meta"] == {"note": "x"}
    with pytest.raises(CheckpointError, match="holds a syncnet, not a generator"):
        checkpoint.load_generator(path)
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 100)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoint.load_syncnet(tmp_path / "junk.safetensors")
    with pytest.raises(CheckpointError, match="no weights file"):
        checkpoint.load_syncnet(tmp_path / "none.safetensors")
    (tmp_path / "model.onnx").write_bytes(b"junk" * 100)
    with pytest.raises(CheckpointError, match=r"model\.onnx is an exported model, which can only dub"):
        checkpoint.load_generator(tmp_path / "model.onnx")


def test_unknown_settings_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'negatives'"):
        from_dict(SyncTrainConfig, {"negative": 3})
    with pytest.raises(ConfigError, match="there is no level 48"):
        GanTrainConfig(generator=gan_config(1).generator, weights={48: LossWeights()}, grow=(0.0, 0.0), batch=5)


def test_outputs_are_listed_from_coarse_to_fine():
    for levels in ([32, 16, 64], [32, 64, 64]):  # the schedule would take the first for the coarsest
        with pytest.raises(ConfigError, match="rgb_levels must rise"):
            gan_settings("nano64", 1, None, [f"generator.rgb_levels={levels}"])


def test_a_precision_that_lightning_lacks_is_refused():
    for kind in (SyncTrainConfig, GanTrainConfig):
        with pytest.raises(ConfigError, match="'precision' must be one of auto, 32-true"):
            from_dict(kind, {"precision": "fp8"})


@pytest.mark.parametrize(("kind", "sees"), [
    ("patch", "face"), ("patch", "detail"), ("sound", "face"), ("half", "face"), ("scales", "face"),
])  # fmt: skip
def test_a_critic_that_fits_has_scores_and_others_are_refused(kind, sees):
    mels, fitting = torch.zeros(2, 1, 80, 28), []
    for layers in range(7):
        config = DiscriminatorConfig(base=2, cmax=2, layers=layers, kind=kind, sees=sees)
        if config.fits(64):
            fitting.append(layers)
            assert critic(config, 64)(torch.zeros(2, 3, 64, 64), mels).numel()
        else:
            with pytest.raises((RuntimeError, ValueError)):
                critic(config, 64)(torch.zeros(2, 3, 64, 64), mels)
            with pytest.raises(ConfigError, match=f"with {layers} layers does not fit pictures of 64 px"):
                gan_config(1, discriminators={64: to_dict(config)})
    assert fitting


def resolved(preset):
    return gan_settings(preset, 100, None, [])


@pytest.mark.parametrize("preset", [p for p in presets() if not p.startswith(("syncnet", "listener", "occlusion"))])
def test_every_preset_resolves(preset):
    config = resolved(preset)
    assert len(config.grow) == len(config.generator.rgb_levels) - 1


@pytest.mark.parametrize("preset", [p for p in presets() if p.startswith("syncnet")])
def test_every_expert_preset_resolves(preset):
    config = sync_config(preset, 100, None, [])
    assert (config.model.kind == "vanilla") == (preset == "syncnet_vanilla")


@pytest.mark.parametrize(("make", "preset"), [(listener_config, "listener"), (occlusion_config, "occlusion")])
def test_what_other_networks_train_by_resolves(make, preset):
    assert make(preset, 100, None, []).loop.steps == 100


def differences(a, b, where=""):
    """Paths of the leaves in which two resolved settings differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return {d for k in a.keys() | b.keys() for d in differences(a.get(k), b.get(k), f"{where}.{k}")}
    return set() if a == b else {where}


@pytest.mark.parametrize(("name", "changed"), [
    ("no_contextual", {f".weights.{r}.features" for r in (128, 256, 512)}),
    ("perceptual", {".features"}),
    ("vanilla_sync", {".expert_kind"}),
    ("no_pyramid", {".generator.rgb_levels", ".grow"}),
    ("laplacian", {".generator.rgb"}),
    ("no_progressive", {".grow", ".fade"}),
    ("concat_audio", {".generator.audio_inject"}),
])  # fmt: skip
def test_an_ablation_changes_what_it_says_and_nothing_else(name, changed):
    full, ablation = (to_dict(resolved(p)) for p in ("full", f"ablation_{name}"))
    assert differences(full, ablation) == changed


def test_without_a_pyramid_the_finest_output_carries_all_weights():
    full, flat = resolved("full"), resolved("ablation_no_pyramid")
    for term in ("l1", "features", "frequency", "gan", "sync"):
        total = sum(getattr(full.weights_at(r), term) for r in full.generator.rgb_levels)
        assert getattr(flat.weights_at(512), term) == pytest.approx(total)
    assert list(flat.critics) == [512]
    assert flat.weights_at(512).mouth == full.weights_at(512).mouth


def test_the_paper_preset_is_literal():
    paper, expert = resolved("paper"), sync_config("syncnet_paper", 100, None, [])
    assert expert.augment == 0, "it names no augmentation, with which from the first step on the loss stays at 0.69"
    assert sync_config("syncnet_aps3", 100, None, []).ease > 0
    assert {w.mouth for w in paper.weights.values()} == {1.0}
    assert (paper.lr, paper.decay, paper.batch) == (2e-4, 0.0, 20)
    assert (expert.lr, expert.decay, expert.batch * (1 + expert.negatives)) == (2e-4, 0.0, 256)
    adam = inspect.signature(torch.optim.Adam).parameters["betas"].default
    assert paper.betas == adam, "one Adam for all: the expert's has no betas of its own"
    assert not paper.augment
    assert (expert.model.lpf, expert.model.aps_audio, paper.generator.aps_audio) == (1, "freq", "freq")


def test_an_expert_of_the_wrong_kind_is_refused(blob):
    vanilla = SyncNet(SyncNetConfig(kind="vanilla", width=2, audio_width=8, blocks=0.5))
    with pytest.raises(ConfigError, match="the expert is vanilla"):
        gan_task(blob, gan_config(1), vanilla)
    gan_task(blob, gan_config(1, expert_kind="vanilla"), vanilla)


def test_the_balance_of_gradients_is_in_proportion_to_the_weights(blob):
    torch.manual_seed(0)  # an expert drawn otherwise may say the same of every picture, and pulls at none
    expert, vgg = SyncNet(TINY_EXPERT).eval(), small_vgg()

    def measured(**weights):
        config = gan_config(4, weights={64: weights}, vgg="random")
        task = GanTask(config, PackedSet.of([blob(64, 60)]), {}, fabric(), expert, vgg=vgg)
        before = {k: v.clone() for k, v in task.state()["net"].items()}
        balance = task.balance(64, batches=2)
        assert all(torch.equal(before[k], v) for k, v in task.state()["net"].items())
        assert task.balance(64, 2, {64: {"sync"}}) == {64: {"sync": balance[64]["sync"]}}, "all that is asked"
        return balance

    some = measured(sync=0.01, frequency=1.0, features=0.1)
    more = measured(sync=0.03, frequency=1.0, features=0.1)
    assert list(some) == [64]
    assert more[64]["sync"] == pytest.approx(3 * some[64]["sync"], rel=1e-3)
    assert more[64]["frequency"] == pytest.approx(some[64]["frequency"], rel=1e-3)
    assert all(v > 0 for v in some[64].values())


def test_another_voice_is_smooth_and_silence_stays():
    mels = torch.full((3, 5, 1, 80, 16), -2.0)
    mels[1] = -4
    changed = augment.mel_voice(mels, np.random.default_rng(0)) - mels
    assert changed[1].abs().max() < 1e-5
    assert 0.2 < float(changed[0].abs().max()) <= 0.64 + 1e-6
    assert torch.equal(changed[0, 0], changed[0, 4]), "one voice for a window"
    assert not torch.equal(changed[0], changed[2])
    assert float(changed[0, 0, 0, :, 0].diff().abs().max()) < 0.1


def test_another_voice_has_its_formants_elsewhere():
    mels = torch.full((64, 1, 1, 80, 16), -4.0)
    mels[..., 40, :] = 2
    peaks = augment.mel_voice(mels, np.random.default_rng(0))[:, 0, 0, :, 8].argmax(1)
    assert 34 <= peaks.min() < 38
    assert 42 < peaks.max() <= 46


def test_weights_may_be_read_by_whom_the_user_lets_read(tmp_path):
    (tmp_path / "plain").touch()
    checkpoint.save(tmp_path / "model.safetensors", SyncNet(SyncNetConfig(width=1, audio_width=1, blocks=0.0)))
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


# -------------------------------------------------------------------------------------------- numbers that are none


def spoiled(module, value=float("inf")):
    """Let one parameter of a network get a gradient that is none, while the loss stays what it is."""
    parameter = next(p for p in module.parameters() if p.requires_grad and p.dim() == 4)
    return parameter.register_hook(lambda gradient: torch.full_like(gradient, value))


@pytest.mark.parametrize("kind", ["gan", "critics", "sync"])
def test_a_gradient_that_is_none_changes_no_weight_and_is_told(kind):
    task = training.sync_task(4) if kind == "sync" else training.full_task(4)
    task.step(0)
    net = task.critics if kind == "critics" else task.net
    hook = spoiled(net, float("nan") if kind == "critics" else float("inf"))
    before = [p.detach().clone() for p in net.parameters()]
    report = task.step(1)
    assert np.isfinite([v for k, v in report.items() if k != "gradient"]).all(), "the losses themselves are numbers"
    assert np.isnan(report["gradient"])
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    hook.remove()
    assert "gradient" not in task.step(2)
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_in_fp16_a_bad_loss_lowers_the_scale_and_training_goes_on(blob):
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    half = Fabric(accelerator="cpu", devices=1, plugins=MixedPrecision("16-mixed", "cpu", scaler))
    config = SyncTrainConfig(model=training.EXPERT, loop=LoopConfig(steps=4), batch=4, negatives=2)
    task = SyncTask(config, PackedSet.of([blob(128, 40)]), {}, half)
    assert "gradient" not in task.step(0)
    before, take = [p.detach().clone() for p in task.net.parameters()], task.batches.take
    task.batches.take = lambda index: tuple(x * float("nan") for x in take(index))
    assert np.isnan(task.step(1)["gradient"])
    assert all(torch.equal(a, b) for a, b in zip(before, task.net.parameters(), strict=True))
    assert task.state()["precision"]["scale"] == 4.0, "it is part of a run's state"
    assert all(bool(torch.isfinite(value).all()) for value in task.net.state_dict().values()), "nor any statistics"
    task.batches.take = take
    assert "gradient" not in task.step(2)
    assert any(not torch.equal(a, b) for a, b in zip(before, task.net.parameters(), strict=True))


class Going(training._Dice):
    """Some of its steps go wrong, with all its weights if it is told so."""

    def __init__(self, wrong, ruins=False):
        super().__init__()
        self.wrong, self.ruins = wrong, ruins

    def step(self, index):
        super().step(index)
        if index not in self.wrong:
            return {"loss": 0.0}
        self.sum *= float("nan") if self.ruins else 1.0
        return {"loss": 0.0, "gradient": float("nan")}


def saved_at(task, folder, steps):
    """The steps at which a run was saved, with ``save_every`` 2."""
    seen = []
    task.export = lambda path, meta: seen.append(meta["steps"])
    run(task, folder, LoopConfig(steps=steps, save_every=2), lambda line: None)
    return seen


def test_a_run_that_was_killed_while_it_wrote_its_last_weights_writes_them_when_it_goes_on(tmp_path):
    class KilledError(Exception):
        pass

    def killed(path, meta):
        raise KilledError

    task = Going(set())
    task.export = killed
    with pytest.raises(KilledError):
        run(task, tmp_path, LoopConfig(steps=3), lambda line: None)
    assert saved_at(Going(set()), tmp_path, 3)[-1:] == [3]


def test_the_state_of_something_else_is_refused_in_a_line(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="is not the state of a training; remove it to start again"):
        run(Going(set()), tmp_path, LoopConfig(steps=3), lambda line: None)


def test_nothing_is_saved_while_a_run_goes_wrong(tmp_path):
    assert saved_at(Going({3, 4}), tmp_path / "a", 8) == [2, 6, 8], "step 4 waits for a good one, which is saved at 6"
    assert saved_at(Going({3}), tmp_path / "b", 8) == [2, 5, 6, 8], "as soon as it goes well again"
    assert saved_at(Going({5}), tmp_path / "c", 6) == [2, 4, 6], "an update left out at the end harms no weights"
    with pytest.raises(SidganError, match=r"NaN or infinite at step 6; lower the learning rate"):
        saved_at(Going({4, 5}, ruins=True), tmp_path / "d", 6)
    assert torch.load(tmp_path / "d" / "last.pt")["step"] == 4
    with pytest.raises(SidganError, match=r"its gradient is NaN or infinite since step 4;"):
        saved_at(Going(set(range(3, 99))), tmp_path / "e", 99)
