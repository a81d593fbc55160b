"""What judging finds, and how it is shown: records by clip and row, means with intervals, a table of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 2000  #: bootstrap resamples behind an interval

#: Metric -> (heading, decimals), in the table's order.
COLUMNS = {
    "mouth_psnr": ("mouth dB", 2),  # PSNR inside the hidden box
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 3),
    "raw_psnr": ("raw dB", 2),
    "raw_ssim": ("raw SSIM", 3),
    "lmd": ("LMD px", 2),
    "lmd_c": ("LMD-c px", 2),
    "id": ("ID", 3),
    "opening": ("opening r", 2),  # correlation of the mouth's opening with the true one
    "opening_lag": ("lag", 1),  # frames, where that correlation is highest
    "opening_ratio": ("size", 2),  # how far it opens, relative to the true one
    "sync": ("sync p", 3),  # expert's probability, against the sound it was drawn from
    "sync_offset": ("offset", 1),  # frames by which the picture lags, in the expert's eyes
    "sync_near": ("off<=1", 2),  # share of clips with such an offset of at most one frame
}


@dataclass(frozen=True)
class Record:
    """One clip as dubbed by one row: the number of judged ``frames``, and ``values`` by metric.

    Metrics that are missing or NaN are undefined here and count in no mean.
    """

    clip: str
    row: str
    frames: int
    values: dict[str, float]


class Interval(NamedTuple):
    """A mean over clips and its 95 % bootstrap interval, NaN where there are fewer than two clips."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class EvalResult:
    """What `evaluate` found: its ``settings`` and a record for each clip and row."""

    settings: dict[str, Any]
    records: tuple[Record, ...]

    @cached_property
    def means(self) -> dict[str, dict[str, Interval]]:
        """Row -> metric -> mean over clips; every clip counts the same, however long."""
        rows = dict.fromkeys(record.row for record in self.records)
        return {
            row: {
                metric: bootstrap([r.values.get(metric, math.nan) for r in self.records if r.row == row])
                for metric in COLUMNS
            }
            for row in rows
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; undefined figures are ``None``."""
        means = {row: {k: v._asdict() for k, v in values.items()} for row, values in self.means.items()}
        plain = {"settings": self.settings, "means": means, "clips": [asdict(record) for record in self.records]}
        return dict(_without_nan(plain))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def bootstrap(values: Sequence[float]) -> Interval:
    """Mean of the values that are defined, and its 95 % percentile interval; always the same for the same values."""
    known = np.array([v for v in values if not math.isnan(v)])
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else math.nan, math.nan, math.nan)
    picks = np.random.default_rng(0).integers(len(known), size=(RESAMPLES, len(known)))
    low, high = np.quantile(known[picks].mean(1), [0.025, 0.975])
    return Interval(math.fsum(known) / len(known), float(low), float(high))


def table(results: Mapping[str, EvalResult]) -> str:
    """Aligned text: a block for each result under its name, with means and half the width of their 95 % intervals.

    Columns without a single figure (no expert given, no identities asked for) are left out.
    """
    blocks = []
    for name, result in results.items():
        shown = [k for k in COLUMNS if any(not math.isnan(row[k].mean) for row in result.means.values())]
        clips = len({record.clip for record in result.records})
        head = [f"{name} ({clips} clip{'s' * (clips != 1)})", *(COLUMNS[k][0] for k in shown)]
        lines = [head] + [
            [row, *(_cell(values[k], COLUMNS[k][1]) for k in shown)] for row, values in result.means.items()
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        blocks.append(
            "\n".join(
                "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
                for line in lines
            )
        )
    return "\n\n".join(blocks)


def _cell(figure: Interval, decimals: int) -> str:
    if math.isnan(figure.mean):
        return "-"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f}"
    return f"{figure.mean:.{decimals}f} ±{(figure.high - figure.low) / 2:.{decimals}f}"
