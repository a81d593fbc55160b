"""Train the occlusion network, which segments hands and objects in front of faces.

It is trained on unoccluded faces onto which occluders are drawn (`sidgan.data.occluders`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.config import OcclusionConfig
from sidgan.data.dataset import PackedSet
from sidgan.data.occluders import SIDE, Face, Faces, occluded
from sidgan.nn import OcclusionNet
from sidgan.nn.occlusion import SIDE as NET_SIDE
from sidgan.poses import alike
from sidgan.settings import require, require_between
from sidgan.train.loop import LoopConfig
from sidgan.train.next_batch import NextBatch
from sidgan.train.precision import Precision
from sidgan.train.processes import share, step_rng
from sidgan.train.single import SingleTask
from sidgan.types import Float

EVAL_FACES = 128  #: faces drawn for each held-out figure
DICE_WEIGHT = 0.3  #: weight of the Dice loss beside cross-entropy, which small occluders hardly affect


@dataclass(frozen=True)
class OcclusionTrainConfig:
    """Training of an occlusion network.

    Attributes:
        model: the network.
        loop: steps and intervals.
        batch: faces per step.
        covered: share of faces with an occluder.
        lr: largest learning rate of AdamW; it follows a cosine schedule.
        ema: decay of the averaged weights, which are evaluated and exported.
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name of one.
        seed: random seed.
    """

    model: OcclusionConfig = field(default_factory=OcclusionConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 32
    covered: float = 0.62
    lr: float = 2e-3
    ema: float = 0.995
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "batch")
        require_between(self, 0, 1, "covered")
        require_between(self, 0, math.inf, "seed")
        require(0 < self.lr <= 1, f"lr must be more than 0, 1 at the most, not {self.lr}")
        require(0 <= self.ema < 1, f"ema must be 0 or more and less than 1, not {self.ema}")


class OcclusionTask(SingleTask[OcclusionNet]):
    """An occlusion network in training; see `sidgan.train.loop.Task`.

    Args:
        train: unoccluded faces.
        held: held-out sets by name.
        start: initial weights.
    """

    def __init__(
        self, config: OcclusionTrainConfig, train: PackedSet, held: Mapping[str, PackedSet], fabric: Fabric,
        start: OcclusionNet | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(config.seed)
        super().__init__(start or OcclusionNet(config.model), fabric, lr=config.lr, decay=1e-4, ema=config.ema)
        self.config, self._train, self._held = config, train, held
        self.share = share(fabric, config.batch)
        self.batches = NextBatch(self._step_batch)

    def step(self, index: int) -> Mapping[str, float]:
        """One batch of faces."""
        faces, usual, hidden = self.batches.take(index)
        logits = self.net(faces, usual).float()
        cross_entropy, dice = F.binary_cross_entropy_with_logits(logits, hidden), _dice(logits.sigmoid(), hidden).mean()
        loss = cross_entropy + DICE_WEIGHT * (1 - dice)
        return {**self.learn(index, loss, self._rate(index)), "overlap": dice.item()}

    def _rate(self, index: int) -> float:
        done = index / max(self.config.loop.steps, 1)
        return self.config.lr * min(1.0, (index + 1) / 100) * max(0.01, 0.5 + 0.5 * math.cos(math.pi * min(done, 1.0)))

    def _step_batch(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        self._train.at(index)
        rng = step_rng(self.config.seed, index, self.fabric)
        return self.fabric.to_device(drawn(rng, faces_of(self._train), self.share, self.config.covered))

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """For each held-out set, the Dice coefficient, and the share of false positive pixels on unoccluded faces."""
        figures = {}
        for name, held in self._held.items():
            for what, covered in (("overlap", 1.0), ("false", 0.0)):
                rng = np.random.default_rng(self.config.seed)
                faces, usual, hidden = self.fabric.to_device(drawn(rng, faces_of(held), EVAL_FACES, covered))
                seen = (self.ema(faces, usual) > 0).float()
                figure = _dice(seen, hidden).mean() if covered else seen.mean()
                figures[f"{name}_{what}"] = float(figure)
        return figures


def faces_of(data: PackedSet) -> Faces:
    """A function that draws random faces of a set, resized to the resolution at which occluders are drawn."""

    def face(rng: np.random.Generator) -> Face:
        clip = data.draw(rng)
        frame = int(rng.integers(len(clip)))
        known = np.sort(rng.permutation(len(clip))[: rng.integers(1, len(clip) + 1)])  # of few, none is quite alike
        ((near, _),) = alike(clip.landmarks, known, np.array([frame]))
        usual = clip.images[near].float().mean(0) if len(near) else torch.zeros_like(clip.images[frame])
        return Face(_small(clip.images[frame]), clip.landmarks[frame], _small(usual))

    return face


def _small(picture: Tensor) -> Float:
    """A picture (3, S, S) as (SIDE, SIDE, 3) float32."""
    pixels = np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
    how = cv2.INTER_AREA if len(pixels) > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=how), np.float32)


def drawn(rng: np.random.Generator, faces: Faces, count: int, covered: float) -> tuple[Tensor, Tensor, Tensor]:
    """A batch: the network's inputs, (count, 3, 48, 48) twice, and the occluded share of each pixel (count, 48, 48)."""
    examples = [occluded(rng, faces, covered) for _ in range(count)]
    pictures, usual = (
        torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        for images in ([one.picture for one in examples], [one.usual for one in examples])
    )
    masks = torch.from_numpy(np.stack([one.hidden for one in examples]))[:, None]
    block = SIDE // NET_SIDE
    return F.avg_pool2d(pictures, block), F.avg_pool2d(usual, block), F.avg_pool2d(masks, block)[:, 0]


def _dice(seen: Tensor, there: Tensor) -> Tensor:
    """Dice coefficients (N,) of two masks (N, H, W); 1 if both are empty."""
    common = (seen * there).sum((1, 2))
    return (2 * common + 1) / (seen.sum((1, 2)) + there.sum((1, 2)) + 1)
