"""Two kinds of small charts as inline SVG: means with confidence intervals, and curves over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from sidgan.types import Float

COLOURS = {"truth": "#222222", "model": "#c8324b", "result": "#c8324b", "wrong": "#3b7dd8"}
OTHER = "#8a8f98"  #: colour of all other rows
WIDTH, LABEL, LINE = 400, 74, 19  #: px: width of the chart, margin for labels at either side, height of a row


class Bar(NamedTuple):
    """A row of `intervals`; ``low`` and ``high`` are NaN if there is no interval."""

    label: str
    mean: float
    low: float
    high: float


def intervals(title: str, bars: Sequence[Bar], decimals: int) -> str:
    """Chart of means: a dot for each mean, a line for its interval, and the number, on a common scale."""
    defined = [v for bar in bars for v in bar[1:] if not math.isnan(v)]
    low, high = min(defined), max(defined)
    span = (high - low) or 1.0
    left, right = LABEL + 6, WIDTH - LABEL

    def x(value: float) -> str:
        return f"{left + (right - left) * (value - low) / span:.1f}"

    parts = []
    for i, bar in enumerate(bars):
        y, colour = LINE * i + 12, COLOURS.get(bar.label, OTHER)
        parts.append(f'<text x="{LABEL}" y="{y + 4}" text-anchor="end">{escape(bar.label)}</text>')
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y}" y2="{y}" class="rule"/>')
        if math.isnan(bar.mean):
            continue
        if not math.isnan(bar.low):
            parts.append(f'<line x1="{x(bar.low)}" x2="{x(bar.high)}" y1="{y}" y2="{y}" stroke="{colour}" '
                         f'stroke-width="5" stroke-opacity=".35"/>')  # fmt: skip
        parts.append(f'<circle cx="{x(bar.mean)}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{right + 8}" y="{y + 4}">{bar.mean:.{decimals}f}</text>')
    return _figure(title, LINE * len(bars) + 6, parts)


def curves(title: str, frames: Float, series: Mapping[str, Float], decimals: int = 1) -> str:
    """Chart of curves over frame numbers. NaN leaves a gap; a single value between gaps is a dot.

    Args:
        title: heading of the chart.
        frames: (N,) frame numbers, ascending.
        series: name -> values (N,).
        decimals: decimals of the numbers on the axis.

    Returns:
        HTML; empty if no value is finite.
    """
    height, left, right = 120, 44, WIDTH - 8
    finite = np.concatenate([values[np.isfinite(values)] for values in series.values()])
    if not len(finite):
        return ""
    low, high = float(finite.min()), float(finite.max())
    span, length = (high - low) or 1.0, float(frames[-1] - frames[0]) or 1.0
    parts = [f'<rect x="{left}" y="4" width="{right - left}" height="{height - 24}" class="frame"/>',
             f'<text x="{left - 4}" y="14" text-anchor="end">{high:.{decimals}f}</text>',
             f'<text x="{left - 4}" y="{height - 20}" text-anchor="end">{low:.{decimals}f}</text>',
             f'<text x="{left}" y="{height - 5}">frame {int(frames[0])}</text>',
             f'<text x="{right}" y="{height - 5}" text-anchor="end">{int(frames[-1])}</text>']  # fmt: skip
    for row, values in series.items():
        xs = left + (right - left) * (frames - frames[0]) / length
        ys = 6 + (height - 28) * (1 - (values - low) / span)
        steps, pen = [], "M"
        for x, y in zip(xs, ys, strict=True):
            if not math.isfinite(y):
                pen = "M"
                continue
            steps.append(f"{pen}{x:.1f} {y:.1f}" + ("h0" if pen == "M" else ""))  # visible as a dot if no line follows
            pen = "L"
        colour = COLOURS.get(row, OTHER)
        parts.append(f'<path d="{"".join(steps)}" fill="none" stroke="{colour}" stroke-width="1.5" '
                     'stroke-linecap="round"/>')  # fmt: skip
    legend = " ".join(f'<b style="color:{COLOURS.get(row, OTHER)}">{escape(row)}</b>' for row in series)
    return _figure(title, height, parts, legend)


def _figure(title: str, height: int, parts: Sequence[str], legend: str = "") -> str:
    name = escape(title)
    return (f'<figure class="chart"><figcaption>{name} {legend}</figcaption>'
            f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{"".join(parts)}</svg></figure>')
