"""A generator in training, looked at: mouth PSNR with right and wrong sound, and strips of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.data.dataset import PackedSet, Windows, stack_windows
from sidgan.nn import Generator
from sidgan.train.batch import at_level, prepare_batch


def spread(data: PackedSet, count: int) -> Windows:
    """Single frames spread evenly over a set, each with the farthest-away half of its clip as reference."""
    picks = []
    for i in np.linspace(0, len(data) - 1, count).astype(int):
        clip, at = data.locate(int(i))
        picks.append((clip, at, (at + len(clip) // 2) % len(clip)))
    return stack_windows(picks, 1, data.size)


@torch.no_grad()
def judge(net: Generator, windows: Windows, level: int) -> tuple[float, float, Tensor]:
    """Mean PSNR (dB) inside the hidden region at one level, with right and with other windows' sound; the outputs."""
    device = next(net.parameters()).device
    batch = prepare_batch(windows, None).to(device)
    truth, mask = at_level(batch.target, level), (at_level(batch.mask, level) > 0.5).float()

    def psnr(mels: Tensor) -> tuple[float, Tensor]:
        image = torch.cat([
            net(q, r, m, level)[level]
            for q, r, m in zip(batch.query.split(16), batch.reference.split(16), mels.split(16), strict=True)
        ])  # fmt: skip
        error = ((image - truth).square() * mask).sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3)) + 1e-6)
        return float((-10 * torch.log10(error + 1e-10)).mean()), image

    right, image = psnr(batch.mels)
    wrong, _ = psnr(batch.mels.roll(len(batch.mels) // 2 + 1, 0))
    return right, wrong, image


def write_strip(path: Path, windows: Windows, outputs: Tensor, count: int) -> None:
    """A PNG with ``count`` rows of query, reference, output, truth."""
    batch = prepare_batch(windows, None)
    size = batch.target.shape[-1]
    shown = F.interpolate(outputs.cpu(), (size, size), mode="nearest") if outputs.shape[-1] != size else outputs.cpu()
    rows = np.linspace(0, len(shown) - 1, count).astype(int)
    columns = [batch.query.cpu(), batch.reference.cpu(), shown, batch.target.cpu()]
    grid = torch.cat([torch.cat([c[i] for c in columns], 2) for i in rows], 1)
    pixels = (grid.permute(1, 2, 0) * 255 + 0.5).clamp(0, 255).byte().numpy()
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))

