"""Fine-tuning the generator on the video that is to be dubbed: its own picture and sound are truth for this person.

The last stretch is never trained on. It judges the result, and the adapted weights are kept only if they draw its mouth
better than the weights they started from.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from lightning.fabric import Fabric

from sidgan import checkpoint
from sidgan.config import LossWeights
from sidgan.data.dataset import PackedClip, PackedSet, Windows, stack_windows
from sidgan.data.prepare import PrepareConfig, prepare
from sidgan.errors import InputError
from sidgan.nn import Generator
from sidgan.train.gan import GanTask, GanTrainConfig, judge
from sidgan.train.loop import LoopConfig

HELD_BACK = 0.25  #: share of the frames, at the end, that judges
GAP = 12  #: frames between the two stretches, so that the judge has not seen its first frames in training
MIN_FRAMES = 50  #: two seconds: with less there is nothing to learn from
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
    """
    base = checkpoint.load_generator(model)
    with tempfile.TemporaryDirectory(prefix="sidgan-") as folder:
        clip, offset = _pack(video, Path(folder), base.config.size, progress)
    split = int(len(clip) * (1 - HELD_BACK))
    train, judged = _part(clip, 0, split - GAP), _windows(clip, split)
    level = base.config.size
    before, wrong_before, _ = judge(base, judged, level)
    fabric = Fabric(accelerator="cpu" if device == "cpu" else "auto", devices=1)
    task = GanTask(_config(base, seed), PackedSet.of([train]), {}, fabric, start=base)
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
    after, wrong_after, _ = judge(adapted, judged, level)
    report = AdaptReport(
        frames=len(train), steps=index, minutes=round(spent / 60, 2), before=round(before, 2), after=round(after, 2),
        gap_before=round(before - wrong_before, 2), gap_after=round(after - wrong_after, 2), offset=offset,
        kept=after > before,
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


def _part(clip: PackedClip, first: int, last: int) -> PackedClip:
    return PackedClip(clip.name, clip.images[first:last], clip.mels[first:last], clip.masks[first:last],
                      clip.landmarks[first:last])  # fmt: skip


def _windows(clip: PackedClip, split: int, most: int = 64) -> Windows:
    """Frames of the held-back stretch, each with a reference from the stretch that is trained on."""
    frames = np.unique(np.linspace(split, len(clip) - 1, most).astype(int))
    picks = [(clip, int(i), int((i * 7) % max(1, split - GAP))) for i in frames]
    return stack_windows(picks, 1, int(clip.images.shape[-1]))


def _config(base: Generator, seed: int) -> GanTrainConfig:
    levels = base.config.rgb_levels
    return GanTrainConfig(
        generator=base.config, weights={level: LossWeights(mouth=5.0) for level in levels},
        loop=LoopConfig(steps=2), batch=BATCH, lr=RATE, decay=0.5, audio_lr=0.3, grow=(0.0,) * (len(levels) - 1),
        fade=0.0, sync_from=2.0, gan_from=2.0, ema=0.98, seed=seed,
    )  # fmt: skip
