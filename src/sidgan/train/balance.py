"""How strongly each term of Eq. 4 pulls at the mouth, beside L1: measured, and where wanted brought into a band."""

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

#: Where the gradient of a term should lie, relative to L1's. The coarsest output decides how the lips are shaped.
BANDS = {"features": (0.3, 1.0), "frequency": (0.1, 0.5), "gan": (0.1, 0.5), "sync": (0.03, 0.2)}
COARSEST_SYNC = (0.1, 0.5)
WAIT = 200  #: steps from when a term joins in until it is measured (a twentieth of a short run); sync: none
BATCHES = 8  #: it is measured on; bands are a factor of three wide and more
TOLD = 0.1  #: mean score of real minus generated patches from which a critic's pull says how strong it is going to be


def gradient_balance(
    task: GanTask, level: int, batches: int = 4, wanted: Mapping[int, Collection[str]] | None = None
) -> dict[int, dict[str, float]]:
    """Gradient norms of the weighted terms on the hidden region of each output, relative to L1's.

    Every term is measured at its full weight, on as many frames as it looks at in a step, whether the schedule has
    switched it on or not. Nothing is updated, and training goes on as if this had not been called.

    Args:
        task: a generator in training.
        level: finest active output.
        batches: the median over so many is given.
        wanted: {level: terms} to measure, where not all: VGG19 makes some of them dear.

    Returns:
        {level: {term: ratio}}, coarse to fine, of outputs that have terms beside L1.
    """
    if not task.config.has_more_than_l1:
        return {}
    rng = np.random.default_rng(0)
    ratios: defaultdict[int, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    some = task.looked_at(rng, task.config.batch)
    for _ in range(batches):
        windows = task.train.windows(rng, task.config.batch // SYNC_FRAMES, SYNC_FRAMES)
        batch = prepare_batch(windows, task.changing(rng)).to(task.fabric.device)
        queries = batch.shown_to(task.config.generator)
        with torch.no_grad():
            images = task.net.module(queries, batch.reference, batch.mels, level, None, batch.placed)
        for r in images.keys() if wanted is None else images.keys() & wanted.keys():
            image, only = images[r], None if wanted is None else {"l1", *wanted[r]}
            leaf = image.detach().requires_grad_()
            hidden = at_level(batch.mask, r)
            with torch.enable_grad():
                with task.critics_asleep():
                    values = task.terms(r, leaf, batch, 1.0, True, some, only)
                # Terms that look at some frames share the step that picks them.
                pulls = {name: torch.autograd.grad(v, leaf, retain_graph=True)[0] for name, v in values.items()}
                norms = {name: float((pull * hidden).norm()) for name, pull in pulls.items()}
            for name in norms.keys() - {"l1"}:
                ratios[r][name].append(norms[name] / norms["l1"])
    return {r: {name: float(np.median(values)) for name, values in ratios[r].items()} for r in sorted(ratios)}


class Calibration:
    """Rescales each term of each level once, into the middle of its band, soon after it has joined in.

    A critic is waited for until it tells real from generated: one that does not pulls hardly at all, and a weight that
    makes up for this would be far too large as soon as it does. A critic of detail keeps the weight it is given: what
    it pulls at is fine, and sums up to much more than L1's pull where mouths have just become good.

    Attributes:
        scales: what the weights are multiplied by, {level: {term: factor}}.
        told: running mean of how far each level's critic tells them apart.
    """

    def __init__(self) -> None:
        self.scales: dict[int, dict[str, float]] = {}
        self.told: dict[int, float] = {}
        self._since: dict[str, int] = {}

    def scale(self, level: int, term: str) -> float:
        """Factor of a weight; 1 for what has not been measured or was right."""
        return self.scales.get(level, {}).get(term, 1.0)

    def hear(self, scores: Mapping[str, float]) -> None:
        """Take in what the critics said in a step: ``real`` and ``fake`` of each level."""
        for level in (int(name.removeprefix("real")) for name in scores if name.startswith("real")):
            apart = scores[f"real{level}"] - scores[f"fake{level}"]
            self.told[level] = 0.9 * self.told.get(level, 0.0) + 0.1 * apart

    def update(self, task: GanTask, index: int, now: Moment) -> None:
        """Measure and rescale what is due at a step. Neither the networks nor the random numbers change."""
        due = self._due(task, index, now)
        if not due:
            return
        # Processes may hold different clips; all weigh the terms as the first one, whose weights are saved.
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
        """Terms that take part at their full share for long enough and have not been measured."""
        active = [r for r in task.config.generator.rgb_levels if r < now.level or (r == now.level and now.fade == 1)]
        of_faces = [r for r, critic in task.config.critics.items() if critic.sees == "face"]
        judged = [r for r in active if r in now.gan_levels and r in of_faces and self._tells(r)]
        present = {"features": active, "frequency": active, "gan": judged,
                   "sync": [r for r in active if now.sync > 0 and r in now.sync_levels]}  # fmt: skip
        wait = min(WAIT, task.config.loop.steps // 20)
        due = []
        for term, levels in present.items():
            for level in levels:
                began = self._since.setdefault(f"{level} {term}", index)
                waited = term == "sync" or index - began >= wait
                if waited and term not in self.scales.get(level, {}) and getattr(task.weights_at(level), term):
                    due.append((level, term))
        return due

    def _tells(self, level: int) -> bool:
        return self.told.get(level, 0.0) >= TOLD

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"scales": self.scales, "since": self._since, "told": self.told}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.scales, self._since, self.told = state["scales"], state["since"], state["told"]
