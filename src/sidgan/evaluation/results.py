"""Results of an evaluation: records by clip and row, means with confidence intervals, and a text table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from sidgan.errors import counted

RESAMPLES = 2000  #: bootstrap resamples of an interval
COMPOSITE, RAW = "composite", "raw"
SYSTEMS = (COMPOSITE, RAW)  #: what is judged: the crop pasted inside the hidden box, and the crop as drawn

#: Metric -> (heading, decimals), in the order of the table: first the paper's seven in its order, then ours. Other
#: metrics come last.
COLUMNS = {
    "fid": ("FID", 2),  # Frechet distance of the Inception features of all clips, published weights
    "ssim": ("SSIM", 3),
    "psnr": ("PSNR dB", 2),
    "id": ("ID", 3),
    "lmd": ("LMD px", 2),
    "lse_d": ("LSE-D", 2),  # published weights
    "lse_c": ("LSE-C", 2),
    "mouth_psnr": ("mouth dB", 2),  # PSNR inside the hidden box
    "heard": ("by sound dB", 2),  # mouth dB with the right sound minus that with the wrong one, in the paper's tables
    "mouth_ssim": ("mouth SSIM", 3),
    "mouth_l1": ("mouth L1", 2),  # mean absolute difference inside the hidden box, in levels of 0 to 255
    "lmd_c": ("LMD-c px", 2),
    "lmd_n": ("LMD-n %", 2),  # of the distance between the outer eye corners
    "jitter": ("jitter px", 2),  # how much more the lips accelerate than the true ones
    "face_fd": ("face FD", 4),  # Frechet distance of the identity embeddings of all clips
    "opening": ("opening r", 2),  # correlation of the mouth opening with the true one
    "opening_chance": ("chance", 2),  # the correlation that one in twenty unrelated mouths reaches
    "opening_lag": ("lag", 1),  # frames; the shift with the highest correlation
    "opening_ratio": ("size", 2),  # how much the mouth moves, relative to the true one
    "sync": ("sync p", 3),  # probability of our sync expert that video and sound match
    "sync_offset": ("offset", 1),  # frames by which the video lags the sound, by our sync expert
    "sync_near": ("off<=1", 2),  # share of clips whose offset is at most one frame
    "lse_offset": ("LSE offset", 1),  # frames by which the video lags the sound
    "fd_custom": ("FD custom", 2),  # these four: like fid, lse_d, lse_c and lse_offset, but with other weights
    "lag_d": ("lag-D custom", 2),
    "lag_c": ("lag-C custom", 2),
    "lag_offset": ("lag offset custom", 1),
}
PAPER = tuple(COLUMNS)[:7]  #: Tables 1 and 2 of the paper
HIDDEN = ("mouth_l1", "lmd_n", "opening_lag", "sync_near")  #: stored, but not shown in tables


@dataclass(frozen=True)
class Record:
    """The figures of one clip and row.

    Attributes:
        clip: name of the clip.
        row: who dubbed it, see `sidgan.evaluation.rows`.
        frames: number of judged frames.
        values: by metric; metrics that are missing or NaN are undefined and left out of means.
        system: see `SYSTEMS`.
        counts: for metrics that are means over frames, the number of frames in which they are defined.
        person: identity of the person, if the data set says.
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
        """The unit of bootstrap resampling: the person, or the clip if the person is unknown."""
        return self.person or self.clip


class Interval(NamedTuple):
    """A mean over clips and its 95 % bootstrap interval, NaN for fewer than two clips."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class EvalResult:
    """The result of an evaluation.

    Attributes:
        settings: the settings of the evaluation.
        records: one per clip, row and system.
        distances: system -> row -> set metric -> value; these compare all clips at once and have no interval.
    """

    settings: dict[str, Any]
    records: tuple[Record, ...]
    distances: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @cached_property
    def means(self) -> dict[str, dict[str, dict[str, Interval]]]:
        """System -> row -> metric -> mean over clips, in which every clip counts the same, however long."""
        groups: dict[str, dict[str, list[Record]]] = {}
        for record in self.records:
            groups.setdefault(record.system, {}).setdefault(record.row, []).append(record)
        return {
            system: {
                row: _means(records, self.distances.get(system, {}).get(row, {})) for row, records in rows.items()
            }
            for system, rows in groups.items()
        }

    def summary(self) -> dict[str, Any]:
        """System -> row -> metric -> figures; undefined ones are ``None``.

        They are ``mean``, ``low`` and ``high`` of `means`, ``pooled``, the mean over all frames, and ``clips``, the
        number of clips in which the metric is defined.
        """
        return without_nan({
            system: {
                row: {m: v._asdict() | {"pooled": self._pooled(system, row, m), "clips": self._clips(system, row, m)}
                      for m, v in values.items()}
                for row, values in rows.items()
            }
            for system, rows in self.means.items()
        })  # fmt: skip

    def _clips(self, system: str, row: str, metric: str) -> int:
        records = [r for r in self.records if (r.system, r.row) == (system, row)]
        if metric in self.distances.get(system, {}).get(row, {}):
            return len(records)
        return sum(not math.isnan(r.values.get(metric, math.nan)) for r in records)

    def _pooled(self, system: str, row: str, metric: str) -> float:
        records = [r for r in self.records if (r.system, r.row) == (system, row) and r.counts.get(metric)]
        total = sum(r.counts[metric] for r in records)
        return math.fsum(r.values[metric] * r.counts[metric] for r in records) / total if total else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; undefined figures are ``None``."""
        records = [asdict(record) for record in self.records]
        return {"settings": self.settings, "means": self.summary(), "clips": without_nan(records)}


def _means(records: Sequence[Record], distances: Mapping[str, float]) -> dict[str, Interval]:
    """Metric -> mean, in the order of `COLUMNS`; other metrics come last."""
    names = dict.fromkeys([*(name for record in records for name in record.values), *distances])
    return {
        name: Interval(distances[name], math.nan, math.nan) if name in distances
        else bootstrap([r.values.get(name, math.nan) for r in records], [r.drawn_with for r in records])
        for name in [*(c for c in COLUMNS if c in names), *(n for n in names if n not in COLUMNS)]
    }  # fmt: skip


def without_nan(value: Any) -> Any:
    """The same value for JSON: numbers that are not finite become ``None``, and an `Interval` a mapping."""
    if isinstance(value, Interval):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def bootstrap(values: Sequence[float], people: Sequence[str] | None = None) -> Interval:
    """Mean of the defined values and its 95 % percentile bootstrap interval, with a fixed seed.

    Clips of one person resemble each other, so people are resampled, each with all of their clips. If all clips show
    one person, clips are resampled, and the interval holds for this person only.

    Args:
        values: of each clip, NaN where undefined.
        people: the person in each clip; by default, each clip shows another person.
    """
    defined = [i for i, value in enumerate(values) if not math.isnan(value)]
    kept = None if people is None else [people[i] for i in defined]
    return bootstrap_sums([values[i] for i in defined], [1] * len(defined), kept)


def bootstrap_sums(sums: Sequence[float], counts: Sequence[int], people: Sequence[str] | None = None) -> Interval:
    """Mean over all values of some clips, and its 95 % interval as in `bootstrap`.

    Args:
        sums, counts: sum and number of the values of each clip.
        people: the person in each clip; by default, each clip shows another person.
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
    """An index of the resampling unit of each clip: the person, or the clip itself if there is only one person."""
    numbers = {person: i for i, person in enumerate(dict.fromkeys(people))}
    return [numbers[person] for person in people] if len(numbers) > 1 else list(range(len(people)))


def table(results: Mapping[str, EvalResult]) -> str:
    """Aligned text: one block per result and system, with means and half the width of their 95 % intervals.

    Columns without any figure (no expert was given, identity was not measured) and those in `HIDDEN` are left out.
    """
    return "\n\n".join(
        _block(f"{name}, {system}", rows, len({r.clip for r in result.records if r.system == system}))
        for name, result in results.items()
        for system, rows in result.means.items()
    )


def _block(title: str, rows: Mapping[str, Mapping[str, Interval]], clips: int) -> str:
    names = dict.fromkeys(name for values in rows.values() for name in values)
    defined = {k for values in rows.values() for k, figure in values.items() if not math.isnan(figure.mean)}
    shown = [k for k in names if k in defined and k not in HIDDEN]
    head = [f"{title} ({counted(clips, 'clip')})", *(column(k)[0] for k in shown)]
    lines = [head] + [[row, *(cell(values.get(k), column(k)[1]) for k in shown)] for row, values in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )


def column(metric: str) -> tuple[str, int]:
    """Heading of a metric, and its number of decimals."""
    return COLUMNS.get(metric, (metric, 3))


def cell(figure: Interval | None, decimals: int) -> str:
    """Text of a table cell: the mean, and half the width of its interval."""
    if figure is None or math.isnan(figure.mean):
        return "-"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f}"
    return f"{figure.mean:.{decimals}f} ±{(figure.high - figure.low) / 2:.{decimals}f}"
