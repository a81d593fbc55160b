"""The tables of `sidgan.evaluation.factors` as one SVG image: one column per factor, one row per metric."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from sidgan.evaluation.factors import DUBBED, METRICS, Level, Table
from sidgan.evaluation.results import Interval

COLOURS = {"model": "#0060b0", "wrong": "#d06000", "reference": "#808080", "truth": "#2a8a3a"}
LEGEND = {"model": "model", "wrong": "model with the wrong sound", "reference": "still mouth of the first frame",
          "truth": "the true clip"}  # fmt: skip
HEADINGS = {
    "mouth_psnr": ("mouth PSNR, dB", "higher is better"), "lmd": ("lip landmarks off, px", "lower is better"),
    "open_error": ("opening off, eye distances", "lower is better"),
    "opening": ("opening, correlation", "higher is better"), "sync": ("expert's sync probability", "higher is better"),
}  # fmt: skip
LABELS = {  #: factor -> heading of the column, unit of its axis
    "yaw": ("|yaw| of the head", "degrees"), "side": ("face in the source", "px, from ... on"),
    "size": ("face reduced to", "px"),
    "white": ("white noise", "SNR, dB"), "pink": ("pink noise", "SNR, dB"), "babble": ("other voices", "SNR, dB"),
    "rate": ("speed of speech", "times as fast"),
}  # fmt: skip
WIDTH, HEIGHT = 176, 118  #: px; size of one plot
GAP, LEFT, TOP, BOTTOM = 20, 108, 92, 58  #: px; between plots, and margins of the image
NOTE = ' fill="#666"'
WITH_TRUTH = ("opening", "sync")  #: metrics in which the true clip is shown; in the others it is perfect by definition


@dataclass(frozen=True)
class Axis:
    """A linear vertical axis from ``low`` to ``high``, with round numbers as ``ticks``."""

    low: float
    high: float
    ticks: Sequence[float]

    def y(self, value: float) -> float:
        """Position of a value, in px below the upper edge of the plot."""
        return HEIGHT * (1 - (value - self.low) / (self.high - self.low))


def draw(tables: Sequence[Table], title: str) -> str:
    """Draw all tables as an SVG document.

    Each metric has the same scale for all factors. Dots are means, bars 95 % intervals; a hollow dot is a single clip.
    """
    metrics = [m for m in METRICS if any(m in table.metrics for table in tables)]
    legend = [*_legend()]
    legend_width = max(x + _text_width(text) for x, _, text in legend)
    width = max(LEFT + len(tables) * (WIDTH + GAP), legend_width, GAP + round(1.5 * _text_width(title))) + GAP
    height = TOP + len(metrics) * (HEIGHT + GAP) + BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="Helvetica, Arial, sans-serif" font-size="11" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{GAP}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
        *[mark for _, mark, _ in legend],
        *[f'<text x="{x}" y="50"{"" if mark else NOTE}>{text}</text>' for x, mark, text in legend],
    ]
    for column, table in enumerate(tables):
        x = LEFT + column * (WIDTH + GAP)
        parts.append(f'<text x="{x + WIDTH / 2}" y="{TOP - 12}" text-anchor="middle" font-size="12" '
                     f'font-weight="bold">{LABELS[table.factor][0]}</text>')  # fmt: skip
        edges = {m: TOP + row * (HEIGHT + GAP) for row, m in enumerate(metrics) if m in table.metrics}
        for metric, top in edges.items():
            parts += _plot(table, metric, _axis(tables, metric), x, top)
        parts += _level_labels(table, x, max(edges.values()) + HEIGHT)
    for row, metric in enumerate(metrics):
        parts += _row_heading(metric, _axis(tables, metric), TOP + row * (HEIGHT + GAP))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend() -> Iterator[tuple[int, str, str]]:
    """Entries of the legend: x of the text, SVG of the mark before it (may be empty), text."""
    x = GAP
    for row, meaning in LEGEND.items():
        yield (x + 28,
               f'<line x1="{x}" y1="46" x2="{x + 22}" y2="46" stroke="{COLOURS[row]}" stroke-width="2"{_dash(row)}/>'
               f'<circle cx="{x + 11}" cy="46" r="3" fill="{COLOURS[row]}"/>', meaning)  # fmt: skip
        x += 50 + _text_width(meaning)
    yield x, "", "bars: 95 % intervals over clips; hollow: a single clip, no interval; n: clips"


def _text_width(text: str) -> int:
    """Approximate width of a line of text in px."""
    return round(6.2 * len(text))


def _dash(row: str) -> str:
    return "" if row == "model" else ' stroke-dasharray="5 3"'


def _rows(table: Table, metric: str) -> Iterator[tuple[str, list[tuple[int, Level, Interval]]]]:
    """The curves of a plot: row, and (index of level, level, value) wherever the metric is defined."""
    for row in (*(("truth",) if metric in WITH_TRUTH else ()), *reversed(DUBBED)):
        points = [(i, level, level.rows[row][metric]) for i, level in enumerate(table.levels)
                  if row in level.rows and metric in level.rows[row]]  # fmt: skip
        yield row, [point for point in points if not math.isnan(point[2].mean)]


def _axis(tables: Sequence[Table], metric: str) -> Axis:
    """The axis of a metric: covers all tables, with ticks at multiples of 1, 2 or 5 times a power of 10."""
    values = [v for table in tables if metric in table.metrics for _, points in _rows(table, metric)
              for _, _, interval in points for v in interval if not math.isnan(v)] or [0.0, 1.0]  # fmt: skip
    low, high = min(values), max(values)
    span = max(high - low, 1e-6)
    step = 10 ** math.floor(math.log10(span))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if span / s <= 5)
    first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
    last = max(last, first + 1)
    return Axis(first * step, last * step, [i * step for i in range(first, last + 1)])


def _row_heading(metric: str, axis: Axis, top: float) -> Iterator[str]:
    middle = top + HEIGHT / 2
    for line, (text, colour) in enumerate(zip(HEADINGS[metric], ("#222", "#666"), strict=True)):
        x = 26 + 15 * line
        yield (f'<text transform="translate({x} {middle}) rotate(-90)" text-anchor="middle" '
               f'fill="{colour}">{text}</text>')  # fmt: skip
    for tick in axis.ticks:
        yield (f'<text x="{LEFT - 6}" y="{top + axis.y(tick) + 4:.1f}" text-anchor="end" '
               f'fill="#666">{round(tick, 6):g}</text>')  # fmt: skip


def _x(table: Table, index: int) -> float:
    """Horizontal position of a level within its plot, px."""
    return WIDTH * (index + 0.5) / len(table.levels)


def _plot(table: Table, metric: str, axis: Axis, left: float, top: float) -> Iterator[str]:
    yield f'<g transform="translate({left} {top})">'
    for tick in axis.ticks:
        yield f'<line x1="0" x2="{WIDTH}" y1="{axis.y(tick):.1f}" y2="{axis.y(tick):.1f}" stroke="#e4e4e4"/>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>'
    for number, (row, points) in enumerate(_rows(table, metric)):
        colour, offset = COLOURS[row], 3 * (number - 1.5)  # so that the bars of two rows do not overlap
        path = " ".join(f"{_x(table, i) + offset:.1f},{axis.y(v.mean):.1f}" for i, _, v in points)
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{_dash(row)}/>'
        for i, level, value in points:
            x = _x(table, i) + offset
            if not math.isnan(value.low):
                yield (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{axis.y(value.low):.1f}" y2="{axis.y(value.high):.1f}" '
                       f'stroke="{colour}" stroke-opacity="0.5"/>')  # fmt: skip
            fill = "white" if level.clips < 2 else colour
            yield (f'<circle cx="{x:.1f}" cy="{axis.y(value.mean):.1f}" r="3" fill="{fill}" stroke="{colour}">'
                   f"<title>{row}, {escape(level.name)}: {value.mean:.3g} "
                   f"({level.clips} clips, {level.frames} frames)</title></circle>")  # fmt: skip
    yield "</g>"


def _level_labels(table: Table, left: float, top: float) -> Iterator[str]:
    for i, level in enumerate(table.levels):
        x = left + _x(table, i)
        name = level.name.partition("-")[0] if table.factor == "side" else level.name  # lower edge of the bin
        yield f'<text x="{x:.1f}" y="{top + 14}" text-anchor="middle" font-size="10">{escape(name)}</text>'
        yield (f'<text x="{x:.1f}" y="{top + 26}" text-anchor="middle" font-size="9" fill="#888">'
               f"{level.clips}</text>")  # fmt: skip
    yield f'<text x="{left + WIDTH / 2}" y="{top + 41}" text-anchor="middle">{LABELS[table.factor][1]}</text>'
    yield f'<text x="{left}" y="{top + 26}" font-size="9" fill="#888">n</text>'
