"""Inter-rater agreement: Krippendorff's alpha for ordinal data.

Alpha is 1 for perfect agreement and 0 for agreement at chance level. It works with any number of viewers and with
missing ratings, and it treats scores as ranks, without assuming that the step from 1 to 2 is as large as from 4 to 5.
An intraclass correlation needs complete tables and equal steps, so it is not used here. Krippendorff calls alpha from
0.8 reliable, and 0.667 the lowest value that permits tentative conclusions.
"""

from __future__ import annotations

import math

import numpy as np

from sidgan.types import Float


def krippendorff(scores: Float) -> float:
    """Krippendorff's alpha; NaN if it is undefined: no unit has two ratings, or all ratings are equal.

    Args:
        scores: (viewers, units) ordinal scores, NaN for missing ratings.
    """
    units = [column[~np.isnan(column)] for column in scores.T]
    units = [unit for unit in units if len(unit) > 1]  # one rating alone says nothing about agreement
    if not units:
        return math.nan
    levels = np.unique(np.concatenate(units))
    coincidences = np.zeros((len(levels), len(levels)))
    for unit in units:
        counts = (unit[:, None] == levels).sum(0)
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    totals = coincidences.sum(0)
    count = totals.sum()
    distances = _ordinal_distances(totals)
    expected = (np.outer(totals, totals) * distances).sum()
    if expected == 0:  # all ratings are equal
        return math.nan
    return float(1 - (count - 1) * (coincidences * distances).sum() / expected)


def _ordinal_distances(totals: Float) -> Float:
    """(L, L) squared number of ratings between two levels, their ordinal distance, from (L,) ratings per level."""
    sums = np.cumsum(totals)
    mid_rank = sums - totals / 2
    distance = mid_rank[None] - mid_rank[:, None]
    return np.square(distance)
