"""Rescale the terms of Eq. 4 whose gradients are out of proportion to that of L1."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from sidgan.train.schedule import Moment
from sidgan.train.settings import GanTrainConfig

#: Bands in which the gradient norm of each term should lie, relative to L1's.
BANDS = {"features": (0.3, 1.0), "frequency": (0.1, 0.5), "gan": (0.1, 0.5), "sync": (0.03, 0.2)}
COARSEST_SYNC = (0.1, 0.5)  #: the band of sync at the coarsest output, which decides the shape of the lips
WAIT_STEPS = 200  #: from when a term starts until it is measured (a twentieth of a short run); none for sync
MIN_MARGIN = 0.1  #: mean score of real minus generated patches from which a critic's gradient is representative

#: {level: terms} -> {level: {term: ratio of its gradient norm to L1's}}
Measure = Callable[[Mapping[int, Collection[str]]], Mapping[int, Mapping[str, float]]]


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

    def update(self, config: GanTrainConfig, index: int, now: Moment, measure: Measure) -> list[str]:
        """Rescale the terms that are due at a step.

        Args:
            config: of the training.
            index: the step.
            now: the schedule at this step.
            measure: measures gradients; called only if a term is due. Must return the same in all processes.

        Returns:
            A line for each term.
        """
        due = self._due(config, index, now)
        if not due:
            return []
        measured = measure({level: {term for r, term in due if r == level} for level, _ in due})
        coarsest, lines = config.generator.rgb_levels[0], []
        for level, term in due:
            ratio = measured.get(level, {}).get(term)
            if ratio is None:
                continue
            low, high = COARSEST_SYNC if (term, level) == ("sync", coarsest) else BANDS[term]
            factor = 1.0 if low <= ratio <= high or ratio == 0 else float(np.sqrt(low * high)) / ratio
            self.scales.setdefault(level, {})[term] = factor
            verdict = "kept" if factor == 1 else f"multiplied by {factor:.3g}"
            lines.append(f"level {level}: the gradient of {term} is {ratio:.3g} times that of L1 "
                         f"(band {low:g} to {high:g}); its weight is {verdict}")  # fmt: skip
        return lines

    def _due(self, config: GanTrainConfig, index: int, now: Moment) -> list[tuple[int, str]]:
        """(level, term) pairs that have been fully active for long enough and have not been measured."""
        active = [r for r in config.generator.rgb_levels if r < now.level or (r == now.level and now.fade == 1)]
        of_faces = [r for r, critic in config.critics.items() if critic.sees == "face"]
        judged = [r for r in active if r in now.gan_levels and r in of_faces and self._discriminates(r)]
        present = {"features": active, "frequency": active, "gan": judged,
                   "sync": [r for r in active if now.sync > 0 and r in now.sync_levels]}  # fmt: skip
        wait = min(WAIT_STEPS, config.loop.steps // 20)
        due = []
        for term, levels in present.items():
            for level in levels:
                began = self._since.setdefault(f"{level} {term}", index)
                waited = term == "sync" or index - began >= wait
                if waited and term not in self.scales.get(level, {}) and getattr(config.weights_at(level), term):
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
