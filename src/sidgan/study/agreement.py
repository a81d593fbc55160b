"""How far viewers agree: Krippendorff's alpha for ordinal data.

Alpha is 1 where all agree, and 0 where they agree as chance would have it. It takes any number of viewers, who need not
all have rated everything, and it treats 1 to 5 as ranks: nobody says that from 1 to 2 is as far as from 4 to 5. An
intraclass correlation needs both, complete tables and equal steps, which is why it is not used here. Krippendorff calls
0.8 reliable and 0.667 the least from which anything may be concluded.
"""

from __future__ import annotations

import math

import numpy as np

from sidgan.types import Float


def krippendorff(scores: Float) -> float:
    """Alpha of (viewers, units) scores, NaN where somebody has not rated; NaN where there is nothing to compare.

    Args:
        scores: numbers whose order counts, but not their distance.
    """
    units = [column[~np.isnan(column)] for column in scores.T]
    units = [unit for unit in units if len(unit) > 1]  # what one viewer alone has rated says nothing about agreement
    if not units:
        return math.nan
    levels = np.unique(np.concatenate(units))
    together = np.zeros((len(levels), len(levels)))
    for unit in units:
        counts = (unit[:, None] == levels).sum(0)
        together += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = together.sum(0)
    count = totals.sum()
    apart = _ordinal(totals)
    expected = (np.outer(totals, totals) * apart).sum()
    if expected == 0:  # all gave one score: there is nothing to agree or disagree about
        return math.nan
    return float(1 - (count - 1) * (together * apart).sum() / expected)


def _ordinal(totals: Float) -> Float:
    """(L, L) squared distance of each pair of levels: how many answers lie between them."""
    sums = np.cumsum(totals)
    middle = sums - totals / 2
    distance = middle[None] - middle[:, None]
    return np.square(distance)
