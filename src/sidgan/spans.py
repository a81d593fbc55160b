"""Runs of true values in a boolean series."""

from __future__ import annotations

import numpy as np

from sidgan.types import Array


def spans(flags: Array) -> list[tuple[int, int]]:
    """(start, stop) of each run of true values in ``flags`` (N,) bool; ``stop`` is exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
