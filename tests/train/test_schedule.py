"""The full schedule: what begins when, what waits for what, and how the terms are brought into balance."""

import json

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch.utils._python_dispatch import TorchDispatchMode

from sidgan import checkpoint, losses
from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.nn import Generator, SyncNet
from sidgan.paper.ablation import config_of
from sidgan.settings import from_dict, read_toml
from sidgan.train import calibration, gan
from sidgan.train.calibration import BANDS, COARSEST_SYNC
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.loop import LoopConfig, run
from sidgan.train.rate import rate_at
from sidgan.train.runs import gan_config as resolve
from sidgan.train.schedule import SyncGate, moment

TINY_EXPERT = SyncNetConfig(face=96, width=1, audio_width=8, blocks=0.5)
TERMS = {"weights": {64: {"sync": 0.1, "gan": 0.1, "frequency": 1.0}, 16: {"sync": 1e3}},
         "discriminators": {64: {"base": 4, "layers": 2}}}  # fmt: skip


def gan_config(steps, **changes):
    small = read_toml("nano64")["generator"] | {"base": 4, "cmax": 16}
    values = {"generator": small, "loop": {"steps": steps}, "batch": 5, "lr": 2e-3,
              "grow": [0.0, 0.0], "fade": 0.0, "sync_from": 0.0, "gan_from": 0.0}  # fmt: skip
    return from_dict(GanTrainConfig, values | changes)


def task(blob, config, precision="32-true"):
    torch.manual_seed(0)
    data, fabric = PackedSet.of([blob(64, 60)]), Fabric(accelerator="cpu", devices=1, precision=precision)
    return GanTask(config, data, {"held": data}, fabric, SyncNet(TINY_EXPERT).eval())


# -------------------------------------------------------------------------------------------------- when what begins


def test_the_full_preset_follows_the_schedule_of_the_paper_sized_run():
    config, million = resolve("full", 3_900_000, None, []), 1_000_000

    def at(step):
        return moment(config, int(step), opened=int(0.3 * million))

    assert [at(m * million).level for m in (0, 1.19, 1.21, 2.39, 2.41)] == [128, 128, 256, 256, 512]
    assert at(0.29 * million).sync == 0
    assert at(0.325 * million).sync == pytest.approx(0.5, abs=0.01), "it rises over 50,000 steps"
    assert at(0.36 * million).sync == 1
    assert at(0.019 * million).gan_levels == ()
    assert at(0.021 * million).gan_levels == (128,)
    assert at(1.25 * million).sync_levels == (128,)
    assert at(1.31 * million).sync_levels == (128, 256), "once it has faded in"
    assert at(1.31 * million).gan_levels == (128,)
    assert at(1.33 * million).gan_levels == (128, 256), "20,000 steps later"
    assert at(3.0 * million).gan_levels == (128, 256, 512)
    assert moment(config, 3 * million, opened=None).sync == 0, "while the gate is shut"


@pytest.mark.parametrize("preset", ["full", "small128", "tiny128"])
def test_without_progressive_training_all_levels_count_in_full_from_the_first_update(preset):
    base = config_of("full", preset, 1000, 0)
    config = config_of("no_progressive", preset, 1000, 0)
    now, levels = moment(config, 1), base.generator.rgb_levels
    assert (now.level, now.fade) == (levels[-1], 1.0)
    half = int(1000 * (base.sync_from + (base.fade if base.sync_ramp is None else base.sync_ramp) / 2))
    assert moment(config, half).sync == moment(base, half).sync, "the sync loss rises as in the full setting"


def test_without_settling_every_term_joins_in_with_its_level():
    config = gan_config(100, grow=[0.2, 0.5], fade=0.2, gan_from=0.1)
    assert moment(config, 25).gan_levels == moment(config, 25).sync_levels == (16, 32)
    assert moment(config, 5).gan_levels == ()


def test_learning_rates_rise_stay_and_fall_to_their_floor():
    rates = [rate_at(i, 1000, 2.0, rise=50, decay=0.5, floor=0.1) for i in (0, 24, 49, 500, 750, 999)]
    assert rates == pytest.approx([0.04, 1.0, 2.0, 2.0, 1.0, 0.2])
    assert rate_at(999, 1000, 2.0, rise=0, decay=0.0, floor=0.1) == 2.0, "nothing rises or falls"


def test_the_gate_opens_when_the_loss_has_stopped_falling():
    gate = SyncGate(2)
    assert [gate.add(i, l1) for i, l1 in enumerate([1.0, 0.8, 0.797, 0.6, 0.599, 0.61, 0.1])] == [
        False, False, False, False, False, True, False]  # fmt: skip
    assert gate.opened == 5
    assert SyncGate(0).opened == 0


def test_a_run_with_gate_and_calibration_resumes_as_if_uninterrupted(blob, tmp_path, monkeypatch):
    monkeypatch.setattr(gan, "CALIBRATION_BATCHES", 1)
    monkeypatch.setattr(calibration, "MIN_MARGIN", -1.0)
    config = gan_config(8, lr=1e-6, sync_gate=1, calibrate=True, recon_frames=2, settle=0.2, sync_ramp=0.2, **TERMS)
    quiet = {"log_every": 1, "eval_every": 2}
    whole = task(blob, config)
    run(whole, tmp_path / "whole", LoopConfig(steps=8, save_every=8, **quiet), lambda s: None)
    assert whole.gate.opened == 4, "with this learning rate nothing falls"
    assert set(whole.calibration.scales[64]) == {"sync", "gan", "frequency"}
    for _ in range(2):
        part = task(blob, config)
        run(part, tmp_path / "part", LoopConfig(steps=8, save_every=5, minutes=0.0, **quiet), lambda s: None)
    again = task(blob, config)
    run(again, tmp_path / "part", LoopConfig(steps=8, **quiet), lambda s: None)
    expected, got = whole.state(), again.state()
    assert all(torch.equal(expected["net"][k], got["net"][k]) for k in expected["net"])
    assert (expected["gate"], expected["calibration"]) == (got["gate"], got["calibration"])
    lines = [json.loads(x) for x in (tmp_path / "part" / "stats.jsonl").read_text().splitlines()]
    assert [x["step"] for x in lines if "sync" in x] == [6, 7, 8]
    log = (tmp_path / "part" / "log.txt").read_text()
    assert "the sync loss can start" in log
    assert f"stopped after 0.0 minutes at step 1; add --run {tmp_path / 'part'} to the command to resume" in log


# ------------------------------------------------------------------------------------------------------------ balance


def test_calibration_brings_each_term_into_its_band_once(blob, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_MARGIN", -1.0)
    learner = task(blob, gan_config(40, calibrate=True, **TERMS))
    for index in range(4):
        learner.step(index)
    after = learner.balance(64, 16)
    for level, terms in learner.calibration.scales.items():
        for term, factor in terms.items():
            low, high = COARSEST_SYNC if (term, level) == ("sync", 16) else BANDS[term]
            assert low / 2 < after[level][term] < 2 * high, f"{term} at {level}, scaled by {factor}"
    assert learner.calibration.scales[16]["sync"] < 1, "its weight was enormous"
    scales = json.dumps(learner.calibration.scales)
    learner.step(4)
    assert json.dumps(learner.calibration.scales) == scales, "once"
    learner.export(tmp_path / "w.safetensors", {})
    kept = checkpoint.read_meta(tmp_path / "w.safetensors")["meta"]["weights"]
    assert kept["16"]["sync"] == pytest.approx(1e3 * learner.calibration.scales[16]["sync"])
    assert "level 16: the gradient of sync is" in " ".join(learner.notes())


def test_calibration_costs_a_process_no_more_frames_than_a_step(blob, monkeypatch):
    learner = task(blob, gan_config(40, **TERMS | {"batch": 20}))
    learner.share = 5  # as the first of four processes
    seen, terms = [], learner.objective.terms
    monkeypatch.setattr(
        learner.objective, "terms", lambda r, image, *rest: seen.append(len(image)) or terms(r, image, *rest)
    )
    learner.balance(64, 1)
    assert set(seen) == {5}


def test_a_critic_is_weighed_when_it_tells_real_from_generated(blob):
    learner = task(blob, gan_config(40, calibrate=True, **TERMS))
    for index in range(4):
        learner.step(index)
    assert set(learner.calibration.scales[64]) == {"sync", "frequency"}, "after 4 steps it knows nothing"
    for _ in range(20):
        learner.calibration.observe({"real64": 0.7, "fake64": 0.3, "l1": 0.1})
    for index in range(4, 8):
        learner.step(index)
    assert "gan" in learner.calibration.scales[64]


def test_a_critic_of_detail_keeps_its_weight(blob, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_MARGIN", -1.0)
    critics = {r: {**c, "sees": "detail"} for r, c in TERMS["discriminators"].items()}
    learner = task(blob, gan_config(40, calibrate=True, **{**TERMS, "discriminators": critics}))
    for index in range(4):
        learner.step(index)
    assert set(learner.calibration.scales[64]) == {"sync", "frequency"}


def test_without_calibration_weights_are_what_was_set(blob):
    plain = task(blob, gan_config(40, **TERMS))
    plain.step(0)
    assert plain.objective.weights_at(64) == plain.config.weights_at(64)


# ---------------------------------------------------------------------------------------------- cost and precision


def test_the_dearest_terms_may_look_at_some_frames_of_each_clip(blob):
    some = task(blob, gan_config(4, recon_frames=2, **TERMS | {"batch": 10}))
    rng = np.random.default_rng(0)
    picked = [some.sampled_frames(rng, 10) for _ in range(20)]
    assert all(len(p) == 4 and (p[:2] < 5).all() and (p[2:] >= 5).all() for p in picked)
    assert len({tuple(p.tolist()) for p in picked}) > 5
    assert task(blob, gan_config(4)).sampled_frames(rng, 10) is None
    report = some.step(1)
    assert all(np.isfinite(v) for v in report.values())


def test_recomputed_blocks_change_neither_outputs_nor_gradients():
    torch.manual_seed(0)
    net = Generator(from_dict(GeneratorConfig, read_toml("nano64")["generator"]))
    inputs = torch.rand(2, 3, 64, 64), torch.rand(1, 3, 64, 64), torch.randn(2, 1, 80, 16)

    def gradients():
        net.zero_grad()
        images = net(*inputs, 64, 0.5)
        sum(image.square().mean() for image in images.values()).backward()
        return [i.detach() for i in images.values()] + [p.grad.clone() for p in net.parameters() if p.grad is not None]

    kept = gradients()
    calls = []
    net.blocks["64"].register_forward_pre_hook(lambda *_: calls.append(1))
    net.recompute(2)
    again = gradients()
    assert len(calls) == 2, "once forward, once again for the backward pass"
    assert len(kept) == len(again)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_a_step_in_bfloat16_computes_its_losses_in_full_precision(blob):
    learner = task(blob, gan_config(4, **TERMS), precision="bf16-mixed")
    seen = []
    learner.critics.module["64"].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    report = learner.step(1)
    assert torch.bfloat16 in seen, "networks run in half precision"
    assert {"l1", "frequency", "gan", "sync"} <= set(report)
    plain = task(blob, gan_config(4, **TERMS)).step(1)
    for name in ("l1", "frequency", "gan", "sync"):
        assert report[name] == pytest.approx(plain[name], rel=0.05)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_losses_never_compute_in_half_precision(half):
    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            made.append((str(function), getattr(result, "dtype", None)))
            return result

    torch.manual_seed(0)
    image, target = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    features, others, mask = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6), torch.ones(2, 1, 32, 32)
    score, cosine = torch.randn(2, 1, 4, 4), torch.tensor([0.3, -0.999])
    calls = [
        lambda x: losses.masked_l1(x(image), x(target), mask, 5.0),
        lambda x: losses.focal_frequency_loss(x(image), x(target)),
        lambda x: losses.contextual_loss(x(features), x(others)),
        lambda x: losses.perceptual_loss(x(features), x(others)),
        lambda x: losses.lsgan_d(x(score), x(-score)),
        lambda x: losses.lsgan_g(x(score)),
        lambda x: losses.sync_loss(x(cosine)),
        lambda x: losses.sync_bce(x(cosine), torch.tensor([1.0, 0.0])),
    ]
    for call in calls:
        made: list = []
        with torch.autocast("cpu", torch.bfloat16), Watch():
            same, given = call(lambda t: t), call(lambda t: t.to(half))  # as networks hand it over
        assert torch.equal(same, call(lambda t: t))
        assert torch.equal(given, call(lambda t: t.to(half).float()))
        assert not [f for f, kind in made if kind == half and "_to_copy" not in f], "an island of float32"


class Scaler:
    """Stands for the gradient scaler of 16-mixed, which a CPU does not have."""

    scaler, value = object(), 3.0

    def state_dict(self):
        return {"scale": self.value}

    def load_state_dict(self, state):
        self.value = state["scale"]


def test_a_gradient_scaler_sees_every_step_and_is_part_of_the_state(blob):
    from types import SimpleNamespace

    from sidgan.train.precision import restore_scaler, scaler_state, update

    steps, cleared = [], []
    fake = SimpleNamespace(strategy=SimpleNamespace(precision=Scaler()))
    optimiser = SimpleNamespace(step=lambda: steps.append(1), zero_grad=lambda set_to_none: cleared.append(1))
    update(fake, optimiser, False)
    assert steps == [1], "it decides itself, and lowers its scale"
    assert cleared == [1], "it looks at gradients only: those of a loss that is none must not count"
    state = scaler_state(fake)
    fake.strategy.precision.value = 9.0
    restore_scaler(fake, state)
    assert fake.strategy.precision.value == 3.0
    plain = task(blob, gan_config(2))
    update(plain.fabric, optimiser, False)
    assert steps == [1]
    assert plain.state()["precision"] == {}
