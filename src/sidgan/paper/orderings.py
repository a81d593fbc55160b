"""Which of the paper's rankings hold here: for each metric and pair of methods, tested by differences on each clip."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from sidgan.evaluation.meanings import HIGHER, MEANINGS
from sidgan.evaluation.results import COLUMNS, Interval, bootstrap, without_nan
from sidgan.paper.published import BENCHMARKS, GROUND, OURS, SEVEN, known_as

if TYPE_CHECKING:
    from sidgan.paper.collect import Comparison

#: Metric of the paper that needs published networks -> the metric that replaces it if they are missing.
CUSTOM = {"fid": "fd_custom", "lse_d": "lag_d", "lse_c": "lag_c"}
HOLDS, NOT, UNKNOWN = "holds", "does not", "cannot be told"


class Ordering(NamedTuple):
    """A pair of methods that the paper ranks by one metric, and whether the ranking holds here.

    Attributes:
        metric: as measured here. better, worse: the methods, as the paper ranks them.
        lead: by how much ``better`` is better than ``worse`` here, negative if it is worse; a bootstrap interval over
            clips. Bounds are NaN for a metric that has one value for all clips.
        verdict: `HOLDS`, `NOT`, or `UNKNOWN` if the interval contains 0.
    """

    metric: str
    better: str
    worse: str
    lead: Interval
    verdict: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self._asdict() | {"lead": without_nan(self.lead)}


def orderings(found: Comparison, name: str) -> list[Ordering]:
    """Test the paper's ranking of all pairs of methods that were measured here, on the set ``name``; ties are left out.

    Where neither the paper's metric nor its replacement was measured, there is no ordering.
    """
    known = BENCHMARKS[name]
    here = {method: own for own in found.means if (method := known_as(own, list(known))) is not None}
    stated = []
    for metric in SEVEN:
        for pair in combinations([method for method in known if method in here and method != GROUND], 2):
            values = [known[method].get(metric, math.nan) for method in pair]
            better, worse = pair if (values[0] > values[1]) == _higher(metric) else pair[::-1]
            names = here[better], here[worse]
            measured = next((m for m in (metric, CUSTOM.get(metric, "")) if _has(found, names, m)), None)
            if measured is not None and values[0] != values[1]:
                lead = _lead(found, measured, *names)
                stated.append(Ordering(measured, better, worse, lead, _verdict(lead)))
    return stated


def _has(found: Comparison, names: Sequence[str], metric: str) -> bool:
    return all(metric in found.means[n] and not math.isnan(found.means[n][metric].mean) for n in names)


def _higher(metric: str) -> bool:
    return MEANINGS[metric][0] == HIGHER


def _lead(found: Comparison, metric: str, better: str, worse: str) -> Interval:
    sign = 1 if _higher(metric) else -1
    first, second = ([r.values.get(metric, math.nan) for r in found.results[n].records] for n in (better, worse))
    people = [r.drawn_with for r in found.results[better].records]
    lead = bootstrap([sign * (a - b) for a, b in zip(first, second, strict=True)], people)
    if not math.isnan(lead.mean):
        return lead
    return Interval(sign * (found.means[better][metric].mean - found.means[worse][metric].mean), math.nan, math.nan)


def _verdict(lead: Interval) -> str:
    low, high = (lead.mean, lead.mean) if math.isnan(lead.low) else (lead.low, lead.high)
    return HOLDS if low > 0 else NOT if high < 0 else UNKNOWN


def told(stated: Sequence[Ordering]) -> list[str]:
    """Describe orderings in a line for each metric: pairs with `OURS` one by one, and the other pairs counted.

    If no pair has `OURS`, all pairs are listed.
    """
    lines = []
    for metric in dict.fromkeys(one.metric for one in stated):
        pairs = [one for one in stated if one.metric == metric]
        shown = [one for one in pairs if OURS in (one.better, one.worse)] or pairs
        others = Counter(one.verdict for one in pairs if one not in shown)
        heading, decimals = COLUMNS[metric]
        parts = [f"{one.better} > {one.worse} {one.verdict} ({_formatted(one.lead, decimals)})" for one in shown]
        rest = ", ".join(f"{count} {verdict}" for verdict, count in sorted(others.items()))
        among = f"; among the others: {rest}" if rest else ""
        lines.append(f"the paper's orderings in {heading}: {', '.join(parts)}{among}")
    return lines


def _formatted(lead: Interval, decimals: int) -> str:
    if math.isnan(lead.low):
        return f"{lead.mean:+.{decimals}f}, one value"
    return f"{lead.mean:+.{decimals}f}, {lead.low:+.{decimals}f} to {lead.high:+.{decimals}f}"
