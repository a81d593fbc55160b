"""Counterbalancing: orders of the methods in which no method is favoured by its position or by the one shown before."""

from __future__ import annotations

import numpy as np


def williams(count: int) -> list[list[int]]:
    """Rows of a balanced Latin square over ``count`` methods.

    Over all rows, every method is equally often at every position, and equally often directly after every other method.
    An even count needs as many rows as methods, an odd one twice as many (a square and its mirror image).
    """
    if count < 2:
        return [[0] * count]
    steps = [0] + [(k + 1) // 2 if k % 2 else count - k // 2 for k in range(1, count)]
    square = [[(row + step) % count for step in steps] for row in range(count)]
    return square if count % 2 == 0 else square + [row[::-1] for row in square]


def clip_order(clips: int, viewer: int, seed: int) -> list[int]:
    """The clips in a random order that depends on the viewer, and is the same in every session."""
    return [int(i) for i in np.random.default_rng([seed, 1, viewer]).permutation(clips)]


def method_order(methods: int, viewer: int, clip: int, seed: int) -> list[int]:
    """The methods of one clip in the order in which one viewer sees them.

    The row of the Latin square advances by one with each viewer and with each clip: as many viewers as there are rows
    see each clip in all orders, and each viewer gets all rows in turn. The columns are assigned to methods at random,
    anew for each clip.
    """
    square = williams(methods)
    assignment = np.random.default_rng([seed, 2, clip]).permutation(methods)
    return [int(assignment[i]) for i in square[(viewer + clip) % len(square)]]
