"""The learning-rate schedule: linear warm-up, constant, linear decay."""

from __future__ import annotations


def rate_at(index: int, steps: int, lr: float, *, rise: int, decay: float, floor: float) -> float:
    """The learning rate of step ``index`` of ``steps``.

    Args:
        lr: the largest learning rate.
        rise: steps of warm-up, because the first gradients of new layers are unreliable.
        decay: share of the run, at its end, over which the rate falls linearly towards 0; with 0 it stays constant.
        floor: share of ``lr`` below which the rate does not fall.
    """
    left = (1 - index / steps) / max(decay, 1e-9)
    return lr * min(1.0, (index + 1) / max(1, rise)) * max(floor, min(1.0, left))
