"""Evaluate a generator in training: mouth PSNR with right and wrong sound, and picture strips."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.data.dataset import PackedSet, Windows, stack_windows
from sidgan.nn import Generator
from sidgan.train.batch import at_level, prepare_batch


def spread(data: PackedSet, count: int) -> Windows:
    """``count`` single frames spread evenly over a set; the reference of each is the frame half its clip away."""
    picks = []
    for i in np.linspace(0, len(data) - 1, count).astype(int):
        clip, at = data.locate(int(i))
        picks.append((clip, at, [(at + len(clip) // 2) % len(clip)]))
    return stack_windows(picks, 1, data.shown)


class Judged(NamedTuple):
    """A generator's pictures of some windows, and figures inside the hidden region.

    Attributes:
        right, wrong: mean PSNR (dB), with the right sound and with that of other windows.
        images: (N, 3, r, r), drawn with the right sound.
        coarse: mean absolute difference of the coarsest output from the truth; comparable throughout a run.
        to_truth, to_reference: mean absolute difference from the truth and from the reference picture.
    """

    right: float
    wrong: float
    images: Tensor
    coarse: float
    to_truth: float
    to_reference: float


def distance(image: Tensor, other: Tensor, mask: Tensor) -> float:
    """Mean absolute difference of two (N, 3, S, S) pictures where ``mask`` (N, 1, S, S) is 1."""
    return float(((image - other).abs() * mask).sum() / (3 * mask.sum() + 1e-6))


@torch.no_grad()
def judge(net: Generator, windows: Windows, level: int) -> Judged:
    """Evaluate a generator's output at one level."""
    device = next(net.parameters()).device
    batch = prepare_batch(windows, None).to(device)
    truth, mask = at_level(batch.target, level), (at_level(batch.mask, level) > 0.5).float()

    def draw(mels: Tensor) -> dict[int, Tensor]:
        given = (part.split(16) for part in (batch.shown_to(net.config), batch.reference, mels, batch.placed))
        parts = [net(query, shown, mel, level, None, placed) for query, shown, mel, placed in zip(*given, strict=True)]
        return {r: torch.cat([part[r] for part in parts]) for r in parts[0]}

    def psnr(image: Tensor) -> float:
        error = ((image - truth).square() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)) + 1e-6)
        return float((-10 * torch.log10(error + 1e-10)).mean())

    outputs = draw(batch.mels)
    image, coarsest = outputs[level], min(outputs)
    coarse_mask = (at_level(batch.mask, coarsest) > 0.5).float()
    return Judged(
        right=psnr(image),
        wrong=psnr(draw(batch.mels.roll(len(batch.mels) // 2 + 1, 0))[level]),
        images=image,
        coarse=distance(outputs[coarsest], at_level(batch.target, coarsest), coarse_mask),
        to_truth=distance(image, truth, mask),
        to_reference=distance(image, at_level(batch.reference[:, 0], level), mask),
    )


def write_strip(path: Path, windows: Windows, outputs: Tensor, count: int) -> None:
    """A PNG with ``count`` rows of query, reference, output, truth."""
    batch = prepare_batch(windows, None)
    size = batch.target.shape[-1]
    shown = F.interpolate(outputs.cpu(), (size, size), mode="nearest") if outputs.shape[-1] != size else outputs.cpu()
    rows = np.linspace(0, len(shown) - 1, count).astype(int)
    columns = [batch.query.cpu(), batch.reference[:, 0].cpu(), shown, batch.target.cpu()]
    grid = torch.cat([torch.cat([c[i] for c in columns], 2) for i in rows], 1)
    pixels = (grid.permute(1, 2, 0) * 255 + 0.5).clamp(0, 255).byte().numpy()
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))

