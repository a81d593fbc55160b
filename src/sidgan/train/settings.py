"""Settings of a generator's training."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from sidgan.config import SYNC_FRAMES, DiscriminatorConfig, GeneratorConfig, LossWeights
from sidgan.settings import require, require_between
from sidgan.train.loop import LoopConfig
from sidgan.train.precision import Precision


@dataclass(frozen=True)
class GanTrainConfig:
    """Training of a generator. All times and durations of the schedule are shares of ``loop.steps``.

    Attributes:
        generator: the network.
        weights: Eq. 4 at each RGB level; a level without an entry has the defaults: only L1, weighted in the mouth.
        discriminators: one for each level whose ``gan`` weight is not 0.
        features: loss on VGG19 features: ``contextual`` (Eq. 3) or ``perceptual`` (an ablation of Table 4).
        expert_kind: required kind of the expert; ``any`` accepts all.
        vgg: weights of VGG19: ``published`` or ``normalised`` (`sidgan.downloads.VGGS`, downloaded once); or
            ``random``, which is not the paper's loss.
        loop: steps and intervals.
        batch: frames per step: windows of 5 frames in steps with the sync loss, else single frames.
        lr, betas: Adam, for generator and discriminators alike.
        warmup: steps over which the learning rate rises at the beginning.
        decay: share of the run, at its end, over which the learning rate falls linearly, to a tenth at least.
        audio_lr: learning rate of the audio encoder relative to ``lr``; 0 freezes it.
        trunk_lr: learning rate of the generator's ``trunk`` relative to ``lr``; 0 freezes it.
        grow: when each level after the first is switched on (progressive training); zeros, together with ``fade`` 0,
            activate all levels from the start.
        fade: how long a new level is faded in.
        sync_from, gan_from: when these losses start; the sync loss then ramps up.
        settle: how long after a level has faded in its critic starts; its sync loss starts once it has faded in. If
            ``None``, both start with the level, weighted by its fade.
        sync_gate: evaluations in a row in which the validation L1 must not fall before the sync loss starts, even if
            that is later than ``sync_from``; 0 does not wait.
        sync_ramp: how long the sync loss ramps up; by default as long as ``fade``.
        sync_every: interval of the sync loss in steps. A step with it uses a fifth as many clips, so the steps in
            between keep small batches varied.
        features_every: interval of the loss on VGG19 features in steps; it can cost more than all the rest.
        critic_lr: learning rate of the discriminators relative to ``lr``.
        calibrate: rescale each term once if its gradient lies outside its band (`sidgan.train.calibration.BANDS`).
        recon_frames: of every five frames, how many are used for the features, frequency and gan terms; fewer are
            faster.
        recompute: number of the finest generator blocks whose activations are recomputed in the backward pass
            (gradient checkpointing): less memory, more time.
        augment: whether pictures, sounds and hidden boxes are augmented (`sidgan.train.batch`). The paper mentions no
            augmentation.
        identity: 0 to 1, strength of the changes of people's looks: proportions, colours, blotches on the skin.
        references: each step uses 1 to this many reference pictures per window, a random number.
        ema: decay of the averaged weights, which are evaluated and exported.
        pool: clips that each process holds at a time, where data comes in shards (`sidgan.data.shardset`).
        precision: ``auto`` (see `sidgan.engine.choose_precision`), or Lightning's name of one.
        seed: random seed.
    """

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    weights: dict[int, LossWeights] = field(default_factory=dict)
    discriminators: dict[int, DiscriminatorConfig] = field(default_factory=dict)
    features: Literal["contextual", "perceptual"] = "contextual"
    vgg: Literal["published", "normalised", "random"] = "published"
    expert_kind: Literal["aps", "vanilla", "any"] = "aps"
    loop: LoopConfig = field(default_factory=LoopConfig)
    batch: int = 20
    lr: float = 2e-4
    betas: tuple[float, ...] = (0.5, 0.999)
    warmup: int = 50
    decay: float = 0.3
    audio_lr: float = 0.0
    trunk_lr: float = 1.0
    grow: tuple[float, ...] = (0.1, 0.3)
    fade: float = 0.05
    sync_from: float = 0.5
    gan_from: float = 0.7
    settle: float | None = None
    sync_gate: int = 0
    sync_ramp: float | None = None
    sync_every: int = 1
    features_every: int = 1
    critic_lr: float = 1.0
    calibrate: bool = False
    recon_frames: int = SYNC_FRAMES
    recompute: int = 0
    augment: bool = True
    identity: float = 0.0
    references: int = 1
    ema: float = 0.999
    pool: int = 128
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        levels = self.generator.rgb_levels
        require_between(self, SYNC_FRAMES, math.inf, "batch")
        require_between(self, 1, math.inf, "sync_every", "features_every", "references", "pool")
        require_between(self, 0, math.inf, "audio_lr", "trunk_lr", "critic_lr", "fade", "sync_from", "gan_from",
                        "settle", "sync_gate", "sync_ramp", "recompute", "warmup", "seed")  # fmt: skip
        require_between(self, 0, 1, "decay", "identity")
        require_between(self, 1, SYNC_FRAMES, "recon_frames")
        two = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(two, f"betas must be two numbers, 0 or more and less than 1, not {self.betas}")
        rising = all(a <= b for a, b in pairwise((0.0, *self.grow)))
        require(rising, f"the times of grow must be 0 or more and must not fall, not {self.grow}")
        require(0 < self.lr <= 1, f"lr must be more than 0, 1 at the most, not {self.lr}")
        require(0 <= self.ema < 1, f"ema must be 0 or more and less than 1, not {self.ema}")
        require(self.augment or not self.identity, "identity needs augment; set augment to true")
        if self.trunk_lr == 0:
            require(self.generator.trunk > 0, "trunk_lr = 0 needs a trunk; set generator.trunk")
            require(self.audio_lr == 0, "the audio encoder feeds the trunk; with trunk_lr = 0, set audio_lr to 0")
        require(self.batch % SYNC_FRAMES == 0, f"batch must be a multiple of {SYNC_FRAMES} frames, not {self.batch}")
        require(len(self.grow) == len(levels) - 1, f"grow needs one time for each of the levels {levels[1:]}")
        kind = self.generator.kind
        require(kind == "sidgan" or self.audio_lr == 1, f"a {kind} generator trains its own encoder; set audio_lr to 1")
        require(kind == "sidgan" or self.recompute == 0, f"a {kind} generator cannot recompute; set recompute to 0")
        for name in {*self.weights, *self.discriminators}:
            require(name in self.generator.levels, f"there is no level {name}; levels are {self.generator.levels}")
        for r in levels:
            require(r in self.discriminators or not self.weights_at(r).gan, f"level {r} has a 'gan' weight and no "
                    f"critic: give it one (discriminators.{r}), or set weights.{r}.gan to 0")  # fmt: skip
        for r, critic in self.critics.items():
            require(critic.fits(r), f"a critic of kind '{critic.kind}' with {critic.layers} layers does not fit "
                    f"pictures of {r} px; change discriminators.{r}.layers")  # fmt: skip

    @property
    def ears_can_learn(self) -> bool:
        """Whether ``audio_lr`` can be raised to 1: not if it is 1 already, or must be 0 as the trunk is frozen."""
        return self.audio_lr < 1 and self.trunk_lr > 0

    @property
    def needs_vgg(self) -> bool:
        """Whether any level has a loss on VGG19 features."""
        return any(weights.features for weights in self.weights.values())

    @property
    def has_sync(self) -> bool:
        """Whether any level has a sync loss."""
        return any(weights.sync for weights in self.weights.values())

    @property
    def has_more_than_l1(self) -> bool:
        """Whether any level has a term other than L1."""
        return any(w.features or w.frequency or w.gan or w.sync for w in self.weights.values())

    def weights_at(self, level: int) -> LossWeights:
        """Weights of an output, including those of coarser levels without an output.

        So an ablation without some outputs has the same total weights (Table 4, w/o pyramid generator).
        """
        own = self.weights.get(level, LossWeights())
        outputs = self.generator.rgb_levels
        before = max((r for r in outputs if r < level), default=0)
        orphans = [w for r, w in self.weights.items() if before < r < level and r not in outputs]
        terms = ("l1", "features", "frequency", "gan", "sync")
        return replace(own, **{t: getattr(own, t) + sum(getattr(w, t) for w in orphans) for t in terms})

    @property
    def critics(self) -> dict[int, DiscriminatorConfig]:
        """The discriminators of levels with an output."""
        return {r: c for r, c in self.discriminators.items() if r in self.generator.rgb_levels}
