"""Measure the gradient of each term of Eq. 4 on the mouth relative to that of L1."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from sidgan.nn import Generator
from sidgan.train.batch import Batch, at_level
from sidgan.train.objective import Objective


def gradient_balance(
    net: Generator, objective: Objective, samples: Iterable[tuple[Batch, Tensor | None]], level: int,
    wanted: Mapping[int, Collection[str]] | None = None,
) -> dict[int, dict[str, float]]:  # fmt: skip
    """Gradient norms of the weighted terms on the hidden region of each output, relative to L1's.

    Every term is measured at its full weight, even if the schedule has not started it yet. The networks do not change.

    Args:
        net: a generator in training.
        objective: its terms.
        samples: batches of windows of five frames, with the indices of the frames for the expensive terms; the median
            over the batches is returned.
        level: finest active output.
        wanted: {level: terms} to measure; all by default. VGG19 makes some of them expensive.

    Returns:
        {level: {term: ratio}}, coarse to fine, for outputs that have terms other than L1.
    """
    if not objective.config.has_more_than_l1:
        return {}
    ratios: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for batch, some in samples:
        with torch.no_grad():
            images = net(batch.shown_to(net.config), batch.reference, batch.mels, level, None, batch.placed)
        for r in images.keys() if wanted is None else images.keys() & wanted.keys():
            image, only = images[r], None if wanted is None else {"l1", *wanted[r]}
            leaf = image.detach().requires_grad_()
            hidden = at_level(batch.mask, r)
            with torch.enable_grad():
                with objective.critics_in_eval():
                    values = objective.terms(r, leaf, batch, 1.0, True, some, only)
                # Terms on a subset of the frames share the indexing, so its graph is kept.
                pulls = {name: torch.autograd.grad(v, leaf, retain_graph=True)[0] for name, v in values.items()}
                norms = {name: float((pull * hidden).norm()) for name, pull in pulls.items()}
            l1 = norms.pop("l1")
            for name, norm in norms.items():
                ratios[r][name].append(norm / l1)
    return {r: {name: float(np.median(values)) for name, values in ratios[r].items()} for r in sorted(ratios)}
