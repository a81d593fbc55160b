"""What goes wrong with a generator in training is named, with its remedy."""

import pytest
import torch
import torch.nn.functional as F
from invariants import training
from lightning.fabric import Fabric
from torch import nn

from sidgan.config import SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.settings import from_dict, read_toml
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.health import sync_figures, warnings
from sidgan.train.runs import gan_config

WELL = {"gap": 1.0, "to_truth": 0.05, "to_reference": 0.08, "sync_gap": 0.4, "sync_truth_gap": 0.5, "real64": 0.6,
        "fake64": 0.4}  # fmt: skip


def task(blob, steps=100, **changes):
    values = {"generator": read_toml("nano64")["generator"], "loop": {"steps": steps}, "batch": 5, "grow": [0.0, 0.0],
              "fade": 0.0, "sync_from": 0.0, "gan_from": 2.0}  # fmt: skip
    data = PackedSet.of([blob(64, 60)])
    config = from_dict(GanTrainConfig, values | changes)
    return GanTask(config, data, {"held": data}, Fabric(accelerator="cpu", devices=1))


class Oracle(nn.Module):
    """An expert for drawn blobs: how dark the mouth is must fit how loud the sound is."""

    config = SyncNetConfig()
    looks = 0

    def embed_video(self, seen):
        self.looks += 1
        mouth = seen[:, 6:9, 16:44, 44:84]  # of the middle frame
        return self._turned((((mouth < 0.25).float().mean((1, 2, 3)) - 0.138) / 0.69).clamp(0, 1))  # see drawn.py

    def embed_audio(self, mel):
        return self._turned(((mel.mean((1, 2, 3)) + 3) / 5).clamp(0, 1))

    def _turned(self, share):
        """Shares as directions: the same ones have cosine 1, 0 and 1 have -1."""
        return torch.stack([(torch.pi * share).cos(), (torch.pi * share).sin()], 1)

    def forward(self, seen, mel):
        return (self.embed_video(seen) * self.embed_audio(mel)).sum(1)


def notes_after_evaluation(task, tmp_path, index=50):
    task.evaluate(index, tmp_path)
    return " ".join(task.notes())


def test_a_deaf_network_is_told_that_it_ignores_the_sound(blob, tmp_path):
    deaf = task(blob)
    for name, weight in deaf.ema.named_parameters():
        if "modulation" in name:
            weight.zero_()
    said = notes_after_evaluation(deaf, tmp_path)
    assert "the sound is ignored (wrong sound costs only 0.00 dB); set audio_lr to 1" in said
    assert notes_after_evaluation(deaf, tmp_path, index=5) == "", "nothing is expected at the beginning"


def test_the_sync_loss_tells_of_ignored_sound_too(blob, tmp_path):
    deaf = task(blob, weights={64: {"sync": 0.1}})
    expert = Oracle()
    figures = sync_figures(deaf.ema, expert, deaf.train, 64)
    assert expert.looks == 2, "drawn and true pictures are seen once, whatever they are compared with"
    assert figures["sync_truth_gap"] > 0.1, "the oracle knows right from wrong"
    assert figures["sync_truth"] < figures["sync"]
    assert abs(figures["sync_gap"]) < 0.05
    good = WELL | {k: figures[k] for k in ("sync_gap", "sync_truth_gap")}
    (line,) = warnings(good, 0.5, True, True)
    assert "the sound is ignored (wrong sound raises the sync loss by only 0.0" in line
    assert "dB" not in line, "by which it is not told"
    assert warnings(good, 0.5, False, True) == [], "the sync loss has not begun"


def test_a_copied_reference_is_noticed(blob, tmp_path):
    copier = task(blob)

    def copy(query, reference, mel, level=None, fade=None, placed=None):
        return {r: F.interpolate(reference[:, 0], (r, r), mode="area") for r in (16, 32, 64)}

    copier.ema.forward = copy
    assert "the reference frame is copied" in notes_after_evaluation(copier, tmp_path)


def test_a_winning_critic_is_noticed(tmp_path):
    # A generator that hardly learns, against a critic that learns fast.
    uneven = training.gan_task(80, lr=1e-6, critic_lr=1e4, gan_from=0.0, weights={32: {"gan": 0.1}},
                               discriminators={32: {"base": 16, "layers": 2}})  # fmt: skip
    for index in range(80):
        scores = uneven.step(index)
    assert scores["real32"] > scores["fake32"]
    before = {k: v.clone() for k, v in uneven.critics.state_dict().items()}
    assert "the critic of level 32 is winning" in notes_after_evaluation(uneven, tmp_path, index=80)
    assert all(torch.equal(v, before[k]) for k, v in uneven.critics.state_dict().items()), "looked at, not changed"


def test_a_healthy_generator_is_left_in_peace():
    assert warnings(WELL, 0.5, True, True) == []


@pytest.mark.parametrize(("preset", "remedy"), [
    ("tiny128_detail", "set audio_lr to 1, or raise lips or the weight of the sync loss"),
    ("tiny128", "raise lips or the weight of the sync loss"),  # it is 1
    ("tiny256", "raise lips or the weight of the sync loss"),  # it must be 0
])  # fmt: skip
def test_a_remedy_is_one_that_can_be_taken(preset, remedy):
    config = gan_config(preset, 1, None, [])
    (line,) = warnings(WELL | {"gap": 0.0}, 0.5, True, config.ears_can_learn)
    assert line.split("; ")[1] == remedy


@pytest.mark.parametrize(("changes", "words"), [
    ({"gap": 0.02}, "sound is ignored"),
    ({"sync_truth_gap": 0.01}, "expert hardly tells"),
    ({"to_reference": 0.04}, "reference frame is copied"),
    ({"real64": 0.95, "fake64": 0.03}, "critic of level 64 is winning"),
])  # fmt: skip
def test_each_warning_has_its_cause_alone(changes, words):
    (line,) = warnings(WELL | changes, 0.5, True, True)
    assert words in line
    assert ";" in line, "a remedy follows"
