"""Where something lasts: the stretches of a series of yes and no."""

from __future__ import annotations

import numpy as np

from sidgan.types import Array


def spans(flags: Array) -> list[tuple[int, int]]:
    """The first place of each unbroken run of true values in ``flags`` (N,) bool, and the place after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
