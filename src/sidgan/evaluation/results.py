"""What judging finds, and how it is shown: records by clip and row, means with intervals, a table of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 2000  #: bootstrap resamples behind an interval
COMPOSITE, RAW = "composite", "raw"
SYSTEMS = (COMPOSITE, RAW)  #: what is judged: pasted inside the hidden box, and as it was drawn

#: Metric -> (heading, decimals), in the table's order: first the paper's seven in its order, then ours. Metrics that
#: are not named here come after these.
COLUMNS = {
    "fid": ("FID", 2),  # Frechet distance of all clips' Inception features, published weights
    "ssim": ("SSIM", 3),
    "psnr": ("PSNR dB", 2),
    "id": ("ID", 3),
    "lmd": ("LMD px", 2),
    "lse_d": ("LSE-D", 2),  # published weights
    "lse_c": ("LSE-C", 2),
    "mouth_psnr": ("mouth dB", 2),  # PSNR inside the hidden box
    "heard": ("by sound dB", 2),  # mouth dB with the right sound minus that with the wrong one, in the paper's tables
    "mouth_ssim": ("mouth SSIM", 3),
    "mouth_l1": ("mouth L1", 2),  # mean absolute difference there, of 255 levels
    "lmd_c": ("LMD-c px", 2),
    "lmd_n": ("LMD-n %", 2),  # of the distance of the outer eye corners
    "jitter": ("jitter px", 2),  # by how much lips accelerate more than the true ones
    "face_fd": ("face FD", 4),  # Frechet distance of the identities of all clips
    "opening": ("opening r", 2),  # correlation of the mouth's opening with the true one
    "opening_chance": ("chance", 2),  # what that would be in one of twenty unrelated mouths
    "opening_lag": ("lag", 1),  # frames, where that correlation is highest
    "opening_ratio": ("size", 2),  # how far it opens, relative to the true one
    "sync": ("sync p", 3),  # expert's probability, against the sound it was drawn from
    "sync_offset": ("offset", 1),  # frames by which the picture lags, in the expert's eyes
    "sync_near": ("off<=1", 2),  # share of clips with such an offset of at most one frame
    "lse_offset": ("LSE offset", 1),  # frames by which the picture lags
    "fd_custom": ("FD custom", 2),  # as fid, lse_d, lse_c and lse_offset, with weights that are not the published ones
    "lag_d": ("lag-D custom", 2),
    "lag_c": ("lag-C custom", 2),
    "lag_offset": ("lag offset custom", 1),
}
PAPER = tuple(COLUMNS)[:7]  #: Tables 1 and 2 of the paper
HIDDEN = ("mouth_l1", "lmd_n", "opening_lag", "sync_near")  #: kept with the others, but too many for a table


@dataclass(frozen=True)
class Record:
    """One clip as dubbed by one row: the number of judged ``frames``, and ``values`` by metric.

    Metrics that are missing or NaN are undefined here and count in no mean. ``counts`` says of each metric that is a
    mean over frames how many of them it was defined in. ``person`` is who is seen, as far as the data set says.
    """

    clip: str
    row: str
    frames: int
    values: dict[str, float]
    system: str = COMPOSITE
    counts: dict[str, int] = field(default_factory=dict)
    person: str = ""

    @property
    def drawn_with(self) -> str:
        """What is drawn anew together for intervals: all clips of a person, or the clip alone."""
        return self.person or self.clip


class Interval(NamedTuple):
    """A mean over clips and its 95 % bootstrap interval, NaN where there are fewer than two clips."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class EvalResult:
    """What judging found.

    Attributes:
        settings: how it was judged.
        records: one for each clip, row and system.
        distances: system -> row -> metric -> value, of what compares all clips at once (no mean, no interval).
    """

    settings: dict[str, Any]
    records: tuple[Record, ...]
    distances: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @cached_property
    def means(self) -> dict[str, dict[str, dict[str, Interval]]]:
        """System -> row -> metric -> mean over clips; every clip counts the same, however long."""
        groups: dict[str, dict[str, list[Record]]] = {}
        for record in self.records:
            groups.setdefault(record.system, {}).setdefault(record.row, []).append(record)
        return {
            system: {
                row: _means(some, self.distances.get(system, {}).get(row, {})) for row, some in rows.items()
            }
            for system, rows in groups.items()
        }

    def summary(self) -> dict[str, Any]:
        """System -> row -> metric -> mean, low, high, ``pooled``, the mean over all frames, ``clips`` that have it."""
        return _without_nan({
            system: {
                row: {m: v._asdict() | {"pooled": self._pooled(system, row, m), "clips": self._clips(system, row, m)}
                      for m, v in values.items()}
                for row, values in rows.items()
            }
            for system, rows in self.means.items()
        })  # fmt: skip

    def _clips(self, system: str, row: str, metric: str) -> int:
        mine = [r for r in self.records if (r.system, r.row) == (system, row)]
        at_once = metric in self.distances.get(system, {}).get(row, {})
        return len(mine) if at_once else sum(not math.isnan(r.values.get(metric, math.nan)) for r in mine)

    def _pooled(self, system: str, row: str, metric: str) -> float:
        mine = [r for r in self.records if (r.system, r.row) == (system, row) and r.counts.get(metric)]
        total = sum(r.counts[metric] for r in mine)
        return math.fsum(r.values[metric] * r.counts[metric] for r in mine) / total if total else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; undefined figures are ``None``."""
        records = [asdict(record) for record in self.records]
        return {"settings": self.settings, "means": self.summary(), "clips": _without_nan(records)}


def _means(records: Sequence[Record], distances: Mapping[str, float]) -> dict[str, Interval]:
    """By metric, those of `COLUMNS` first and in its order."""
    held = dict.fromkeys([*(name for record in records for name in record.values), *distances])
    return {
        name: Interval(distances[name], math.nan, math.nan) if name in distances
        else bootstrap([r.values.get(name, math.nan) for r in records], [r.drawn_with for r in records])
        for name in [*(c for c in COLUMNS if c in held), *(n for n in held if n not in COLUMNS)]
    }  # fmt: skip


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bootstrap(values: Sequence[float], people: Sequence[str] | None = None) -> Interval:
    """Mean of the values that are defined, and its 95 % percentile interval; always the same for the same values.

    Clips of one person say much the same: people are drawn anew, with all of their clips. Where all are of one, clips
    are; the interval is then that of this person.

    Args:
        values: of each clip.
        people: who is in each; by default somebody else.
    """
    known = [i for i, value in enumerate(values) if not math.isnan(value)]
    return drawn([values[i] for i in known], [1] * len(known), None if people is None else [people[i] for i in known])


def drawn(sums: Sequence[float], counts: Sequence[int], people: Sequence[str] | None = None) -> Interval:
    """Mean of all that some clips hold, and its 95 % interval as in `bootstrap`.

    Args:
        sums, counts: of what each clip holds, one value or more.
        people: who is in each; by default somebody else.
    """
    if not len(sums):
        return Interval(math.nan, math.nan, math.nan)
    mean = math.fsum(sums) / sum(counts)
    if len(sums) < 2:
        return Interval(mean, math.nan, math.nan)
    groups = numbered(people or range(len(sums)))
    totals, sizes = np.bincount(groups, sums), np.bincount(groups, counts)
    picks = np.random.default_rng(0).integers(len(totals), size=(RESAMPLES, len(totals)))
    low, high = np.quantile(totals[picks].sum(1) / sizes[picks].sum(1), [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def numbered(people: Sequence[str] | range) -> list[int]:
    """A number for each, the same for the same; where all are one, they are told apart."""
    numbers = {one: i for i, one in enumerate(dict.fromkeys(people))}
    return [numbers[one] for one in people] if len(numbers) > 1 else list(range(len(people)))


def table(results: Mapping[str, EvalResult]) -> str:
    """Aligned text: a block for each result and system, with means and half the width of their 95 % intervals.

    Columns without a single figure (no expert given, no identities asked for) are left out, and so is `HIDDEN`.
    """
    return "\n\n".join(
        _block(f"{name}, {system}", rows, len({r.clip for r in result.records if r.system == system}))
        for name, result in results.items()
        for system, rows in result.means.items()
    )


def _block(title: str, rows: Mapping[str, Mapping[str, Interval]], clips: int) -> str:
    names = dict.fromkeys(name for values in rows.values() for name in values)
    known = {k for values in rows.values() for k, figure in values.items() if not math.isnan(figure.mean)}
    shown = [k for k in names if k in known and k not in HIDDEN]
    head = [f"{title} ({clips} clip{'s' * (clips != 1)})", *(column(k)[0] for k in shown)]
    lines = [head] + [[row, *(cell(values.get(k), column(k)[1]) for k in shown)] for row, values in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def column(metric: str) -> tuple[str, int]:
    """Heading of a metric, and how many decimals it is shown with."""
    return COLUMNS.get(metric, (metric, 3))


def cell(figure: Interval | None, decimals: int) -> str:
    """A mean and half the width of its interval, as tables show them."""
    if figure is None or math.isnan(figure.mean):
        return "-"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f}"
    return f"{figure.mean:.{decimals}f} ±{(figure.high - figure.low) / 2:.{decimals}f}"
