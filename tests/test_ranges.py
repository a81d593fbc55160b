"""Settings that cannot be are refused when they are read, not hours later."""

import json

import pytest
import torch
from safetensors.torch import save_file

from sidgan import checkpoint
from sidgan.config import DiscriminatorConfig, GeneratorConfig, LossWeights
from sidgan.data.packing import PrepareConfig
from sidgan.errors import CheckpointError, ConfigError
from sidgan.evaluation.videos import VideoSettings
from sidgan.settings import from_dict, to_dict
from sidgan.train.loop import LoopConfig
from sidgan.train.runs import gan_config, listener_config, occlusion_config, sync_config

LOOP = {"steps": 0, "log_every": 0, "eval_every": 0, "save_every": -1, "minutes": -1.0}
WRONG = {
    gan_config: ("tiny128", {
        "batch": 0, "lr": -1.0, "ema": 7.0, "betas": [0.5, 1.0], "decay": 2.0, "grow": [0.5, 0.2], "fade": -0.1,
        "sync_every": 0, "features_every": 0, "critic_lr": -1.0, "identity": 2.0, "references": 0, "pool": 0,
        "recon_frames": 6, "settle": -1.0, "warmup": -1, "weights.128.l1": -1.0, "weights.64.gan": -0.1,
        "weights.128.mouth": 0.0, "weights.128.lips": -1.5,
    }),
    sync_config: ("syncnet", {
        "batch": 0, "negatives": 0, "lr": 0.0, "decay": 2.0, "warmup": -1, "augment": 1.5, "ease": -1.0, "near": 2.0,
        "watch": -1, "pool": 0,
    }),
    listener_config: ("listener", {"batch": 0, "each": 0, "lr": float("nan"), "augment": -1.0, "ema": 1.0}),
    occlusion_config: ("occlusion", {"batch": 0, "covered": 2.0, "lr": 0.0, "ema": 1.0, "seed": -1}),
}  # fmt: skip


@pytest.mark.parametrize(("make", "name", "value"), [
    (make, name, value) for make, (_, values) in WRONG.items()
    for name, value in (*values.items(), *((f"loop.{k}", v) for k, v in LOOP.items()))
])  # fmt: skip
def test_a_value_that_cannot_be_is_named(make, name, value):
    preset = WRONG[make][0]
    with pytest.raises(ConfigError, match=rf"\b{name.split('.')[-1]} must .*, not "):
        make(preset, 100, None, [f"{name}={json.dumps(value).lower()}"])


@pytest.mark.parametrize(("kind", "value", "says"), [
    (DiscriminatorConfig, {"layers": -1}, "layers must be 0 or more, not -1"),
    (DiscriminatorConfig, {"base": 0}, "base must be 1 or more, not 0"),
    (DiscriminatorConfig, {"base": "²"}, "'base' must be int, not '²'"),
    (DiscriminatorConfig, {"base": "--5"}, "'base' must be int, not '--5'"),
    (LossWeights, {"sync": float("inf")}, "sync must be 0 or more, not inf"),
])  # fmt: skip
def test_what_would_fail_in_training_is_refused_before(kind, value, says):
    with pytest.raises(ConfigError, match=f"^{says}$"):
        from_dict(kind, value)


@pytest.mark.parametrize(("kind", "value", "says"), [
    (PrepareConfig, {"size": 100_000}, "size must be even and from 32 to 2048 px, not 100000"),
    (PrepareConfig, {"min_side": float("nan")}, "min_side must be 0 or more, not nan"),
    (PrepareConfig, {"max_turned": 45.0}, "max_turned must be 0 to 1, not 45.0"),
    (PrepareConfig, {"max_yaw": -1.0}, "max_yaw must be 0 to 180, not -1.0"),
    (PrepareConfig, {"max_seconds": 0.0}, "max_seconds must be 1 or more, not 0.0"),
    (PrepareConfig, {"min_loudness": float("nan")}, "min_loudness must be a number, not nan"),
    (VideoSettings, {"size": 100_000}, "size must be even and from 64 to 2048 px, not 100000"),
])  # fmt: skip
def test_what_no_clip_could_pass_is_refused_before(kind, value, says):
    with pytest.raises(ConfigError, match=f"^{says}$"):
        from_dict(kind, value)


def test_lips_weigh_nothing_more_where_the_mouth_does_not():
    with pytest.raises(ConfigError, match="lips = 12 has no effect with mouth = 1"):
        gan_config("tiny128", 100, None, ["weights.128.mouth=1"])
    gan_config("tiny128", 100, None, ["weights.128.mouth=1", "weights.128.lips=0"])


def test_a_critics_weight_without_a_critic_is_refused():
    with pytest.raises(ConfigError, match=r"level 128 has a 'gan' weight and no critic: .*discriminators\.128"):
        gan_config("tiny128", 100, None, ["weights.128.gan=0.1"])


@pytest.mark.parametrize("name", ["size", "start", "base", "cmax", "audio_width", "audio_blocks"])
def test_a_generator_has_sizes_above_nothing(name):
    for value in (-1, -16) if name == "audio_blocks" else (0, -16):
        with pytest.raises(ConfigError, match=rf"^{name} must be [01] or more, not {value}"):
            from_dict(GeneratorConfig, {name: value})


def test_a_strangers_weights_file_cannot_hold_up_whoever_reads_it(tmp_path):
    config = to_dict(GeneratorConfig()) | {"start": 0}
    header = {"format": checkpoint.FORMAT, "kind": "generator", "config": json.dumps(config), "meta": "{}"}
    save_file({"x": torch.zeros(1)}, tmp_path / "endless.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match="start must be 1 or more"):
        checkpoint.load_generator(tmp_path / "endless.safetensors")


def test_the_limits_of_a_loop_are_allowed():
    assert LoopConfig(steps=1, log_every=1, eval_every=1, save_every=1, minutes=0.0).minutes == 0
