"""The training schedule: when each level fades in, and when the sync loss and the critics start (Sec. 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidgan.train.settings import GanTrainConfig

MIN_FALL = 0.01  #: relative decrease of the validation L1 that counts as an improvement


@dataclass(frozen=True)
class Moment:
    """The state of the schedule at one step.

    Attributes:
        level: finest active output.
        fade: how far it is faded in, 0 to 1.
        sync: factor of the sync loss, 0 to 1.
        sync_levels, gan_levels: the outputs at which the sync loss and the critics are active.
    """

    level: int
    fade: float
    sync: float
    sync_levels: tuple[int, ...]
    gan_levels: tuple[int, ...]


def moment(config: GanTrainConfig, index: int, opened: int | None = 0) -> Moment:
    """The schedule at step ``index``.

    Args:
        opened: step at which the `SyncGate` opened; ``None`` while it is closed.
    """
    steps = config.loop.steps
    share = index / steps
    levels = config.generator.rgb_levels
    active = sum(share >= start for start in config.grow)
    since = share - (config.grow[active - 1] if active else -1.0)
    fade = min(1.0, since / max(config.fade, 1e-9)) if active else 1.0
    ramp = max(config.fade if config.sync_ramp is None else config.sync_ramp, 1e-9)
    begin = np.inf if opened is None else max(config.sync_from, opened / steps)
    shown, gan = levels[: active + 1], share >= config.gan_from
    faded = shown if fade == 1 else shown[:-1]
    if config.settle is not None:
        ready = (0.0, *(start + config.fade for start in config.grow))
        old = tuple(r for r, t in zip(levels, ready, strict=True) if r in faded and share >= t + config.settle)
    return Moment(
        level=levels[active],
        fade=fade,
        sync=float(np.clip((share - begin) / ramp, 0, 1)),
        sync_levels=shown if config.settle is None else faded,
        gan_levels=() if not gan else shown if config.settle is None else old,
    )


class SyncGate:
    """Opens once the validation L1 has stopped falling: the sync loss can only refine lips that already have a shape.

    Args:
        patience: evaluations in a row without an improvement of `MIN_FALL`; 0 is open from the start.
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.best, self.flat = float("inf"), 0
        self.opened: int | None = 0 if patience == 0 else None  #: step at which it opened

    def add(self, index: int, l1: float) -> bool:
        """Add the result of an evaluation after ``index`` steps; returns whether it opened the gate."""
        if self.opened is not None:
            return False
        fell = l1 < (1 - MIN_FALL) * self.best
        self.best, self.flat = min(self.best, l1), 0 if fell else self.flat + 1
        self.opened = index if self.flat >= self.patience else None
        return self.opened is not None

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore `state`."""
        vars(self).update(state)
