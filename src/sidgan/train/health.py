"""The health of a generator in training: figures for every evaluation, and warnings that name the remedy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sidgan.config import SYNC_FRAMES
from sidgan.data.dataset import PackedSet
from sidgan.losses import sync_loss
from sidgan.nn import Generator, SyncNet, lower_half_windows
from sidgan.nn.layers import FeatureNorm
from sidgan.train.batch import Batch, at_level, prepare_batch
from sidgan.train.objective import Objective

WARN_FROM = 0.25  #: share of the run before which there are no warnings
MIN_PSNR_GAP = 0.1  #: dB by which mouth PSNR must be better with the right sound than with a wrong one
MIN_SYNC_GAP = 0.05  #: by which a wrong sound must raise the sync loss
MIN_EXPERT_GAP = 0.1  #: the same on true frames; below it, the expert's loss is meaningless
COPY_RATIO = 0.9  #: distance to the reference relative to that to the truth, below which it counts as copied
MAX_MARGIN = 0.8  #: mean score of real minus generated patches (a perfect critic gives 1 and 0)
WINDOWS = 8  #: windows that the figures are measured on


@torch.no_grad()
def sync_figures(net: Generator, expert: SyncNet, data: PackedSet, level: int) -> dict[str, float]:
    """Sync loss of a generator at one level on windows of a set, and how much wrong sounds add to it.

    Returns:
        ``sync``: loss of generated pictures with the right sound. ``sync_gap``: how much higher the loss is with the
        sound of another window. ``sync_truth``, ``sync_truth_gap``: the same for true frames.
    """
    windows = data.windows(np.random.default_rng(0), WINDOWS, SYNC_FRAMES)
    batch = prepare_batch(windows, None).to(next(net.parameters()).device)
    drawn = net(batch.shown_to(net.config), batch.reference, batch.mels, level, None, batch.placed)[level]
    heard = expert.embed_audio(batch.sync_mel)
    figures: dict[str, float] = {}
    for name, images in (("sync", drawn), ("sync_truth", at_level(batch.target, level))):
        faces = images.unflatten(0, (-1, SYNC_FRAMES))
        seen = expert.embed_video(lower_half_windows(faces, expert.config.face))
        right, *others = (float(sync_loss((seen * heard.roll(k, 0)).sum(1))) for k in range(WINDOWS))
        figures |= {name: right, f"{name}_gap": float(np.mean(others)) - right}
    return figures


@torch.no_grad()
def critic_figures(
    net: Generator, objective: Objective, batch: Batch, levels: tuple[int, ...], level: int
) -> dict[str, float]:
    """Mean scores by the critics of ``levels``: ``real<level>`` of real and ``fake<level>`` of generated pictures.

    Args:
        net: a generator in training.
        objective: has critics.
        batch: of the training set, augmented as in a step.
        levels: of the critics.
        level: finest active output.
    """
    images = net(batch.shown_to(net.config), batch.reference, batch.mels, level, None, batch.placed)
    figures = {}
    with objective.critics_in_eval():
        for r in (r for r in levels if str(r) in objective.critics.module):
            critic = objective.critics.module[str(r)]
            figures[f"real{r}"] = float(critic(at_level(batch.target, r), batch.mels).mean())
            figures[f"fake{r}"] = float(critic(images[r], batch.mels).mean())
    return figures


def modulation(net: Generator) -> float:
    """Root mean square of the weights that turn sound into scales and shifts; 0.02 at the start of a training."""
    weights = [m.modulation.weight for m in net.modules() if isinstance(m, FeatureNorm) and m.modulation is not None]
    return float(torch.cat([w.detach().flatten() for w in weights]).square().mean().sqrt()) if weights else 0.0


def warnings(figures: Mapping[str, float], share: float, sync_on: bool, ears_can_learn: bool) -> list[str]:
    """Warnings about a generator, one line each: what is wrong and what to do.

    Args:
        figures: of one held-out set, with the critics' scores (see `GanTask.evaluate`); some may be missing.
        share: share of the run that is done.
        sync_on: whether the sync loss has reached its full weight.
        ears_can_learn: whether the learning rate of the audio encoder can be raised (`GanTrainConfig.ears_can_learn`).
    """
    if share < WARN_FROM:
        return []
    lines = []
    judged = sync_on and figures.get("sync_truth_gap", 0.0) >= MIN_EXPERT_GAP
    if sync_on and "sync_truth_gap" in figures and not judged:
        lines.append(f"the expert hardly tells right sound from wrong sound on true frames (its loss differs by "
                     f"{figures['sync_truth_gap']:.2f}); train the expert further before you use its loss")  # fmt: skip
    deaf = []
    if figures["gap"] < MIN_PSNR_GAP:
        deaf.append(f"wrong sound costs only {figures['gap']:.2f} dB")
    if judged and figures["sync_gap"] < MIN_SYNC_GAP:
        deaf.append(f"wrong sound raises the sync loss by only {max(0.0, figures['sync_gap']):.2f}")
    if deaf:
        first = "set audio_lr to 1, or " if ears_can_learn else ""
        lines.append(f"the sound is ignored ({', '.join(deaf)}); {first}raise lips or the weight of the sync loss")
    if figures["to_reference"] < COPY_RATIO * figures["to_truth"]:
        lines.append(f"the reference frame is copied (mouths differ from it by {figures['to_reference']:.3f}, from the "
                     f"truth by {figures['to_truth']:.3f}); use clips longer than 2 s in which mouths move, and raise "
                     "mouth and lips")  # fmt: skip
    for level in (name.removeprefix("real") for name in figures if name.startswith("real")):
        real, fake = figures[f"real{level}"], figures[f"fake{level}"]
        if real - fake > MAX_MARGIN:
            lines.append(f"the critic of level {level} is winning (real {real:.2f}, generated {fake:.2f}); "
                         "lower critic_lr, or start it later (gan_from)")  # fmt: skip
    return lines
