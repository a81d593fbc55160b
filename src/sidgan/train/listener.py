"""Training a listener: which speech sound is this? Its audio encoder then knows voices that no training video has."""

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

from sidgan.config import ListenerConfig, require, require_between
from sidgan.data.speech import UNKNOWN, SpeechSet
from sidgan.errors import counted
from sidgan.nn import Listener
from sidgan.train import augment
from sidgan.train.loop import LoopConfig
from sidgan.train.next_batch import NextBatch
from sidgan.train.processes import share, step_rng
from sidgan.train.rate import rate_at
from sidgan.train.single import SingleTask

SMOOTHED = 0.1  #: share of certainty that is withheld from labels, as they are often wrong
JUDGED = 256  #: draws that a held-out figure is made of


@dataclass(frozen=True)
class ListenerTrainConfig:
    """Training of a listener.

    Attributes:
        model: the network.
        loop: steps and intervals.
        batch: recordings per step.
        each: windows of each recording; they share a voice, a room and a noise.
        lr: largest learning rate of AdamW.
        decay: share of the run over which it falls linearly to almost nothing, at its end.
        augment: 1 for other voices, rooms, microphones and noise, 0 for the recordings as they are.
        held: every so manieth voice is not learnt from, but judged on.
        ema: decay of the averaged weights, which are what is judged and written.
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name: ``32-true``, ``bf16-mixed``.
        seed: of everything random.
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
    precision: str = "auto"
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
        speech: all recordings; those of some voices are held out.
        start: weights to go on from.
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
        """One batch of windows, each with the sound in its middle."""
        mels, sounds = self.batches.take(index)
        self.net.train()
        scores = self.net(mels)
        loss = F.cross_entropy(scores, sounds, ignore_index=UNKNOWN, label_smoothing=SMOOTHED)
        return {**self.learn(index, loss, self._rate(index)), "right": _right(scores, sounds)}

    def _rate(self, index: int) -> float:
        config = self.config
        return rate_at(index, config.loop.steps, config.lr, rise=100, decay=config.decay, floor=0.02)

    def _step_batch(self, index: int) -> tuple[Tensor, Tensor]:
        rng = step_rng(self.config.seed, index, self.fabric)
        drawn, sounds = self.train.draw(rng, self.share, self.config.each)
        mels = torch.from_numpy(drawn)
        if self.config.augment:
            mels = augment.mel_voice(augment.mel_noise(mels, rng), rng)
            mels = augment.mel_room(augment.mel_company(mels, rng), rng, chance=0.4 * self.config.augment)
            mels = augment.mel_gaps(mels, rng, chance=0.3 * self.config.augment)
        return self.fabric.to_device((mels.flatten(0, 1), torch.from_numpy(sounds.reshape(-1))))

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """Share of the sounds of held-out voices that are told right."""
        if not self.held.voices:
            return {}
        rng = np.random.default_rng(self.config.seed)
        mels, sounds = self.held.draw(rng, JUDGED, self.config.each)
        scores = self.ema(torch.from_numpy(mels).flatten(0, 1).to(self.fabric.device))
        return {"held_right": _right(scores.cpu(), torch.from_numpy(sounds.reshape(-1)))}


def _right(scores: Tensor, sounds: Tensor) -> float:
    known = sounds != UNKNOWN
    return float((scores.argmax(1) == sounds)[known].float().mean()) if known.any() else float("nan")
