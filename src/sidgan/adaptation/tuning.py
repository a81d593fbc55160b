"""The steps of an adaptation: so many as fit into the time, judged a few times on the way."""

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
    """Names of the parameters that stay as they are.

    With a sound that does not belong to the picture, what the network knows of sounds and mouths can only get worse. So
    the audio encoder stays, and every block that it modulates, and what moves references: there mouths get their shape.
    What is left learns what the person looks like.
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
    progress: Callable[[float, int, int], None],
    rivals: Critics | None = None,
) -> tuple[int, float]:
    """Train a copy of ``base`` on some clips.

    Args:
        base: stays as it is.
        clips: of one face.
        minutes: time for steps; looking comes on top.
        hears: whether the clips' sound belongs to their pictures.
        look: called with the share done and the weights to be judged, on the CPU, at each of ``config.looks``: those
            averaged over the steps, ``config.part`` of the way from ``base`` to them.
        progress: called with the share done, the steps done, and about how many there will be.
        rivals: the critics that ``base`` was trained against.

    Returns:
        Steps, and minutes spent on them.
    """
    still = set(frozen(base, hears, config))
    net = _learner(base, still)
    data = PackedSet.of(list(clips))
    rival = rivals.config.levels.get(base.config.rgb_levels[-1]) if rivals and hears and config.gan else None
    settings = config.training(base.config, hears=hears, seed=seed, critic=rival)
    if all(name in still for name, _ in base.named_parameters() if name.startswith("audio.")):
        settings = replace(settings, audio_lr=0.0)
    task = GanTask(settings, data, {}, launch(device, "auto"), None, net, rivals=rivals)
    steps, spent = _learn(task, minutes, config, progress, lambda at: look(at, _averaged(task, base, config.part)))
    return steps, spent / 60


def _learner(base: Generator, still: set[str]) -> Generator:
    """A copy of ``base`` in which all but some parameters learn."""
    net = copy.deepcopy(base)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name not in still)
    return net


def _averaged(task: GanTask, base: Generator, part: float) -> Generator:
    """The weights as averaged over the steps, taken back towards ``base``, on the CPU."""
    return between(base, copy.deepcopy(task.ema).cpu().eval(), part)


def _learn(
    task: GanTask, minutes: float, config: AdaptConfig, progress: Callable[[float, int, int], None],
    look: Callable[[float], None],
) -> tuple[int, float]:  # fmt: skip
    """Make steps until the time is up or all are made; returns their number, and the seconds spent on them."""
    ahead, spent, index, steps = list(config.looks), 0.0, 0, config.steps or 1
    while ahead:
        begun = time.monotonic()
        task.step(index)
        index += 1
        spent += time.monotonic() - begun
        if config.steps is None:
            steps = max(index, int(index * 60 * minutes / spent)) if spent < 60 * minutes else index
        share = index / steps if config.steps else min(1.0, spent / (60 * minutes))
        task.config = replace(task.config, loop=LoopConfig(steps=max(steps, 2)))  # the rate falls towards this end
        progress(share, index, steps)
        due = [at for at in ahead if share >= at]
        ahead = ahead[len(due) :]
        if due:
            look(due[-1])
    return index, spent


@torch.no_grad()
def between(base: Generator, changed: Generator, part: float) -> Generator:
    """``changed``, taken back towards ``base`` to ``part`` of the way between them, in place."""
    known = base.state_dict()
    for name, value in changed.state_dict().items():
        if value.is_floating_point():
            value.copy_(torch.lerp(known[name].to(value), value, part))
    return changed
