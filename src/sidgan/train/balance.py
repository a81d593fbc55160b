"""How strongly each term of Eq. 4 pulls at the mouth, beside L1: what to look at when choosing its weights."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch

from sidgan.config import SYNC_FRAMES
from sidgan.train.batch import at_level, prepare_batch

if TYPE_CHECKING:
    from sidgan.train.gan import GanTask


def gradient_balance(task: GanTask, level: int, batches: int = 8) -> dict[int, dict[str, float]]:
    """Gradient norms of the weighted terms on the hidden region of each output, relative to L1's.

    Every term is measured at its full weight, whether the schedule has switched it on or not. Nothing is updated, and
    training goes on as if this had not been called.

    Args:
        task: a generator in training.
        level: finest active output.
        batches: the median over so many is given.

    Returns:
        {level: {term: ratio}}, coarse to fine, of outputs that have terms beside L1.
    """
    rng = np.random.default_rng(0)
    ratios: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    if not task.config.has_more_than_l1:
        return {}
    for _ in range(batches):
        windows = task.train.windows(rng, task.config.batch // SYNC_FRAMES, SYNC_FRAMES)
        batch = prepare_batch(windows, rng).to(task.fabric.device)
        with torch.no_grad():
            images = task.net.module(batch.query, batch.reference, batch.mels, level)
        for r, image in images.items():
            leaf = image.detach().requires_grad_()
            hidden = at_level(batch.mask, r)
            with torch.enable_grad():
                norms = {
                    name: float((torch.autograd.grad(value, leaf)[0] * hidden).norm())
                    for name, value in task.terms(r, leaf, batch, 1.0, True).items()
                }
            for name in norms.keys() - {"l1"}:
                ratios[r][name].append(norms[name] / norms["l1"])
    return {r: {name: float(np.median(values)) for name, values in terms.items()} for r, terms in ratios.items()}
