"""Figure 7: every method as a point, FID against LSE-D, one panel for each set.

Only values from the published networks may appear beside the paper's points. Values from custom networks are used if
there are no others; they get their own panel without the paper's points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidgan.errors import counted
from sidgan.paper.collect import Comparison
from sidgan.paper.draw import foot, head, page
from sidgan.paper.published import BENCHMARKS, GROUND, OURS, SETS, known_as

PUBLISHED, CUSTOM = ("fid", "lse_d"), ("fd_custom", "lag_d")  #: metrics of the axes x and y
COLOURS = {
    "PC-AVS": "#e08214", "LipGAN": "#4d9221", "Wav2Lip": "#2166ac", "Wav2Lip-384": "#35978f", OURS: "#c9302c",
    GROUND: "#222222",
}  # fmt: skip
APART = 0.055  #: smallest vertical distance of two labels, as a share of the range of y
OTHER = ("#7b3294", "#8c510a", "#c51b7d", "#666666")  #: colours of methods that the paper does not have


@dataclass(frozen=True)
class Point:
    """A method: ``x`` is a Frechet distance, ``y`` a sync distance; ``here``: measured here, not by the paper."""

    method: str
    x: float
    y: float
    here: bool


@dataclass(frozen=True)
class Panel:
    """The points on one set; ``custom``: measured with other networks than the published ones."""

    set: str
    points: tuple[Point, ...]
    custom: bool
    clips: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; ``above_truth`` is y minus that of the ground truth, from the same source."""
        return {"set": self.set, "custom": self.custom, "clips": self.clips, "points": [
            {"method": p.method, "x": p.x, "y": p.y, "here": p.here, "above_truth": self._above(p)}
            for p in self.points
        ]}  # fmt: skip

    def _above(self, point: Point) -> float | None:
        truth = next((p.y for p in self.points if p.method == GROUND and p.here == point.here), None)
        return None if truth is None else point.y - truth


def panels(found: Mapping[str, Comparison]) -> list[Panel]:
    """A panel for each set of the paper, and a second one if the set was measured with custom networks only."""
    result = []
    for name, known in BENCHMARKS.items():
        comparison = found.get(name)
        paper = tuple(Point(method, values.get("fid", 0.0), values["lse_d"], here=False)
                      for method, values in known.items())  # fmt: skip
        measured = () if comparison is None else _points(comparison, PUBLISHED)
        clips = comparison.clips if comparison is not None else 0
        result.append(Panel(name, paper + measured, custom=False, clips=clips if measured else 0))
        if comparison is not None and not measured and (custom := _points(comparison, CUSTOM)):
            result.append(Panel(name, custom, custom=True, clips=clips))
    return result


def _points(found: Comparison, axes: tuple[str, str]) -> tuple[Point, ...]:
    points = []
    for method, values in found.means.items():
        x, y = (values[a].mean if a in values else math.nan for a in axes)
        x = 0.0 if method == GROUND else x
        if not (math.isnan(x) or math.isnan(y)):
            points.append(Point(method, x, y, here=True))
    return () if all(p.method == GROUND for p in points) else tuple(points)


def draw_scatter(shown: list[Panel], out: Path) -> None:
    """Write Figure 7 as a PNG.

    Raises:
        SidganError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    with page(4.9 * len(shown), 6.2, out) as figure:
        grid = figure.add_gridspec(1, len(shown), wspace=0.2, left=0.055, right=0.985, top=0.82, bottom=0.17)
        for i, panel in enumerate(shown):
            _panel(figure.add_subplot(grid[0, i]), panel, first=i == 0)
        here = [f"{SETS[p.set][0]}: {counted(p.clips, 'clip')}" for p in shown if p.clips]
        caution = "no results given: the paper's points only" if not here else None
        head(figure, "Figure 7: picture against synchronisation", "; ".join(here) or "the paper's own figures", caution)
        foot(figure, "Hollow: the paper's values. Filled: measured here. Further left is better, but not further down: "
             "the aim is the height of the truth (dotted). Points below it move lips more clearly than people do.")


def _panel(axes: Any, panel: Panel, *, first: bool) -> None:
    xs, ys = [p.x for p in panel.points], [p.y for p in panel.points]
    for truth in (p for p in panel.points if p.method == GROUND):
        axes.axhline(truth.y, color="#999999", lw=1, ls=":", zorder=0)
    room_x, room_y = max(1e-6, max(xs) - min(xs)), max(1e-6, max(ys) - min(ys))
    axes.set(xlim=(min(xs) - 0.08 * room_x, max(xs) + 0.34 * room_x),
             ylim=(min(ys) - 0.12 * room_y, max(ys) + 0.12 * room_y))  # fmt: skip
    heights = _spread([(p.y - min(ys)) / room_y for p in panel.points], [p.x / room_x for p in panel.points])
    for i, (point, height) in enumerate(zip(panel.points, heights, strict=True)):
        known = known_as(point.method, list(COLOURS)) or point.method
        colour = COLOURS.get(known, OTHER[i % len(OTHER)])
        mark = "*" if known == GROUND else "o"
        axes.plot(point.x, point.y, mark, ms=15 if mark == "*" else 9, mec=colour, mew=1.8,
                  mfc=colour if point.here else "white", zorder=3)  # fmt: skip
        label = "truth" if known == GROUND else point.method
        bold = "bold" if known == OURS or point.here else "normal"
        axes.text(point.x + 0.035 * room_x, min(ys) + height * room_y, label, color=colour, fontsize=9, va="center",
                  weight=bold)  # fmt: skip
    name = SETS[panel.set][0]
    axes.set(title=f"{name}, custom networks" if panel.custom else name,
             xlabel="FD custom (not FID)" if panel.custom else "FID  (picture, ← better)")  # fmt: skip
    if first or panel.custom:
        axes.set_ylabel("lag-D custom (not LSE-D)" if panel.custom else "LSE-D  (mouth and sound)")


def _spread(heights: list[float], across: list[float]) -> list[float]:
    """Heights of labels, moved up until none overlaps another one that is close to it horizontally."""
    placed: dict[int, float] = {}
    for i in sorted(range(len(heights)), key=lambda k: heights[k]):
        height = heights[i]
        for j in sorted(placed, key=lambda k: placed[k]):
            if abs(across[j] - across[i]) < 0.3 and abs(placed[j] - height) < APART:
                height = placed[j] + APART
        placed[i] = height
    return [placed[i] for i in range(len(heights))]
