"""Train a sync expert, which tells whether mouth and sound belong together or are of different times (Sec. 3.3.1)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sidgan import checkpoint
from sidgan.config import SYNC_FRAMES, SyncNetConfig
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.losses import sync_bce
from sidgan.nn import AudioEncoder, SyncNet, at_expert_size, lower_half_windows
from sidgan.settings import require, require_between, require_same
from sidgan.train import augment
from sidgan.train.diagnosis import Facts, PlateauWatch, diagnose, measure, too_easy
from sidgan.train.loop import LoopConfig, Notes, left_out
from sidgan.train.next_batch import NextBatch
from sidgan.train.pairs import MAX_DISTANCE, SyncPairs, draw_pairs, pair_loss, same_sound
from sidgan.train.precision import Precision, descend, restore_scaler, scaler_state
from sidgan.train.processes import normalise_alone, normalise_together, share, step_rng
from sidgan.train.rate import rate_at

MAX_LAG = 10  #: largest lag tried, frames to either side
ROWS = 256  #: windows that `pair_scores` compares at once; memory does not grow with the square of a clip's length
CALIBRATION_BATCHES = 20  #: batches over which normalisation statistics are averaged for `SyncTask.calibrated`


@dataclass(frozen=True)
class SyncTrainConfig:
    """Training of an expert.

    Attributes:
        model: the network.
        loop: steps and intervals.
        batch: windows per step (the paper: 256 pairs, half of them wrong).
        negatives: wrong sounds for each window; the video branch, which is the slowest, runs once for all of them.
        lr: Adam's learning rate.
        decay: share of the run, at its end, over which the learning rate falls linearly, to a tenth at least; 0: none.
        warmup: steps over which the learning rate rises at the beginning.
        augment: strength of augmentation, 0 (none, not even of sounds) to 1. A low strength suits an expert for known
            people.
        ease: share of the run over which augmentation rises to this strength. At full strength from the first step, the
            loss stays at 0.69: the expert must first learn that mouth and sound are related at all.
        near: share of negatives only 2 to 4 frames off, in the last third of the run; they teach the exact lag.
        self_test: let a new network memorise a few windows before the run (`sidgan.train.diagnosis`).
        watch: steps with a loss near 0.69 after which the likely cause is logged; 0 disables this.
        pool: clips that each process holds at a time, where data comes in shards (`sidgan.data.shardset`).
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name of one.
        seed: random seed.
    """

    model: SyncNetConfig = field(default_factory=SyncNetConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 64
    negatives: int = 4
    lr: float = 1e-3
    decay: float = 0.5
    warmup: int = 50
    augment: float = 1.0
    ease: float = 0.4
    near: float = 0.3
    self_test: bool = True
    watch: int = 500
    pool: int = 128
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "batch", "negatives", "pool")
        require_between(self, 0, math.inf, "warmup", "watch", "seed")
        require_between(self, 0, 1, "decay", "augment", "ease", "near")
        require(0 < self.lr <= 1, f"lr must be more than 0, 1 at the most, not {self.lr}")


class SyncTask(Notes):
    """An expert in training; see `sidgan.train.loop.Task`.

    Args:
        start: initial weights.
        ears: initial audio encoder.

    Raises:
        ConfigError: ``start`` or ``ears`` does not match the settings.
    """

    def __init__(
        self, config: SyncTrainConfig, train: PackedSet, held: Mapping[str, PackedSet], fabric: Fabric,
        start: SyncNet | None = None, ears: AudioEncoder | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(config.seed)
        self.config, self.train, self.held, self.fabric = config, train, held, fabric
        self.share = share(fabric, config.batch)
        if start is not None:
            require_same(start.config, config.model)
        expert = start or SyncNet(config.model)
        if ears is not None:
            expert.audio.take_over(ears)
        net = SyncPairs(expert)
        self.origin = [weights.clone() for weights in _convolutions(net)]
        self.watch = PlateauWatch(config.watch)
        super().__init__()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        net = normalise_together(net, fabric)
        optimiser = torch.optim.Adam(net.parameters(), lr=config.lr)
        self.net, self.optimiser = fabric.setup(net, optimiser)
        self.batches = NextBatch(self._step_batch)

    def step(self, index: int) -> Mapping[str, float]:
        """One batch: each window with its own sound and with ``negatives`` other sounds of the same clip."""
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(index)
        video, mels = self.batches.take(index)
        self.net.train()
        cosines = self.net(video, mels)
        loss = pair_loss(cosines)
        finite = descend(self.fabric, self.net, self.optimiser, loss)
        for norm in _norms(self.net) if not finite else ():
            norm.reset_running_stats()  # spoiled by the batch; `calibrated` computes them anew before use
        if self.watch.add(loss.item()):
            self.batches.wait()
            self.note(f"the loss is still near 0.69 after {index + 1} steps; {diagnose(self.facts())}")
        ranked = (cosines[:, :1] > cosines[:, 1:]).float().mean()
        return {"loss": loss.item(), "ranked": ranked.item()} | left_out(finite)

    def _rate(self, index: int) -> float:
        config = self.config
        return rate_at(index, config.loop.steps, config.lr, rise=config.warmup, decay=config.decay, floor=0.1)

    def _step_batch(self, index: int) -> tuple[Tensor, Tensor]:
        """The batch of step ``index``."""
        self.note(*self.train.at(index))
        late = index >= 2 * self.config.loop.steps // 3
        strength = self.config.augment * min(1.0, index / max(1.0, self.config.ease * self.config.loop.steps))
        rng = step_rng(self.config.seed, index, self.fabric)
        return self._batch(rng, self.config.near if late else 0.0, strength)

    def _batch(self, rng: np.random.Generator, near: float, strength: float) -> tuple[Tensor, Tensor]:
        images, mels = draw_pairs(rng, self.train, self.share, self.config.negatives, near)
        theta = augment.random_affines(
            rng, len(images), shift=0.02 * strength, scale=0.05 * strength, turn=3 * strength, mirror=0.5 * strength
        )
        images = augment.apply_affines(images.flatten(1, 2), theta, top=0.5).unflatten(1, (SYNC_FRAMES, 3))
        images = augment.colour(images, rng, strength=0.2 * strength)
        images = augment.soften(images, rng, chance=0.1 * strength)
        video = at_expert_size(images.flatten(1, 2), self.config.model.face)
        sounds = augment.mel_noise(mels, rng) if self.config.augment else mels
        return self.fabric.to_device(video), self.fabric.to_device(sounds)

    def facts(self) -> Facts:
        """Measurements that may explain why the expert does not learn. The state of the training does not change."""
        return measure(self.train, _convolutions(self.net), self.origin)

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """`pair_scores` on each held-out set."""
        net = self.calibrated()
        scores = {name: pair_scores(net, data) for name, data in self.held.items()}
        for name, values in scores.items():
            if (warning := too_easy(values)) is not None:
                self.note(f"{name}: {warning}")
        return {f"{name}_{k}": v for name, values in scores.items() for k, v in values.items()}

    def state(self) -> dict[str, Any]:
        """Weights, optimiser, gradient scaler, initial weights, and the state of the plateau watch."""
        watch, origin = self.watch.state(), self.origin
        return {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "watch": watch,
                "origin": origin, "precision": scaler_state(self.fabric)}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        if "watch" in state:  # missing in runs of older versions
            self.watch.restore(state["watch"])
            self.origin = state["origin"]
        restore_scaler(self.fabric, state.get("precision", {}))

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the expert."""
        checkpoint.save(path, self.calibrated(), meta)

    @torch.no_grad()
    def calibrated(self) -> SyncNet:
        """A copy for inference, in eval mode, whose normalisation statistics are averaged over many batches.

        The running statistics lag behind the weights: on footage of one speaker, pair accuracy was 57 % with them
        instead of 81 %.
        """
        self.batches.wait()  # shards: the prefetch thread must not exchange the pool of clips meanwhile
        net: SyncNet = normalise_alone(copy.deepcopy(self.net.module.net))  # only the first process exports
        norms = _norms(net)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # cumulative mean over the following batches
        net.train()
        rng = np.random.default_rng(self.config.seed)  # evaluation must not change the random numbers of the training
        for _ in range(CALIBRATION_BATCHES):
            video, mels = self._batch(rng, 0.0, 0.0)
            net.video(video)
            net.audio(mels.flatten(0, 1))
        for norm in norms:
            norm.momentum = 0.1
        return net.eval()


def _convolutions(net: nn.Module) -> list[Tensor]:
    """The weights of each convolution."""
    return [p.detach() for p in net.parameters() if p.dim() == 4]


def _norms(net: nn.Module) -> list[_BatchNorm]:
    return [m for m in net.modules() if isinstance(m, _BatchNorm)]


@torch.no_grad()
def embeddings(net: SyncNet, clip: PackedClip) -> tuple[Tensor, Tensor]:
    """Unit vectors (N - 4, 512) of every five-frame window of a clip, and of the sound of each window."""
    device = next(net.parameters()).device
    starts = torch.arange(len(clip) - SYNC_FRAMES + 1)
    seen, heard = [], []
    for some in starts.split(64):
        faces = clip.images[(some[:, None] + torch.arange(SYNC_FRAMES)).to(clip.images.device)].float() / 255
        seen.append(net.embed_video(lower_half_windows(faces.to(device), net.config.face)))
        heard.append(net.embed_audio(clip.mels[(some + 2).to(clip.mels.device)].float().to(device)))
    return torch.cat(seen).cpu(), torch.cat(heard).cpu()


def pair_scores(net: SyncNet, data: PackedSet) -> dict[str, float]:
    """How well an expert separates right from wrong sound, on every window of a set.

    Wrong pairs are 5 to 50 frames off and differ in sound: two silent moments cannot be told apart.

    Returns:
        ``bce``: loss, right and wrong pairs weighted equally. ``accuracy``: balanced accuracy at the best single
        threshold. ``ranked``: how often the right sound has a higher cosine than a wrong one. ``margin``: mean cosine
        of right minus wrong pairs. ``within1``: how often the best of 21 lags (10 frames to either side) is at most one
        frame off.
    """
    right, wrong, ranked, hits = [], [], [], []
    for clip in data.clips:
        seen, heard = embeddings(net, clip)
        sounds = clip.mels[2 : 2 + len(seen)]
        hits.append(_hits(seen, heard))
        for first in range(0, len(seen), ROWS):
            low, last = max(0, first - MAX_DISTANCE), min(first + ROWS, len(seen))
            cosines = (seen[first:last] @ heard[low : last + MAX_DISTANCE].T).numpy()
            lag = np.arange(low, low + cosines.shape[1])[None] - np.arange(first, last)[:, None]
            other = ~same_sound(sounds[first:last], sounds[low : last + MAX_DISTANCE]).cpu().numpy()
            far = (np.abs(lag) >= SYNC_FRAMES) & (np.abs(lag) <= MAX_DISTANCE) & other
            own = cosines[lag == 0]
            right.append(own)
            wrong.append(cosines[far])
            ranked.append((own[:, None] > cosines)[far])
    positive, negative = np.concatenate(right), np.concatenate(wrong)
    return {
        "bce": (_bce(positive, 1) + _bce(negative, 0)) / 2,
        "accuracy": _best_accuracy(positive, negative),
        "ranked": float(np.concatenate(ranked).mean()),
        "margin": float(positive.mean() - negative.mean()),
        "within1": float(np.concatenate(hits).mean()) if any(len(h) for h in hits) else float("nan"),
    }


def _hits(seen: Tensor, heard: Tensor) -> np.ndarray:
    """Whether the best lag is at most one frame, for each window with `MAX_LAG` neighbours on both sides."""
    rows = torch.arange(MAX_LAG, max(MAX_LAG, len(seen) - MAX_LAG))
    if len(rows) == 0:
        return np.zeros(0, bool)
    lags = torch.stack([(seen[rows] * heard[rows + lag]).sum(1) for lag in range(-MAX_LAG, MAX_LAG + 1)], 1)
    return ((lags.argmax(1) - MAX_LAG).abs() <= 1).numpy()


def _bce(cosines: np.ndarray, label: int) -> float:
    values = torch.from_numpy(cosines)
    return float(sync_bce(values, torch.full_like(values, label)))


def _best_accuracy(positive: np.ndarray, negative: np.ndarray) -> float:
    """Largest balanced accuracy (mean of true positive and true negative rate) over thresholds."""
    edges = np.quantile(np.concatenate([positive, negative]), np.linspace(0, 1, 201))
    rates = [(np.mean(positive >= e) + np.mean(negative < e)) / 2 for e in edges]
    return float(max(rates))
