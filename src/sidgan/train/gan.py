"""Training the generator: reconstruct the hidden mouth from the sound, coarse levels first (Sec. 3.3.3, 3.4)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from sidgan import checkpoint
from sidgan.config import SYNC_FRAMES, DiscriminatorConfig, GeneratorConfig, LossWeights, require, require_same
from sidgan.data.dataset import PackedSet
from sidgan.losses import (
    contextual_loss,
    focal_frequency_loss,
    lsgan_d,
    lsgan_g,
    masked_l1,
    perceptual_loss,
    sync_loss,
)
from sidgan.nn import VGG19, Discriminator, Generator, SyncNet, lower_half_windows
from sidgan.train.balance import gradient_balance
from sidgan.train.batch import Batch, at_level, prepare_batch
from sidgan.train.judging import judge, spread, write_strip
from sidgan.train.loop import LoopConfig


@dataclass(frozen=True)
class GanTrainConfig:
    """Training of a generator. Times of the schedule are shares of ``loop.steps``.

    Attributes:
        generator: the network.
        weights: Eq. 4 at each RGB level; a level without an entry has L1 only.
        discriminators: one for each level whose ``gan`` weight is not 0.
        features: what compares VGG19's features: ``contextual`` (Eq. 3) or ``perceptual`` (an ablation of Table 4).
        expert_kind: the kind of expert that the sync loss asks for; another is refused. ``any`` takes either.
        vgg: its weights: ``published`` (downloaded once) or ``random``, which makes it another loss than the paper's.
        loop: steps and intervals.
        batch: frames per step. Without the sync loss each comes from another window; with it they are windows of 5.
        lr, betas: Adam, for generator and discriminators alike.
        decay: share of the run over which the learning rate falls linearly to a tenth, at its end.
        audio_lr: learning rate of the audio encoder relative to ``lr``; 0 keeps the expert's encoder as it is.
        grow: when each level after the first is switched on (progressive training).
        fade: how long a new level is blended in.
        sync_from, gan_from: when these losses begin; the sync loss then rises over ``fade``.
        sync_every: the sync loss joins every so many steps. A step with it sees a fifth as many clips, so the steps
            between keep small batches varied.
        ema: decay of the averaged weights, which are what is judged and shipped.
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name: ``32-true``, ``bf16-mixed``.
        seed: of everything random.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    weights: dict[int, LossWeights] = field(default_factory=dict)
    discriminators: dict[int, DiscriminatorConfig] = field(default_factory=dict)
    features: Literal["contextual", "perceptual"] = "contextual"
    vgg: Literal["published", "random"] = "published"
    expert_kind: Literal["aps", "vanilla", "any"] = "aps"
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 20
    lr: float = 2e-4
    betas: tuple[float, ...] = (0.5, 0.999)
    decay: float = 0.3
    audio_lr: float = 0.0
    grow: tuple[float, ...] = (0.1, 0.3)
    fade: float = 0.05
    sync_from: float = 0.5
    gan_from: float = 0.7
    sync_every: int = 1
    ema: float = 0.999
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        levels = self.generator.rgb_levels
        require(self.batch % SYNC_FRAMES == 0, f"batch must be a multiple of {SYNC_FRAMES} frames, not {self.batch}")
        require(len(self.grow) == len(levels) - 1, f"grow needs one time for each of the levels {levels[1:]}")
        for name in (set(self.weights) | set(self.discriminators)) - set(self.generator.levels):
            require(False, f"there is no level {name}; levels are {self.generator.levels}")

    @property
    def needs_vgg(self) -> bool:
        """Whether any level compares VGG19's features."""
        return any(weights.features for weights in self.weights.values())

    @property
    def has_more_than_l1(self) -> bool:
        """Whether any level has another term."""
        return any(w.features or w.frequency or w.gan or w.sync for w in self.weights.values())

    def weights_at(self, level: int) -> LossWeights:
        """Weights of an output; those of coarser levels that have no output of their own are added to them.

        So an ablation without some outputs is trained under the same sum of weights (Table 4, w/o pyramid generator).
        """
        own = self.weights.get(level, LossWeights())
        outputs = self.generator.rgb_levels
        before = max((r for r in outputs if r < level), default=0)
        orphans = [w for r, w in self.weights.items() if before < r < level and r not in outputs]
        terms = ("l1", "features", "frequency", "gan", "sync")
        return replace(own, **{t: getattr(own, t) + sum(getattr(w, t) for w in orphans) for t in terms})

    @property
    def critics(self) -> dict[int, DiscriminatorConfig]:
        """The discriminators of those levels that have an output."""
        return {r: c for r, c in self.discriminators.items() if r in self.generator.rgb_levels}


@dataclass(frozen=True)
class Moment:
    """Where in the schedule a step is: finest active level, how far it is faded in, and the ramp of the sync loss."""

    level: int
    fade: float
    sync: float
    gan: bool


def moment(config: GanTrainConfig, index: int) -> Moment:
    """The schedule at step ``index`` (Sec. 3.4: progressive training of increasing resolutions)."""
    share = index / config.loop.steps
    levels = config.generator.rgb_levels
    active = sum(share >= start for start in config.grow)
    since = share - (config.grow[active - 1] if active else -1.0)
    ramp = max(config.fade, 1e-9)
    return Moment(
        level=levels[active],
        fade=min(1.0, since / ramp) if active else 1.0,
        sync=float(np.clip((share - config.sync_from) / ramp, 0, 1)),
        gan=share >= config.gan_from,
    )


class GanTask:
    """A generator in training; see `sidgan.train.loop.Task`.

    Args:
        expert: gives the audio encoder and the sync loss; without one both are learnt from nothing, for tests.
        start: weights to go on from.
        vgg: needed where a level has a ``features`` weight.

    Raises:
        ConfigError: ``start`` or the data is of another size than the settings say, or a network is missing.
    """

    def __init__(
        self, config: GanTrainConfig, train: PackedSet, held: Mapping[str, PackedSet], fabric: Fabric,
        expert: SyncNet | None = None, start: Generator | None = None, vgg: VGG19 | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(config.seed)
        require(train.size == config.generator.size, f"data is {train.size} px, generator {config.generator.size} px")
        self.config, self.train, self.held, self.fabric = config, train, held, fabric
        self.rng = np.random.default_rng(config.seed + fabric.global_rank)
        if start is not None:
            require_same(start.config, config.generator)
        net = start or Generator(config.generator)
        if expert is not None and start is None:
            net.load_audio(expert)
        net.freeze_audio(config.audio_lr == 0)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(net).eval().requires_grad_(False)
        self.ema.to(fabric.device)
        self.vgg = vgg.to(fabric.device) if vgg is not None else None
        require(vgg is not None or not config.needs_vgg, "a level has a 'features' weight, which needs VGG19")
        self.expert = expert
        if expert is not None:
            kind, wanted = expert.config.kind, config.expert_kind
            require(wanted in (kind, "any"), f"the expert is {kind}, but expert_kind is {wanted}")
            expert.eval().requires_grad_(False).to(fabric.device)
        betas = (config.betas[0], config.betas[1])
        drawing = [p for n, p in net.named_parameters() if not n.startswith("audio.")]
        groups: list[dict[str, Any]] = [{"params": drawing, "scale": 1.0}]
        if config.audio_lr:
            groups.append({"params": list(net.audio.parameters()), "scale": config.audio_lr})
        optimiser = torch.optim.Adam(groups, lr=config.lr, betas=betas)
        self.net, self.optimiser = fabric.setup(net, optimiser)
        self.critics: Any = None
        self.critic_optimiser: Any = None
        if config.critics:
            critics = nn.ModuleDict({str(k): Discriminator(c) for k, c in config.critics.items()})
            critic_optimiser = torch.optim.Adam(critics.parameters(), lr=config.lr, betas=betas)
            self.critics, self.critic_optimiser = fabric.setup(critics, critic_optimiser)

    # ------------------------------------------------------------------------------------------------ one step

    def step(self, index: int) -> Mapping[str, float]:
        """One update of the generator, then one of the critics on the same pictures (Eq. 4)."""
        now = moment(self.config, index)
        self._set_rate(index)
        sync = now.sync > 0 and self.expert is not None and index % self.config.sync_every == 0
        frames = SYNC_FRAMES if sync else 1
        windows = self.train.windows(self.rng, self.config.batch // frames, frames)
        batch = prepare_batch(windows, self.rng).to(self.fabric.device)
        self.net.train()
        self.net.module.audio.eval()  # its running statistics are the expert's: batches here are small and correlated
        images = self.net(batch.query, batch.reference, batch.mels, now.level, now.fade if now.fade < 1 else None)
        losses = self._losses(images, batch, now, sync)
        total = torch.stack(list(losses.values())).sum()
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.net, self.optimiser, max_norm=1.0, error_if_nonfinite=False)
        report = {name: value.item() for name, value in losses.items()}
        if torch.isfinite(total):
            self.optimiser.step()
            self._average(index)
            if now.gan and self.critics is not None:
                report |= self._train_critics(images, batch)
        return report

    def _losses(self, images: dict[int, Tensor], batch: Batch, now: Moment, sync: bool) -> dict[str, Tensor]:
        """The weighted terms of Eq. 4, summed over the active levels; a level that fades in counts by its share."""
        losses: dict[str, Tensor] = {}
        for level, image in images.items():
            share = now.fade if level == now.level else 1.0
            for name, value in self.terms(level, image, batch, now.sync if sync else 0.0, now.gan).items():
                losses[name] = losses.get(name, torch.zeros_like(value)) + share * value
        return losses

    def terms(self, level: int, image: Tensor, batch: Batch, sync: float, gan: bool) -> dict[str, Tensor]:
        """The weighted terms of Eq. 4 at one level.

        Args:
            level: r, one of the outputs.
            image: (N, 3, r, r), the output.
            batch: what it was drawn from; windows of five frames where ``sync`` is not 0.
            sync: ramp of the sync loss, 0 leaves it out.
            gan: whether critics have their say.
        """
        weights = self.config.weights_at(level)
        truth = at_level(batch.target, level)
        emphasis = at_level(batch.mask + weights.lips * batch.lips, level)
        losses = {"l1": weights.l1 * masked_l1(image, truth, emphasis, weights.mouth)}
        if weights.features and self.vgg is not None:
            compare = contextual_loss if self.config.features == "contextual" else perceptual_loss
            losses["features"] = weights.features * compare(self.vgg(image), self.vgg(truth))
        if weights.frequency:
            losses["frequency"] = weights.frequency * focal_frequency_loss(image, truth)
        if gan and self.critics is not None and str(level) in self.critics.module:
            losses["gan"] = weights.gan * lsgan_g(self.critics.module[str(level)](image))
        if sync and weights.sync and self.expert is not None:
            seen = lower_half_windows(image.view(-1, SYNC_FRAMES, *image.shape[1:]), self.expert.config.face)
            cosine = self.expert(seen, batch.sync_mel)  # frozen: only the picture gets a gradient
            losses["sync"] = sync * weights.sync * sync_loss(cosine)
        return losses

    def _train_critics(self, images: dict[int, Tensor], batch: Batch) -> dict[str, float]:
        self.critic_optimiser.zero_grad(set_to_none=True)
        scores: dict[str, float] = {}
        total = torch.zeros((), device=batch.target.device)
        for name, critic in self.critics.module.items():
            if int(name) in images:
                real = critic(at_level(batch.target, int(name)))
                fake = critic(images[int(name)].detach())
                total = total + lsgan_d(real, fake)
                scores |= {f"real{name}": real.mean().item(), f"fake{name}": fake.mean().item()}
        self.fabric.backward(total)
        self.fabric.clip_gradients(self.critics, self.critic_optimiser, max_norm=1.0, error_if_nonfinite=False)
        self.critic_optimiser.step()
        return scores

    def _set_rate(self, index: int) -> None:
        left = (1 - index / self.config.loop.steps) / max(self.config.decay, 1e-9)
        warm = min(1.0, (index + 1) / 50)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * group["scale"] * warm * max(0.1, min(1.0, left))

    @torch.no_grad()
    def _average(self, index: int) -> None:
        decay = min(self.config.ema, (1 + index) / (10 + index))
        for mean, value in zip(self.ema.parameters(), self.net.module.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for kept, current in zip(self.ema.buffers(), self.net.module.buffers(), strict=True):
            kept.copy_(current)

    # ------------------------------------------------------------------------------------------------ the rest

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """PSNR inside the hidden region with right and with wrong sound, on each held-out set; and a picture strip.

        Where L1 is not alone, also how strongly the other terms pull (`sidgan.train.balance`).
        """
        level = moment(self.config, index - 1).level
        scores: dict[str, float] = {}
        for name, data in self.held.items():
            windows = spread(data, 64)
            right, wrong, outputs = judge(self.ema, windows, level)
            scores |= {f"{name}_mouth": right, f"{name}_gap": right - wrong}
            write_strip(images / f"{index:06d}-{name}.png", windows, outputs, 8)
        for r, pulls in gradient_balance(self, level).items():
            scores |= {f"pull{r}_{term}": ratio for term, ratio in pulls.items()}
        return scores

    def state(self) -> dict[str, Any]:
        """Networks, averages and optimisers."""
        state: dict[str, Any] = {"net": self.net.state_dict(), "ema": self.ema.state_dict()}
        state["optimiser"] = self.optimiser.state_dict()
        if self.critics is not None:
            state |= {"critics": self.critics.state_dict(), "critic_optimiser": self.critic_optimiser.state_dict()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.critics is not None:
            self.critics.load_state_dict(state["critics"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])

    def notes(self) -> list[str]:
        """Nothing yet."""
        return []

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the averaged generator; its card says whether VGG19 was the published one."""
        source = {"vgg": self.vgg.source} if self.vgg is not None else {}
        checkpoint.save(path, self.ema, {**meta, **source})
