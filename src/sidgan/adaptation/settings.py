"""Settings of an adaptation. They are for experiments; users choose only the duration."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sidgan.config import SYNC_FRAMES, DiscriminatorConfig, GeneratorConfig, LossWeights
from sidgan.settings import require
from sidgan.train.loop import LoopConfig
from sidgan.train.settings import GanTrainConfig

WARMUP = 10  #: steps; few, as a run of a minute is short
CRITIC_FRAMES = 2  #: of every five frames, shown to the critic, as when the bundled weights were trained
LIPS_WITHOUT_SOUND = -1.0  #: `lips` if the sound does not belong to the face: weights lips like unmasked pixels


@dataclass(frozen=True)
class AdaptConfig:
    """How a generator is fine-tuned to one face.

    Attributes:
        rate: Adam's learning rate. Over the last half it falls to a tenth.
        audio_rate: learning rate of the audio encoder, relative to ``rate``; 0 freezes it.
        tuned: train only parameters whose names start with one of these prefixes; empty: all.
        batch: frames per step.
        ema: decay of the averaged weights, which are evaluated and used.
        part: the weights used lie this share of the way from the original to the trained weights. Training on a few
            seconds teaches habits of the mouth as well as looks, and for a new voice fewer of the habits are right.
        mouth, lips: additional weight of L1 inside the hidden box, and on the lips (`sidgan.config.LossWeights`).
        gan: weight of the critic at the finest level, which was trained with the model and is trained further. There is
            none if the model file has no critics beside it, or if the sound does not belong to the face.
        looks: shares of the run after which the weights are evaluated; the best are used.
        steps: number of updates; by default as many as fit into the time.
    """

    rate: float = 4e-4
    audio_rate: float = 0.3
    tuned: tuple[str, ...] = ()
    batch: int = 10
    ema: float = 0.98
    part: float = 0.75
    mouth: float = 5.0
    lips: float = 2.0
    gan: float = 0.015
    looks: tuple[float, ...] = (0.5, 0.75, 1.0)
    steps: int | None = None

    def __post_init__(self) -> None:
        require(0 < self.part <= 1, f"part must be a share above 0, not {self.part}")
        require(self.steps is None or self.steps > 0, f"steps must be positive, not {self.steps}")
        require(
            bool(self.looks) and self.looks[-1] == 1 and list(self.looks) == sorted(set(self.looks)),
            f"looks must be rising shares that end with 1, not {self.looks}",
        )

    def training(
        self, generator: GeneratorConfig, *, hears: bool, seed: int, critic: DiscriminatorConfig | None = None
    ) -> GanTrainConfig:
        """The settings for `GanTask`.

        Args:
            generator: the network.
            hears: whether the sound belongs to the picture. If not, the right shape of the lips is unknown.
            seed: random seed.
            critic: the critic of the finest level, if there is one.
        """
        levels = generator.rgb_levels
        everywhere = LossWeights(mouth=self.mouth, lips=self.lips if hears else LIPS_WITHOUT_SOUND)
        weights = dict.fromkeys(levels, everywhere)
        finest = replace(everywhere, gan=0.0 if critic is None else self.gan)
        judged = critic is not None
        return GanTrainConfig(
            generator=generator, weights=weights | {levels[-1]: finest}, loop=LoopConfig(steps=2), batch=self.batch,
            lr=self.rate, betas=(0.5 if judged else 0.9, 0.999), warmup=WARMUP, decay=0.5,
            audio_lr=self.audio_rate if hears else 0.0, grow=(0.0,) * (len(levels) - 1), fade=0.0,
            sync_from=2.0, gan_from=0.0 if judged else 2.0,  # 2: never
            discriminators={} if critic is None else {levels[-1]: critic},
            recon_frames=CRITIC_FRAMES if judged else SYNC_FRAMES, references=generator.references, ema=self.ema,
            seed=seed,
        )  # fmt: skip
