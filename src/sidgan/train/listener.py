"""Train a listener, which classifies speech sounds: so its audio encoder learns voices that no training video has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.config import ListenerConfig
from sidgan.data.speech import UNKNOWN, SpeechSet
from sidgan.errors import counted
from sidgan.nn import Listener
from sidgan.settings import require, require_between
from sidgan.train import augment
from sidgan.train.loop import LoopConfig
from sidgan.train.next_batch import NextBatch
from sidgan.train.precision import Precision
from sidgan.train.processes import share, step_rng
from sidgan.train.rate import rate_at
from sidgan.train.single import SingleTask

LABEL_SMOOTHING = 0.1  #: label smoothing, as labels are often wrong
EVAL_RECORDINGS = 256  #: recordings drawn for the held-out figure


@dataclass(frozen=True)
class ListenerTrainConfig:
    """Training of a listener.

    Attributes:
        model: the network.
        loop: steps and intervals.
        batch: recordings per step.
        each: windows of each recording; they share the voice and the augmentation.
        lr: largest learning rate of AdamW.
        decay: share of the run, at its end, over which the learning rate falls linearly to almost nothing.
        augment: 0 turns augmentation off; above it, 0 to 1 scales the probabilities of echo and of missing bands.
        held: every ``held``-th voice is held out for evaluation.
        ema: decay of the averaged weights, which are evaluated and exported.
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name of one.
        seed: random seed.
    """

    model: ListenerConfig = field(default_factory=ListenerConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 64
    each: int = 8
    lr: float = 2e-3
    decay: float = 0.7
    augment: float = 1.0
    held: int = 12
    ema: float = 0.998
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.held >= 2, f"held must be 2 or more, not {self.held}: some voices must be left for training")
        require_between(self, 1, math.inf, "batch", "each")
        require_between(self, 0, math.inf, "seed")
        require_between(self, 0, 1, "decay", "augment")
        require(0 < self.lr <= 1, f"lr must be more than 0, 1 at the most, not {self.lr}")
        require(0 <= self.ema < 1, f"ema must be 0 or more and less than 1, not {self.ema}")


class ListenerTask(SingleTask[Listener]):
    """A listener in training; see `sidgan.train.loop.Task`.

    Args:
        speech: all recordings; some voices are held out.
        start: initial weights.
    """

    def __init__(
        self, config: ListenerTrainConfig, speech: SpeechSet, fabric: Fabric, start: Listener | None = None
    ) -> None:
        torch.manual_seed(config.seed)
        super().__init__(start or Listener(config.model), fabric, lr=config.lr, decay=0.01, ema=config.ema)
        self.config = config
        self.share = share(fabric, config.batch)
        self.train, self.held = speech.divided(config.held)
        self.note(f"{counted(len(self.train.voices), 'voice')}, {self.train.seconds / 60:.1f} min; "
                  f"held out: {', '.join(sorted(self.held.voices)) or 'none'}")  # fmt: skip
        self.batches = NextBatch(self._step_batch)

    def step(self, index: int) -> Mapping[str, float]:
        """One batch: each window is labelled with the speech sound in its middle."""
        mels, sounds = self.batches.take(index)
        self.net.train()
        scores = self.net(mels)
        loss = F.cross_entropy(scores, sounds, ignore_index=UNKNOWN, label_smoothing=LABEL_SMOOTHING)
        return {**self.learn(index, loss, self._rate(index)), "right": _accuracy(scores, sounds)}

    def _rate(self, index: int) -> float:
        config = self.config
        return rate_at(index, config.loop.steps, config.lr, rise=100, decay=config.decay, floor=0.02)

    def _step_batch(self, index: int) -> tuple[Tensor, Tensor]:
        rng = step_rng(self.config.seed, index, self.fabric)
        drawn, sounds = self.train.draw(rng, self.share, self.config.each)
        mels = torch.from_numpy(drawn)
        if self.config.augment:
            mels = augment.mel_voice(augment.mel_noise(mels, rng), rng)
            mels = augment.mel_echo(augment.mel_background(mels, rng), rng, chance=0.4 * self.config.augment)
            mels = augment.mel_band_gaps(mels, rng, chance=0.3 * self.config.augment)
        return self.fabric.to_device((mels.flatten(0, 1), torch.from_numpy(sounds.reshape(-1))))

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """Accuracy on the speech sounds of held-out voices."""
        if not self.held.voices:
            return {}
        rng = np.random.default_rng(self.config.seed)
        mels, sounds = self.held.draw(rng, EVAL_RECORDINGS, self.config.each)
        scores = self.ema(torch.from_numpy(mels).flatten(0, 1).to(self.fabric.device))
        return {"held_right": _accuracy(scores.cpu(), torch.from_numpy(sounds.reshape(-1)))}


def _accuracy(scores: Tensor, sounds: Tensor) -> float:
    """Share of (N,) labels that (N, C) scores get right; unknown ones do not count."""
    known = sounds != UNKNOWN
    return float((scores.argmax(1) == sounds)[known].float().mean()) if known.any() else float("nan")
