"""Fine-tuning the generator on the video that is to be dubbed: its own picture and sound are truth for this person.

The last stretch is never trained on. It judges the result, and the adapted weights are kept only if they draw its mouth
better than the weights they started from.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sidgan import checkpoint
from sidgan.config import LossWeights
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.data.prepare import PrepareConfig, prepare
from sidgan.errors import InputError
from sidgan.evaluation import evaluate
from sidgan.files import check_target
from sidgan.nn import Generator
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.loop import LoopConfig
from sidgan.train.runs import launch

HELD_BACK = 0.25  #: share of the frames, at the end, that judges
GAP = 12  #: frames between the two stretches, so that the judge has not seen its first frames in training
MIN_FRAMES = 50  #: two seconds: with less there is nothing to learn from
JUDGED = 250  #: frames of it that are looked at, at the most
BATCH = 10
RATE = 4e-4
LONGEST = 3000  #: seconds of a video that are read at the most; a person's mouth repeats itself long before


@dataclass(frozen=True)
class AdaptReport:
    """What adaptation did.

    Attributes:
        frames: trained on. steps, minutes: how long.
        before, after: mouth PSNR in dB on the held-back stretch.
        gap_before, gap_after: how much worse a wrong sound does there, dB: does the mouth listen?
        lmd_before, lmd_after: mean distance of the lip landmarks there, px at 256 px.
        offset: frames by which the video's own sound was moved to fit its picture (0: in sync, or not to be told).
        kept: whether the adapted weights are used.
    """

    frames: int
    steps: int
    minutes: float
    before: float
    after: float
    gap_before: float
    gap_after: float
    lmd_before: float
    lmd_after: float
    offset: int
    kept: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def adapt(
    video: Path,
    *,
    model: Path | str = "bundled",
    minutes: float = 5.0,
    out: Path | None = None,
    device: str = "auto",
    seed: int = 0,
    progress: Callable[[float, str], None] = lambda share, text: None,
) -> tuple[Generator, AdaptReport]:
    """Fine-tune a generator on one video for ``minutes``.

    Args:
        video: a talking face with its own sound.
        model: weights to start from.
        minutes: time for training; preparation comes on top.
        out: where to keep the result for later dubs of this person (``.safetensors``).
        progress: called with the share done and a line of text.

    Returns:
        The better of the adapted and the original generator, in eval mode on the CPU, and the report.

    Raises:
        InputError: no sound, no face, or less than two seconds of either.
        OutputError: ``out`` cannot be written.
    """
    if out is not None:
        check_target(out)
    base = checkpoint.load_generator(model)
    with tempfile.TemporaryDirectory(prefix="sidgan-") as folder:
        clip, offset = _pack(video, Path(folder), base.config.size, progress)
    split = int(len(clip) * (1 - HELD_BACK))
    train = _frames(clip, range(split - GAP))
    judged = PackedSet.of([_frames(clip, [0, *range(split, min(len(clip), split + JUDGED))])])
    before = _judge(base, judged)
    task = GanTask(_config(base, seed), PackedSet.of([train]), {}, launch(device, "auto"), start=base)
    begun, budget = time.monotonic(), 60 * minutes
    steps = index = 0
    while index == 0 or index < steps:
        task.step(index)
        index += 1
        spent = time.monotonic() - begun
        steps = max(index, int(index * budget / spent)) if spent < budget else index
        task.config = replace(task.config, loop=LoopConfig(steps=max(steps, 2)))  # the rate falls towards this end
        progress(min(1.0, spent / budget), f"adapting: step {index} of about {steps}")
    spent = time.monotonic() - begun
    adapted = task.ema.cpu().eval()
    after = _judge(adapted, judged)
    report = AdaptReport(
        frames=len(train), steps=index, minutes=round(spent / 60, 2), before=before.psnr, after=after.psnr,
        gap_before=before.gap, gap_after=after.gap, lmd_before=before.lmd, lmd_after=after.lmd, offset=offset,
        kept=after.psnr > before.psnr,
    )  # fmt: skip
    result = adapted if report.kept else checkpoint.load_generator(model)
    if out is not None:
        checkpoint.save(out, result, {"adapted_to": video.name, **report.to_dict()}, half=True)
    return result, report


def _pack(
    video: Path, folder: Path, size: int, progress: Callable[[float, str], None]
) -> tuple[PackedClip, int]:
    progress(0.0, "adapting: reading the face")
    source = folder / "source"
    source.mkdir()
    if not video.is_file():
        raise InputError(f"no file {video}; give a video of a talking face")
    (source / f"video{video.suffix.lower()}").symlink_to(video.resolve())
    config = PrepareConfig(size=size, min_side=32, min_seconds=MIN_FRAMES / 25, max_seconds=LONGEST, max_turned=1.0)
    (record,) = prepare(source, folder / "packed", config)
    if not record["kept"]:
        raise InputError(f"cannot adapt to {video.name}: {record['reason']}; dub without --adapt")
    data = PackedSet(folder / "packed", ["train"])
    return data.clips[0], int(record["corrected"])


def _frames(clip: PackedClip, frames: Sequence[int]) -> PackedClip:
    pick = list(frames)
    return PackedClip(clip.name, clip.images[pick], clip.mels[pick], clip.masks[pick], clip.landmarks[pick])


class _Verdict(NamedTuple):
    """On the held-back stretch: mouth PSNR, how much of it wrong sound costs (both dB), and lip distance (px)."""

    psnr: float
    gap: float
    lmd: float


def _judge(generator: Generator, judged: PackedSet) -> _Verdict:
    """The reconstruction protocol on the held-back stretch; the video's first frame is the reference."""
    found = {r.row: r.values for r in evaluate(generator, judged, rows=("model", "wrong"), id_every=0).records}
    right, wrong = found["model"]["mouth_psnr"], found["wrong"]["mouth_psnr"]
    return _Verdict(round(right, 2), round(right - wrong, 2), round(found["model"]["lmd"], 2))


def _config(base: Generator, seed: int) -> GanTrainConfig:
    levels = base.config.rgb_levels
    return GanTrainConfig(
        generator=base.config, weights={level: LossWeights(mouth=5.0, lips=2.0) for level in levels},
        loop=LoopConfig(steps=2), batch=BATCH, lr=RATE, betas=(0.9, 0.999), decay=0.5, audio_lr=0.3,
        grow=(0.0,) * (len(levels) - 1), fade=0.0, sync_from=2.0, gan_from=2.0, ema=0.98, seed=seed,
    )  # fmt: skip
