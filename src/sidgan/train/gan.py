"""Train the generator to reconstruct the hidden mouth from the sound, coarse levels first (Sec. 3.3.3, 3.4)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from sidgan import checkpoint
from sidgan.config import SYNC_FRAMES, CriticsConfig
from sidgan.data.dataset import PackedSet
from sidgan.errors import CheckpointError
from sidgan.losses import RIVALRY, content_loss
from sidgan.nn import VGG19, AudioEncoder, Generator, SyncNet
from sidgan.nn.baselines import Critics, build
from sidgan.settings import require
from sidgan.train.average import average_in, take_back
from sidgan.train.balance import gradient_balance
from sidgan.train.batch import Batch, at_level, prepare_batch
from sidgan.train.calibration import BANDS, Calibration
from sidgan.train.growth import warm_start
from sidgan.train.health import WINDOWS, critic_figures, modulation, sync_figures, warnings
from sidgan.train.judging import judge, spread, write_strip
from sidgan.train.loop import Notes, left_out
from sidgan.train.objective import Objective
from sidgan.train.precision import descend, restore_scaler, scaler_state
from sidgan.train.processes import share, step_rng
from sidgan.train.rate import rate_at
from sidgan.train.schedule import Moment, SyncGate, moment
from sidgan.train.settings import GanTrainConfig

__all__ = ["GanTask", "GanTrainConfig"]

CALIBRATION_BATCHES = 8  #: batches measured on; enough, as the bands are at least a factor of three wide


def _parameter_groups(net: Generator, config: GanTrainConfig) -> list[dict[str, Any]]:
    """Optimiser groups with a ``scale`` of the learning rate each; freezes the trunk if ``trunk_lr`` is 0."""
    trunk = set(net.within) if config.generator.trunk else set()
    by_scale: dict[float, list[Tensor]] = {}
    audio: list[Tensor] = []
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and (config.trunk_lr > 0 or name not in trunk))
        if name.startswith("audio."):
            audio.append(parameter)
        else:
            by_scale.setdefault(config.trunk_lr if name in trunk else 1.0, []).append(parameter)
    groups: list[dict[str, Any]] = [{"params": part, "scale": scale} for scale, part in by_scale.items() if scale]
    return groups + ([{"params": audio, "scale": config.audio_lr}] if config.audio_lr else [])


def require_fit(config: GanTrainConfig, size: int, expert: SyncNet | None) -> None:
    """Raise a `ConfigError` if crops of ``size`` px or the expert do not suit the settings."""
    drawn, kind = config.generator.size, config.expert_kind
    require(size >= drawn, f"faces of {size} px are too small for a generator of {drawn} px; prepare them with --size "
            f"{drawn}, or give --config a smaller preset")  # fmt: skip
    if expert is not None:
        require(kind in (expert.config.kind, "any"), f"the expert is {expert.config.kind}, but expert_kind is {kind}")


class GanTask(Notes):
    """A generator in training; see `sidgan.train.loop.Task`.

    Args:
        expert: provides the sync loss and the audio encoder; without it there is no sync loss, and the audio encoder
            starts untrained (for tests).
        start: generator to start from, possibly a smaller one (`sidgan.train.growth`).
        vgg: needed if a level has a ``features`` weight.
        ears: initial audio encoder; by default that of ``start``, or else the expert's.
        rivals: initial critics, used at levels where their settings match; the others start untrained.

    Raises:
        ConfigError: the settings do not match ``start``, the data or the expert, or a network is missing.
    """

    def __init__(
        self, config: GanTrainConfig, train: PackedSet, held: Mapping[str, PackedSet], fabric: Fabric,
        expert: SyncNet | None = None, start: Generator | None = None, vgg: VGG19 | None = None,
        ears: AudioEncoder | None = None, rivals: Critics | None = None,
    ) -> None:  # fmt: skip
        torch.manual_seed(config.seed)
        require_fit(config, train.size, expert)
        size = config.generator.size
        self.config, self.train, self.fabric = config, train.shown_at(size), fabric
        self.held = {name: data.shown_at(size) for name, data in held.items()}
        self.share = share(fabric, config.batch, SYNC_FRAMES)
        self.gate, self.calibration = SyncGate(config.sync_gate), Calibration()
        super().__init__()
        net = build(config.generator) if start is None else warm_start(start, config.generator)
        if net.ears is None:
            require(ears is None, f"a {config.generator.kind} generator trains its own audio encoder; leave --ears out")
        elif ears is None and expert is not None and start is None:
            ears = expert.audio
        if ears is not None:
            net.audio.take_over(ears)
        net.freeze_audio(config.audio_lr == 0)
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(net).eval().requires_grad_(False)
        self.ema.to(fabric.device)
        self.vgg = vgg.to(fabric.device) if vgg is not None else None
        require(vgg is not None or not config.needs_vgg, "a level has a 'features' weight, which needs VGG19")
        self.expert = expert
        self._expert_digest = None  # of the expert that the sync loss comes from
        if expert is not None and config.has_sync:
            self._expert_digest = checkpoint.digest(expert.state_dict())
        if expert is not None:
            expert.eval().requires_grad_(False).to(fabric.device)
        betas = (config.betas[0], config.betas[1])
        net.recompute(config.recompute)
        optimiser = torch.optim.Adam(_parameter_groups(net, config), lr=config.lr, betas=betas)
        self.net, self.optimiser = fabric.setup(net, optimiser)
        self.critics: Any = None
        self.critic_optimiser: Any = None
        if config.critics:
            critics = Critics(CriticsConfig(dict(config.critics)))
            if rivals is not None:
                critics.take_over(rivals)
            critic_optimiser = torch.optim.Adam(critics.parameters(), lr=config.critic_lr * config.lr, betas=betas)
            self.critics, self.critic_optimiser = fabric.setup(critics, critic_optimiser)
        self.objective = Objective(config, fabric, self.calibration, self.critics, expert, self.vgg)

    # ------------------------------------------------------------------------------------------------ one step

    def step(self, index: int) -> Mapping[str, float]:
        """One update of the generator, then one of the critics on the same pictures (Eq. 4)."""
        now = moment(self.config, index, self.gate.opened)
        self._set_rate(index)
        sync = now.sync > 0 and self.expert is not None and index % self.config.sync_every == 0
        frames = SYNC_FRAMES if sync else 1
        self.note(*self.train.at(index))
        rng = step_rng(self.config.seed, index, self.fabric)
        references = int(rng.integers(self.config.references)) + 1 if self.config.references > 1 else 1
        windows = self.train.windows(rng, self.share // frames, frames, references)
        batch = prepare_batch(windows, self._augmentation_rng(rng), self.config.identity).to(self.fabric.device)
        self.net.train()
        if self.net.module.ears is not None:
            self.net.module.ears.eval()  # keep the expert's batch statistics: batches here are small and correlated
        if self.config.calibrate:
            self._calibrate(index, now)
        fade = now.fade if now.fade < 1 else None
        queries = batch.shown_to(self.config.generator)
        images = self.net(queries, batch.reference, batch.mels, now.level, fade, batch.placed)
        some = self.sampled_frames(rng, len(batch.target))
        features = index % self.config.features_every == 0
        losses = self._losses(images, batch, now, sync, some, features)
        total = torch.stack(list(losses.values())).sum()
        finite = descend(self.fabric, self.net, self.optimiser, total)
        report = {name: value.item() for name, value in losses.items()} | left_out(finite)
        if finite:
            average_in(self.ema, self.net.module, index, self.config.ema)
            if now.gan_levels and self.critics is not None:
                scores = self._train_critics(images, batch, now, some)
                self.calibration.observe(scores)
                report |= scores
        else:
            take_back(self.net.module, self.ema)
        return report

    def _augmentation_rng(self, rng: np.random.Generator) -> np.random.Generator | None:
        """The generator for augmentation in `prepare_batch`; ``None`` if augmentation is off."""
        return rng if self.config.augment else None

    def sampled_frames(self, rng: np.random.Generator, count: int) -> Tensor | None:
        """Indices of the frames for the expensive terms, ``recon_frames`` of every five; ``None`` for all."""
        kept = self.config.recon_frames
        if kept == SYNC_FRAMES:
            return None
        order = rng.random((count // SYNC_FRAMES, SYNC_FRAMES)).argsort(1)[:, :kept]
        order.sort(1)
        return torch.from_numpy((order + SYNC_FRAMES * np.arange(len(order))[:, None]).ravel()).to(self.fabric.device)

    def balance(
        self, level: int, batches: int = 4, wanted: Mapping[int, Collection[str]] | None = None
    ) -> dict[int, dict[str, float]]:
        """`gradient_balance` on some batches of the training set, with as many frames as this process has in a step.

        Neither the networks nor the random state of the training change.
        """
        rng = np.random.default_rng(0)
        some = self.sampled_frames(rng, self.share)
        samples = ((self._augmented(rng, self.share // SYNC_FRAMES, SYNC_FRAMES), some) for _ in range(batches))
        return gradient_balance(self.net.module, self.objective, samples, level, wanted)

    def _calibrate(self, index: int, now: Moment) -> None:
        def measure(wanted: Mapping[int, Collection[str]]) -> dict[int, dict[str, float]]:
            # Processes may hold different clips; all use the factors of the first one, whose state is saved.
            return self.fabric.broadcast(self.balance(now.level, CALIBRATION_BATCHES, wanted))

        self.note(*self.calibration.update(self.config, index, now, measure))

    def _augmented(self, rng: np.random.Generator, count: int, frames: int) -> Batch:
        """A batch of ``count`` windows of the training set, augmented as in a step, but with the people's own looks."""
        return prepare_batch(self.train.windows(rng, count, frames), self._augmentation_rng(rng)).to(self.fabric.device)

    def _losses(
        self, images: dict[int, Tensor], batch: Batch, now: Moment, sync: bool, some: Tensor | None, features: bool
    ) -> dict[str, Tensor]:
        """The weighted terms of Eq. 4, summed over the active levels; a level being faded in counts by its fade."""
        losses: dict[str, Tensor] = {}
        only = None if features else {"l1", *BANDS} - {"features"}
        for level, image in images.items():
            share = now.fade if level == now.level else 1.0
            ramp = now.sync if sync and level in now.sync_levels else 0.0
            terms = self.objective.terms(level, image, batch, ramp, level in now.gan_levels, some, only)
            for name, value in terms.items():
                losses[name] = losses.get(name, torch.zeros_like(value)) + share * value
        content, read = self.objective.weights_at(now.level).content, self.net.module.read
        if content and read is not None:
            losses["content"] = content * content_loss(*read)
        return losses

    def _train_critics(
        self, images: dict[int, Tensor], batch: Batch, now: Moment, some: Tensor | None
    ) -> dict[str, float]:
        pairs: dict[int, tuple[Tensor, Tensor]] = {}
        for level in (r for r in now.gan_levels if str(r) in self.critics.module):
            both = (at_level(batch.target, level), images[level].detach(), batch.mels)
            real, fake, mels = (x if some is None else x[some] for x in both)
            images_shown, mels_heard = [real, fake], [mels, mels]
            if self.config.critics[level].kind == "sound":  # for LipGAN, a real face with wrong sound is fake too
                images_shown, mels_heard = [*images_shown, real], [*mels_heard, mels.roll(len(mels) // 2, 0)]
            pairs[level] = torch.cat(images_shown), torch.cat(mels_heard)
        if not pairs:
            return {}
        scores: dict[str, float] = {}
        total = torch.zeros((), device=batch.target.device)
        count = len(batch.target if some is None else some)
        for level, score in self.critics(pairs).items():
            real, fake = score[:count], score[count:]
            critic_loss = RIVALRY[self.config.critics[level].kind][0]
            total = total + critic_loss(real, fake)
            scores |= {f"real{level}": real.mean().item(), f"fake{level}": fake.mean().item()}
        return scores | left_out(descend(self.fabric, self.critics, self.critic_optimiser, total))

    def _set_rate(self, index: int) -> None:
        config = self.config
        rate = rate_at(index, config.loop.steps, config.lr, rise=config.warmup, decay=config.decay, floor=0.1)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["scale"]
        if self.critic_optimiser is not None:
            for group in self.critic_optimiser.param_groups:
                group["lr"] = rate * config.critic_lr

    # ------------------------------------------------------------------------------------------------ the rest

    @torch.no_grad()
    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """PSNR inside the hidden region with right and with wrong sound, on each held-out set; and a picture strip.

        Also the gradient norms of terms other than L1 (`sidgan.train.balance`), and figures and warnings about the
        health of the training (`sidgan.train.health`).
        """
        config, now = self.config, moment(self.config, index - 1, self.gate.opened)
        level, share = now.level, index / config.loop.steps
        scores: dict[str, float] = {}
        if self.critics is not None:
            batch = self._augmented(np.random.default_rng(0), 2 * WINDOWS, 1)
            scores = critic_figures(self.net.module, self.objective, batch, now.gan_levels, level)
        coarse = []
        for name, data in (self.held or {"train": self.train}).items():
            windows = spread(data, 64)
            seen = judge(self.ema, windows, level)
            coarse.append(seen.coarse)
            figures = {"mouth": seen.right, "gap": seen.right - seen.wrong, "to_truth": seen.to_truth,
                       "to_reference": seen.to_reference}  # fmt: skip
            if self.expert is not None and config.has_sync:
                figures |= sync_figures(self.ema, self.expert, data, level)
            sync_on = now.sync == 1 and level in now.sync_levels
            for line in warnings(figures | scores, share, sync_on, config.ears_can_learn):
                self.note(f"{name}: {line}")
            scores |= {f"{name}_{k}": v for k, v in figures.items()}
            if self.fabric.is_global_zero:
                write_strip(images / f"{index:06d}-{name}.png", windows, seen.images, 8)
        # Processes must open the gate together, though their figures may differ slightly.
        scores |= {"coarse": self.fabric.broadcast(float(np.mean(coarse))), "modulation": modulation(self.ema)}
        if self.gate.add(index, scores["coarse"]):
            self.note(f"the validation L1 has stopped falling at {scores['coarse']:.4f}: the sync loss can start")
        for r, pulls in self.balance(level).items():
            scores |= {f"pull{r}_{term}": ratio for term, ratio in pulls.items()}
        return scores

    def state(self) -> dict[str, Any]:
        """Networks, average, optimisers, scaler, and the state of the sync gate and of the calibration."""
        state: dict[str, Any] = {"net": self.net.state_dict(), "ema": self.ema.state_dict()}
        state |= {"gate": self.gate.state(), "calibration": self.calibration.state()}
        state |= {"precision": scaler_state(self.fabric), "expert": self._expert_digest}
        state["optimiser"] = self.optimiser.state_dict()
        if self.critics is not None:
            state |= {"critics": self.critics.state_dict(), "critic_optimiser": self.critic_optimiser.state_dict()}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state`.

        Raises:
            CheckpointError: its sync loss came from another expert.
        """
        if state.get("expert", self._expert_digest) != self._expert_digest:  # missing in runs of older versions
            raise CheckpointError("the run was started with another sync expert; resume it with the same --expert, or "
                                  "use another --run folder")  # fmt: skip
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        if "gate" in state:  # missing in runs of older versions
            self.gate.restore(state["gate"])
            self.calibration.restore(state["calibration"])
            restore_scaler(self.fabric, state["precision"])
        if self.critics is not None:
            self.critics.load_state_dict(state["critics"])
            self.critic_optimiser.load_state_dict(state["critic_optimiser"])

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the averaged generator; its card names the weights of VGG19 and any calibrated loss weights.

        Critics are written beside it: adaptation to a person needs them to keep pictures sharp.
        """
        extra: dict[str, Any] = {"vgg": self.vgg.source} if self.vgg is not None else {}
        if self.config.calibrate:
            extra["weights"] = {str(r): asdict(self.objective.weights_at(r)) for r in self.config.generator.rgb_levels}
        checkpoint.save(path, self.ema, {**meta, **extra})
        if self.critics is not None:
            checkpoint.save_critics(path, self.critics.module, meta)
