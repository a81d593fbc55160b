"""Figures 2 and 4 as PNG files, and the page layout that other figures share.

Each image contains all that a reader needs to judge it: the material, the parameters, how to read it, and any caution.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.errors import SidganError
from sidgan.files import finished
from sidgan.paper.judges import CONTEXTUAL, L1, PERCEPTUAL
from sidgan.paper.landscape import OPENINGS, Landscape, Panel
from sidgan.paper.landscape import SHIFTS as GRID
from sidgan.paper.material import Material
from sidgan.paper.numbers import FEASIBLE, FLAT_RANGE, LEVEL, apart, area, compromise, feasible
from sidgan.paper.shifts import SHIFTS, STILL, Curve, ShiftCurves
from sidgan.types import Byte

BLUE, RED, PURPLE, GREY = "#2166ac", "#c9302c", "#7b3294", "#666666"
SYNC_COLOURS = (BLUE, RED)
LOSS_COLOURS = {L1: GREY, PERCEPTUAL: "#e08214", CONTEXTUAL: PURPLE}
STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "grid.color": "#e4e4e4", "legend.frameon": False, "hatch.color": "#b090c4", "hatch.linewidth": 0.6,
    "legend.fontsize": 9,
}  # fmt: skip
SHIFT_LABEL = "crop moved sideways by k  [px of a 512-px face]"


def require_matplotlib() -> None:
    """Raise `SidganError` if matplotlib is missing; called before the numbers of a figure are computed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SidganError("drawing figures needs matplotlib; run: pip install 'sidgan[paper]'")


def draw_shifts(curves: ShiftCurves, out: Path) -> None:
    """Write Figure 4 as a PNG.

    Raises:
        SidganError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    with page(15, 8.4, out) as figure:
        _shifts(figure, curves)


def _shifts(figure: Any, curves: ShiftCurves) -> None:
    grid = figure.add_gridspec(1, 3, wspace=0.2, left=0.055, right=0.985, top=0.845, bottom=0.44)
    below = figure.add_gridspec(1, 2, width_ratios=(1, 1.75), wspace=0.34, left=0.055, right=0.985, top=0.325,
                                bottom=0.13)  # fmt: skip
    left, middle, right = (figure.add_subplot(grid[0, i]) for i in range(3))
    for axes in (left, middle, right):
        axes.axvspan(-FLAT_RANGE, FLAT_RANGE, color="#f3f0e6", zorder=0)
        axes.set_xlabel(SHIFT_LABEL)
        axes.set_xlim(SHIFTS[0], SHIFTS[-1])
        axes.set_xticks(range(-32, 33, 8))
    for colour, curve in zip(SYNC_COLOURS, curves.sync, strict=False):
        _sync_curve(left, curve, colour)
        middle.plot(SHIFTS, curve.relative, color=colour, lw=2, label=curve.name)
    for curve in curves.reconstruction:
        _relative_curve(right, curve)
    left.set(title="(a) Sync loss", ylabel="sync loss  −log p(in sync)")
    middle.set(title="(a) Sync loss, relative", ylabel="loss(k) / loss(32)")
    right.set(title="(b) Reconstruction losses, relative", ylabel="loss(k) / loss(32)")
    left.axhline(np.log(2), color="#aaaaaa", lw=1, ls=":")
    left.text(SHIFTS[0] + 1, np.log(2), "undecided (ln 2)", color="#888888", fontsize=8, va="bottom")
    left.margins(y=0.1)
    middle.set_ylim(0, 1.1 * max(c.relative.max() for c in curves.sync))
    right.set_ylim(0, 1.42 * max(c.relative.max() for c in curves.reconstruction))
    middle.plot([], [], color=GREY, lw=1.2, ls="--", label="left: with the sound of another moment")
    middle.legend(loc="lower center")
    right.legend(loc="upper center")
    names = ("k = −32", "k = 0, the truth", "k = +32")
    _strip(figure, below[0, 0], curves.example, names, "One of the windows, its crop moved")
    _flatness_bars(figure.add_subplot(below[0, 1]), (*curves.sync, *curves.reconstruction))
    _head(figure, "Figure 4: how much a sideways shift changes each loss", curves.material)
    moved = float(np.delete(curves.replicated, STILL).mean())
    foot(figure, f"Lines: means over windows; bands and whiskers: {LEVEL} % bootstrap over {curves.material.unit}. "
                  "Shaded: the range in which flatness = (max − min) / mean is measured. Shifted crops are cut from "
                  f"the full frame; {moved:.0%} of them cross its edge, where the last column is repeated. Dashed: the "
                  "unshifted window with the sound of another moment; if this line is no higher than the curve, the "
                  "expert is flat because it ignores the sound. Sync: 5 frames per window; (b): its middle frame at "
                  f"{curves.material.size} px.")  # fmt: skip


def draw_landscape(result: Landscape, out: Path) -> None:
    """Write Figure 2 as a PNG.

    Raises:
        SidganError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    with page(14, 8.2, out) as figure:
        _landscape(figure, result)


def _landscape(figure: Any, result: Landscape) -> None:
    grid = figure.add_gridspec(1, 3, width_ratios=(1, 1, 0.34), wspace=0.2, left=0.055, right=0.985, top=0.8,
                               bottom=0.15)  # fmt: skip
    for i, panel in enumerate(result.panels):
        _contours(figure.add_subplot(grid[0, i]), panel, first=i == 0)
    names = ("s = −1", "s = 0, the truth", "s = +1")
    _column(figure, grid[0, 2], result.example[::-1], names[::-1])
    _head(figure, "Figure 2: where reconstruction and sync losses are low together", result.material)
    foot(figure, f"Contours: mean loss in steps of a tenth of its range, darker where higher. Shaded: both losses "
                  f"within the lowest {FEASIBLE:.0%} of their range. Crosses: minima (distance in "
                  f"halves of the axes). Star: the best compromise, where the higher of the two losses, each as a "
                  f"share of its range, is lowest; conflict is its height there. The mouth is warped to 1 + 0.6 s "
                  f"times its height (the chin follows by half). Shifted crops are cut from the full frame; "
                  f"{result.replicated:.0%} of them cross its edge. Sync: 5 frames per window; reconstruction: its "
                  f"middle frame at {result.material.size} px.")  # fmt: skip


def _sync_curve(axes: Any, curve: Curve, colour: str) -> None:
    axes.plot(SHIFTS, curve.mean, color=colour, lw=2)
    axes.fill_between(SHIFTS, *curve.band, color=colour, alpha=0.15, lw=0)
    if curve.wrong is not None:
        axes.axhline(curve.wrong.mean(), color=colour, lw=1.2, ls="--")


def _relative_curve(axes: Any, curve: Curve) -> None:
    colour = LOSS_COLOURS[curve.name]
    axes.plot(SHIFTS, curve.relative, color=colour, lw=2, label=f"{curve.name}  ({curve.mean[-1]:.3g} at k = 32)")


def _flatness_bars(axes: Any, curves: Sequence[Curve]) -> None:
    for row, curve in enumerate(curves):
        colour = LOSS_COLOURS.get(curve.name) or SYNC_COLOURS[row % len(SYNC_COLOURS)]
        low, high = curve.flatness_band
        axes.barh(row, curve.flatness, color=colour, height=0.62, alpha=0.85)
        axes.plot([low, high], [row, row], color="black", lw=1.3)
        note = f"{curve.flatness:.2f}  [{low:.2f}, {high:.2f}]    {curve.rise:.0%} of the loss at k = 32"
        if curve.sway is not None and curve.gap is not None:
            note += (", but it does not prefer the right sound" if curve.gap <= 0
                     else f", {curve.sway:.0%} of the +{curve.gap:.2g} for wrong sound")  # fmt: skip
        axes.text(max(high, curve.flatness), row, f"  {note}", va="center", fontsize=9)
    axes.set_yticks(range(len(curves)), [c.name.replace(" (", "\n(") for c in curves], fontsize=8.5)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xlim(0, 1.8 * max(c.flatness_band[1] for c in curves) + 1e-9)
    axes.set_title(f"Flatness over |k| ≤ {FLAT_RANGE} px (smaller: less sensitive to shifts), and the change in loss")


def _contours(axes: Any, panel: Panel, *, first: bool) -> None:
    blue, red = panel.surfaces()
    both = feasible(blue, red)
    levels = np.arange(0.05, 1, 0.1)
    for surface, colours, mark in ((blue, "Blues", BLUE), (red, "Reds", RED)):
        axes.contour(surface.x, surface.y, surface.relative, levels, cmap=_dark(colours), linewidths=1.1)
        axes.contour(surface.x, surface.y, surface.relative, [FEASIBLE], colors=[mark], linewidths=2.4)
        axes.plot(*surface.minimum, "X", color=mark, ms=11, mec="white", mew=1.2, zorder=6, clip_on=False)
    if both.any():
        axes.contourf(blue.x, blue.y, both.astype(float), [0.5, 1.5], colors=[PURPLE], alpha=0.22)
        axes.contourf(blue.x, blue.y, both.astype(float), [0.5, 1.5], colors="none", hatches=["xxx"])
    best = compromise(blue, red)
    axes.plot(best.x, best.y, "*", color=PURPLE, ms=17, mec="white", mew=1.2, zorder=7, clip_on=False)
    axes.set(xlabel=SHIFT_LABEL, xlim=(GRID[0], GRID[-1]), ylim=(OPENINGS[0], OPENINGS[-1]), xticks=range(-24, 25, 8))
    if first:
        axes.set_ylabel("mouth opened by s  (−1 closed … 0 as it is … +1 wide)")
    axes.grid(visible=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    minima = apart(blue, red)
    axes.set_title(f"{panel.title[:3]} {panel.names[0]} (blue) and sync (red)", pad=40)
    low, high = panel.sync.mean(0).min(), panel.sync.mean(0).max()
    expert = f"{panel.names[1].partition(', ')[2]}:  loss from {low:.4f} to {high:.4f}"
    for dy, text, colour in ((0.065, expert, RED),
                             (0.022, f"low together on {area(both):.1%} of the area;  minima "
                                     f"{minima['distance']:.2f} apart;  conflict {best.conflict:.0%}",
                              "black")):  # fmt: skip
        axes.text(0, 1 + dy, text, transform=axes.transAxes, color=colour, fontsize=9)


def _dark(name: str) -> Any:
    """A colour map without its near-white half."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps[name](np.linspace(0.35, 1, 64)))


def _strip(figure: Any, place: Any, images: Sequence[Byte], names: Sequence[str], title: str) -> None:
    cells = place.subgridspec(1, len(images), wspace=0.06)
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        axes = figure.add_subplot(cells[0, i])
        _picture(axes, image, name)
        if i == 0:
            axes.set_title(title, pad=6)


def _column(figure: Any, place: Any, images: Sequence[Byte], names: Sequence[str]) -> None:
    cells = place.subgridspec(len(images), 1, hspace=0.2)
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        _picture(figure.add_subplot(cells[i, 0]), image, name)


def _picture(axes: Any, image: Byte, name: str) -> None:
    axes.imshow(image[::2, ::2])
    axes.axvline(image.shape[1] / 4, color="white", lw=0.7, ls=":")  # the middle of every crop, drawn at half its size
    axes.set(xticks=[], yticks=[], xlabel=name)
    axes.grid(visible=False)


def _head(figure: Any, title: str, material: Material) -> None:
    windows, videos = material.counts
    head(figure, title, f"{windows} of 5 frames from {videos}, VGG19: {material.vgg}", material.caution)


def head(figure: Any, title: str, material: str, caution: str | None) -> None:
    """Draw the title of a figure, its material below it, and a warning on red if there is one."""
    figure.text(0.055, 0.955, title, fontsize=16, weight="bold", va="center")
    figure.text(0.055, 0.918, material, fontsize=10.5, color="#444444", va="center")
    if caution is not None:
        figure.text(0.985, 0.918, caution, fontsize=10.5, weight="bold", color="white", va="center",
                    ha="right", bbox={"facecolor": RED, "edgecolor": "none", "boxstyle": "round,pad=0.4"})  # fmt: skip


def foot(figure: Any, text: str) -> None:
    """Draw the explanation below a figure, wrapped to its width."""
    lines = textwrap.fill(text, int(15.2 * figure.get_figwidth()))
    figure.text(0.055, 0.012, lines, fontsize=8.5, color="#555555", va="bottom", linespacing=1.35)


@contextmanager
def page(width: float, height: float, out: Path) -> Iterator[Any]:
    """A matplotlib figure of this size in inches, in the shared style; it is written when the block ends."""
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), facecolor="white")
        yield figure
        with finished(out) as part:
            figure.savefig(part, dpi=130, format="png", metadata={"Software": "sidgan"})
