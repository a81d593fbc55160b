"""Settings of an adaptation. They are for experiments: a user only says for how long."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sidgan.config import SYNC_FRAMES, DiscriminatorConfig, GeneratorConfig, LossWeights, require
from sidgan.train.gan import GanTrainConfig
from sidgan.train.loop import LoopConfig

WARMUP = 10  #: steps; a run of a minute has few
DEAR = 2  #: frames of five that the critic looks at, as when the bundled weights were trained
DEAF_LIPS = -1.0  #: weight of lips where the sound teaches nothing: they count like the face outside the hidden box


@dataclass(frozen=True)
class AdaptConfig:
    """How a generator is fine-tuned to one face.

    Attributes:
        rate: Adam's learning rate. Over the last half it falls to a tenth.
        audio_rate: of the audio encoder, relative to ``rate``; 0 keeps it as it is.
        tuned: only parameters whose names begin with one of these are trained; none named: all.
        batch: frames per step.
        ema: decay of the averaged weights, which are what is judged and used.
        part: how much of what was learnt is used. A person's few seconds teach looks and habits; of these a new voice
            wants fewer.
        mouth, lips: how much more L1 counts inside the hidden box, and on the lips (`sidgan.config.LossWeights`).
        gan: weight of the critic at the finest level: the one that the weights were trained against, which goes on
            learning. Where none is kept beside them, or the sound teaches nothing, there is none.
        looks: shares of the run after which the weights are judged; the best are used.
        steps: updates; without it the time decides.
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
        """What the trainer is told.

        Args:
            generator: the network.
            critic: that of its finest level, if there is one.
            hears: whether the sound belongs to the picture. If not, nobody knows what the lips should do.
            seed: of everything random.
        """
        levels = generator.rgb_levels
        everywhere = LossWeights(mouth=self.mouth, lips=self.lips if hears else DEAF_LIPS)
        weights = dict.fromkeys(levels, everywhere)
        finest = replace(everywhere, gan=0.0 if critic is None else self.gan)
        judged = critic is not None
        return GanTrainConfig(
            generator=generator, weights=weights | {levels[-1]: finest}, loop=LoopConfig(steps=2), batch=self.batch,
            lr=self.rate, betas=(0.5 if judged else 0.9, 0.999), warmup=WARMUP, decay=0.5,
            audio_lr=self.audio_rate if hears else 0.0, grow=(0.0,) * (len(levels) - 1), fade=0.0,
            sync_from=2.0, gan_from=0.0 if judged else 2.0,  # 2: never
            discriminators={} if critic is None else {levels[-1]: critic},
            recon_frames=DEAR if judged else SYNC_FRAMES, references=generator.references, ema=self.ema,
            seed=seed,
        )  # fmt: skip
