"""The training of an adaptation: as many steps as fit into the time, evaluated a few times on the way."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from sidgan.adaptation.settings import AdaptConfig
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.nn import Generator
from sidgan.nn.baselines import Critics
from sidgan.train.gan import GanTask
from sidgan.train.loop import LoopConfig
from sidgan.train.runs import launch


def frozen(base: Generator, hears: bool, config: AdaptConfig) -> list[str]:
    """Names of the frozen parameters.

    If the sound does not belong to the picture, training could only harm the relation of sound and mouth. So whatever
    shapes the mouth is frozen: the audio encoder, the blocks that it modulates, and the layers that move references.
    The rest learns what the person looks like.
    """
    deaf = () if hears else ("audio.", "motion.", *(f"blocks.{level}." for level in base.config.audio_levels))
    names = [name for name, _ in base.named_parameters()]
    return [n for n in names if n.startswith(deaf) or (config.tuned and not n.startswith(config.tuned))]


def tune(
    base: Generator,
    clips: Sequence[PackedClip],
    minutes: float,
    config: AdaptConfig,
    *,
    hears: bool,
    device: str,
    seed: int,
    look: Callable[[float, Generator], None],
    progress: Callable[[float], None],
    rivals: Critics | None = None,
) -> tuple[int, float]:
    """Train a copy of ``base`` on some clips.

    Args:
        base: is not changed.
        clips: of one face.
        minutes: time for training, without evaluation.
        hears: whether the clips' sound belongs to their pictures.
        look: called at each of ``config.looks`` with the share done and the weights to evaluate, on the CPU:
            ``config.part`` of the way from ``base`` to the averaged weights.
        progress: called with the share done.
        rivals: the critics that ``base`` was trained with.

    Returns:
        Number of steps, and the minutes spent on them.
    """
    frozen_names = set(frozen(base, hears, config))
    net = _trainable_copy(base, frozen_names)
    data = PackedSet.of(list(clips))
    critic = rivals.config.levels.get(base.config.rgb_levels[-1]) if rivals and hears and config.gan else None
    settings = config.training(base.config, hears=hears, seed=seed, critic=critic)
    if all(name in frozen_names for name, _ in base.named_parameters() if name.startswith("audio.")):
        settings = replace(settings, audio_lr=0.0)
    task = GanTask(settings, data, {}, launch(device, "auto"), None, net, rivals=rivals)
    steps, spent = _learn(task, minutes, config, progress, lambda at: look(at, _averaged(task, base, config.part)))
    return steps, spent / 60


def _trainable_copy(base: Generator, frozen_names: set[str]) -> Generator:
    """A copy of ``base`` in which all but the named parameters are trained."""
    net = copy.deepcopy(base)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name not in frozen_names)
    return net


def _averaged(task: GanTask, base: Generator, part: float) -> Generator:
    """The averaged weights, interpolated towards ``base``, on the CPU."""
    return interpolate(base, copy.deepcopy(task.ema).cpu().eval(), part)


def _learn(
    task: GanTask, minutes: float, config: AdaptConfig, progress: Callable[[float], None],
    look: Callable[[float], None],
) -> tuple[int, float]:  # fmt: skip
    """Train until the time is up or all steps are done; returns the number of steps, and the seconds spent on them."""
    pending, spent, index, steps = list(config.looks), 0.0, 0, config.steps or 1
    while pending:
        started = time.monotonic()
        task.step(index)
        index += 1
        spent += time.monotonic() - started
        if config.steps is None:
            steps = max(index, int(index * 60 * minutes / spent)) if spent < 60 * minutes else index
        share = index / steps if config.steps else min(1.0, spent / (60 * minutes))
        task.config = replace(task.config, loop=LoopConfig(steps=max(steps, 2)))  # for the learning-rate schedule
        progress(share)
        due = [at for at in pending if share >= at]
        pending = pending[len(due) :]
        if due:
            look(due[-1])
    return index, spent


@torch.no_grad()
def interpolate(base: Generator, changed: Generator, part: float) -> Generator:
    """Set ``changed`` to the point ``part`` of the way from ``base`` to ``changed``, in place; returns it."""
    start = base.state_dict()
    for name, value in changed.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.lerp(start[name].to(value), value, part))
    return changed
