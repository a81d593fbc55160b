"""Measure the gradient of each term of Eq. 4 on the mouth relative to that of L1, and optionally rescale the terms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sidgan.config import SYNC_FRAMES
from sidgan.train.batch import at_level, prepare_batch
from sidgan.train.schedule import Moment

if TYPE_CHECKING:
    from sidgan.train.gan import GanTask

#: Bands in which the gradient norm of each term should lie, relative to L1's.
BANDS = {"features": (0.3, 1.0), "frequency": (0.1, 0.5), "gan": (0.1, 0.5), "sync": (0.03, 0.2)}
COARSEST_SYNC = (0.1, 0.5)  #: the band of sync at the coarsest output, which decides the shape of the lips
WAIT_STEPS = 200  #: from when a term starts until it is measured (a twentieth of a short run); none for sync
BATCHES = 8  #: number of batches measured on; enough, as the bands are at least a factor of three wide
MIN_MARGIN = 0.1  #: mean score of real minus generated patches from which a critic's gradient is representative


def gradient_balance(
    task: GanTask, level: int, batches: int = 4, wanted: Mapping[int, Collection[str]] | None = None
) -> dict[int, dict[str, float]]:
    """Gradient norms of the weighted terms on the hidden region of each output, relative to L1's.

    Every term is measured at its full weight and on as many frames as a process has in a training step, even if the
    schedule has not started it yet. Neither the networks nor the random state of the training change.

    Args:
        task: a generator in training.
        level: finest active output.
        batches: number of batches; the median is returned.
        wanted: {level: terms} to measure; all by default. VGG19 makes some of them expensive.

    Returns:
        {level: {term: ratio}}, coarse to fine, for outputs that have terms other than L1.
    """
    if not task.config.has_more_than_l1:
        return {}
    rng = np.random.default_rng(0)
    ratios: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    some = task.sampled_frames(rng, task.share)
    for _ in range(batches):
        windows = task.train.windows(rng, task.share // SYNC_FRAMES, SYNC_FRAMES)
        batch = prepare_batch(windows, task.augmentation_rng(rng)).to(task.fabric.device)
        queries = batch.shown_to(task.config.generator)
        with torch.no_grad():
            images = task.net.module(queries, batch.reference, batch.mels, level, None, batch.placed)
        for r in images.keys() if wanted is None else images.keys() & wanted.keys():
            image, only = images[r], None if wanted is None else {"l1", *wanted[r]}
            leaf = image.detach().requires_grad_()
            hidden = at_level(batch.mask, r)
            with torch.enable_grad():
                with task.critics_in_eval():
                    values = task.terms(r, leaf, batch, 1.0, True, some, only)
                # Terms on a subset of the frames share the indexing, so its graph is kept.
                pulls = {name: torch.autograd.grad(v, leaf, retain_graph=True)[0] for name, v in values.items()}
                norms = {name: float((pull * hidden).norm()) for name, pull in pulls.items()}
            for name in norms.keys() - {"l1"}:
                ratios[r][name].append(norms[name] / norms["l1"])
    return {r: {name: float(np.median(values)) for name, values in ratios[r].items()} for r in sorted(ratios)}


class Calibration:
    """Rescales each term of each level once, to the middle of its band, soon after the term has started.

    A critic is measured only once it separates real from generated pictures. Before that it has hardly any gradient,
    and a weight that compensates for this would soon be far too large. A critic of detail keeps its configured weight:
    its gradient is of high frequency, and as a norm exceeds that of L1 by far where mouths are already good.

    Attributes:
        scales: factors by which the weights are multiplied, {level: {term: factor}}.
        told: for each level, the running mean of the critic's score of real minus generated pictures.
    """

    def __init__(self) -> None:
        self.scales: dict[int, dict[str, float]] = {}
        self.told: dict[int, float] = {}
        self._since: dict[str, int] = {}

    def scale(self, level: int, term: str) -> float:
        """Factor of a weight; 1 if it was not measured or lay within its band."""
        return self.scales.get(level, {}).get(term, 1.0)

    def observe(self, scores: Mapping[str, float]) -> None:
        """Update the running means from a step's mean critic scores, ``real<level>`` and ``fake<level>``."""
        for level in (int(name.removeprefix("real")) for name in scores if name.startswith("real")):
            apart = scores[f"real{level}"] - scores[f"fake{level}"]
            self.told[level] = 0.9 * self.told.get(level, 0.0) + 0.1 * apart

    def update(self, task: GanTask, index: int, now: Moment) -> None:
        """Measure and rescale the terms that are due at a step. Neither the networks nor the random state change."""
        due = self._due(task, index, now)
        if not due:
            return
        # Processes may hold different clips; all use the factors of the first one, whose state is saved.
        wanted = {level: {term for r, term in due if r == level} for level, _ in due}
        measured = task.fabric.broadcast(gradient_balance(task, now.level, BATCHES, wanted))
        coarsest = task.config.generator.rgb_levels[0]
        for level, term in due:
            ratio = measured.get(level, {}).get(term)
            if ratio is None:
                continue
            low, high = COARSEST_SYNC if (term, level) == ("sync", coarsest) else BANDS[term]
            factor = 1.0 if low <= ratio <= high or ratio == 0 else float(np.sqrt(low * high)) / ratio
            self.scales.setdefault(level, {})[term] = factor
            verdict = "kept" if factor == 1 else f"multiplied by {factor:.3g}"
            task.note(f"level {level}: the gradient of {term} is {ratio:.3g} times that of L1 "
                      f"(band {low:g} to {high:g}); its weight is {verdict}")  # fmt: skip

    def _due(self, task: GanTask, index: int, now: Moment) -> list[tuple[int, str]]:
        """(level, term) pairs that have been fully active for long enough and have not been measured."""
        active = [r for r in task.config.generator.rgb_levels if r < now.level or (r == now.level and now.fade == 1)]
        of_faces = [r for r, critic in task.config.critics.items() if critic.sees == "face"]
        judged = [r for r in active if r in now.gan_levels and r in of_faces and self._discriminates(r)]
        present = {"features": active, "frequency": active, "gan": judged,
                   "sync": [r for r in active if now.sync > 0 and r in now.sync_levels]}  # fmt: skip
        wait = min(WAIT_STEPS, task.config.loop.steps // 20)
        due = []
        for term, levels in present.items():
            for level in levels:
                began = self._since.setdefault(f"{level} {term}", index)
                waited = term == "sync" or index - began >= wait
                if waited and term not in self.scales.get(level, {}) and getattr(task.weights_at(level), term):
                    due.append((level, term))
        return due

    def _discriminates(self, level: int) -> bool:
        return self.told.get(level, 0.0) >= MIN_MARGIN

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"scales": self.scales, "since": self._since, "told": self.told}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore `state`."""
        self.scales, self._since, self.told = state["scales"], state["since"], state["told"]
