"""How a learning rate rises at the beginning of a run and falls at its end."""

from __future__ import annotations


def rate_at(index: int, steps: int, lr: float, *, rise: int, decay: float, floor: float) -> float:
    """The learning rate of step ``index`` of ``steps``.

    Args:
        lr: the largest.
        rise: steps over which it rises first, because the first gradients of new layers say little.
        decay: share of the run over which it falls at its end, linearly towards nothing; 0 keeps it as it is.
        floor: share of ``lr`` at which it stops falling.
    """
    left = (1 - index / steps) / max(decay, 1e-9)
    return lr * min(1.0, (index + 1) / max(1, rise)) * max(floor, min(1.0, left))
