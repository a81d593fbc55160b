"""In which order a viewer sees the methods of a clip, so that place and neighbours favour none of them."""

from __future__ import annotations

import numpy as np


def williams(count: int) -> list[list[int]]:
    """Rows of a balanced Latin square over ``count`` methods.

    In the rows together every method stands equally often in every place, and comes equally often right after every
    other. An even count needs as many rows as methods, an odd one twice as many (a square and its mirror image).
    """
    if count < 2:
        return [[0] * count]
    steps = [0] + [(k + 1) // 2 if k % 2 else count - k // 2 for k in range(1, count)]
    square = [[(row + step) % count for step in steps] for row in range(count)]
    return square if count % 2 == 0 else square + [row[::-1] for row in square]


def clip_order(clips: int, viewer: int, seed: int) -> list[int]:
    """The clips in an order of the viewer's own, the same whenever that viewer comes back."""
    return [int(i) for i in np.random.default_rng([seed, 1, viewer]).permutation(clips)]


def method_order(methods: int, viewer: int, clip: int, seed: int) -> list[int]:
    """The methods of one clip in the order in which one viewer sees them.

    Rows go round with viewer and clip alike, so that as many viewers as there are rows see each clip in all of them,
    and each viewer meets all rows in turn. Which method is which column is drawn for each clip.
    """
    square = williams(methods)
    names = np.random.default_rng([seed, 2, clip]).permutation(methods)
    return [int(names[i]) for i in square[(viewer + clip) % len(square)]]
