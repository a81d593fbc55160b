"""Tables 1 and 2: methods by metrics, with the values measured here above the paper's; and tables as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidgan.errors import counted
from sidgan.evaluation.meanings import HIGHER, LOWER, MEANINGS
from sidgan.evaluation.results import Interval, cell, column
from sidgan.paper.collect import COPIES, Comparison
from sidgan.paper.orderings import orderings, told
from sidgan.paper.published import BENCHMARKS, GROUND, SETS, SEVEN, Figures, known_as

#: Columns after the paper's, shown if they were measured. The first three replace metrics that need published networks;
#: they have their own names, because their values are not comparable.
MORE = ("fd_custom", "lag_d", "lag_c", "mouth_psnr", "heard", "opening", "sync")
ARROWS = {HIGHER: "↑", LOWER: "↓"}
HERE, THERE = "here", "paper"  #: sources of a line's values
TRIVIAL = ("fid", "ssim", "psnr", "id", "fd_custom", "mouth_psnr")  #: metrics not shown for the ground truth


@dataclass(frozen=True)
class Line:
    """One line of a table: a method, the source of the values (usually `HERE` or `THERE`), a text for each column."""

    method: str
    source: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table whose cells are formatted.

    Attributes:
        title: its title. head: names of the columns after method and source. lines: its lines, in order.
        best: (line, column) of the best values measured here.
        notes: lines of text below the table.
    """

    title: str
    head: tuple[str, ...]
    lines: tuple[Line, ...]
    best: frozenset[tuple[int, int]] = frozenset()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """The table as aligned plain text; the best values have a star."""
        rows = [("", "", *self.head)]
        for i, line in enumerate(self.lines):
            cells = [f"{c}{'*' if (i, j) in self.best else ' '}" for j, c in enumerate(line.cells)]
            same = i > 0 and self.lines[i - 1].method == line.method
            rows.append(("" if same else line.method, line.source, *cells))
        widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
        lines = [
            "  ".join(c.ljust(w) if j < 2 else c.rjust(w) for j, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *(f"  {note}" for note in self.notes)])

    def markdown(self) -> str:
        """The table in Markdown; the best values are bold."""
        rule = _row("---", "---", *("---:" for _ in self.head))
        out = [f"**{self.title}**", "", _row("Method", "", *self.head), rule]
        for i, line in enumerate(self.lines):
            cells = [f"**{c}**" if (i, j) in self.best else c for j, c in enumerate(line.cells)]
            out.append(_row(line.method, line.source, *cells))
        return "\n".join([*out, "", *(f"- {note}" for note in self.notes)]) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def benchmark(number: int, name: str, found: Comparison | None) -> Table:
    """Table ``number`` of the paper for the set ``name``, with the values measured on it, if any."""
    title, clips = SETS[name]
    known = BENCHMARKS[name]
    measured = {} if found is None else found.means
    more = [m for m in MORE if any(not math.isnan(v[m].mean) for v in measured.values() if m in v)]
    metrics = (*SEVEN, *more)
    order = [*known, *(m for m in measured if known_as(m, list(known)) is None)]
    lines, figures = [], list[Mapping[str, Interval] | None]()
    for method in order:
        own = next((m for m in measured if (known_as(m, list(known)) or m) == method), None)  # the user's name for it
        if own is not None:
            values = measured[own]
            if own == GROUND:
                values = {metric: value for metric, value in values.items() if metric not in TRIVIAL}
            lines.append(Line(_titled(method, own), HERE, cells_of(values, metrics)))
            figures.append(None if own in (GROUND, *COPIES.values()) else measured[own])
        if method in known:
            lines.append(Line(_titled(method, own), THERE, published(known[method], metrics)))
            figures.append(None)
    here = "nothing judged here; "
    if found is not None:
        here = f"{counted(found.clips, 'clip')}, {counted(found.frames, 'frame')} here; "
    notes = [] if found is None else [*found.notes, *told(orderings(found, name))]
    unjudged = [m for m in known if m != GROUND and not any(known_as(n, list(known)) == m for n in measured)]
    if found is not None and found.listed != name:
        listed = f"the clips are '{found.listed}', not the test list of {title}"
        notes.insert(0, f"{listed}: nothing here compares with the paper's values")
    if found is not None and unjudged:
        notes.append(f"not judged here: {', '.join(unjudged)}")
    if more:
        notes.append("columns after LSE-C are not the paper's; custom ones come from networks other than the published")
    return Table(
        f"Table {number}, {title} ({here}the paper: {clips:,} clips)",
        tuple(heading(m) for m in metrics), tuple(lines), best_of(figures, metrics), tuple(notes),
    )  # fmt: skip


def heading(metric: str) -> str:
    """Name of a metric's column, with an arrow that says whether higher or lower is better."""
    name, _ = column(metric)
    return f"{name} {ARROWS.get(MEANINGS[metric][0], '')}".strip()


def _titled(method: str, own: str | None) -> str:
    """The paper's name of a method, followed by the user's ``own`` name if that is longer."""
    if own is None or own == method or known_as(own, [method]) is None:
        return method
    return method if len(own) <= len(method) else f"{method} ({own})"


def cells_of(values: Mapping[str, Interval], metrics: Sequence[str]) -> tuple[str, ...]:
    """Cells of a line with values measured here."""
    return tuple(cell(values.get(m), column(m)[1]) for m in metrics)


def published(values: Figures, metrics: Sequence[str]) -> tuple[str, ...]:
    """Cells of a line with the paper's values, with two decimals, as in the paper."""
    return tuple(f"{values[m]:.2f}" if m in values else "-" for m in metrics)


def best_of(
    figures: Sequence[Mapping[str, Interval] | None], metrics: Sequence[str]
) -> frozenset[tuple[int, int]]:
    """(line, column) of the best mean of each column; ``None`` in ``figures`` excludes a line.

    A column has no best value if fewer than two lines have one, or if neither higher nor lower is better.
    """
    best = set()
    for j, metric in enumerate(metrics):
        better = MEANINGS[metric][0]
        means = {i: v[metric].mean for i, v in enumerate(figures)
                 if v is not None and metric in v and not math.isnan(v[metric].mean)}  # fmt: skip
        if len(means) < 2 or better not in ARROWS:
            continue
        goal = (max if better == HIGHER else min)(means.values())
        best |= {(i, j) for i, mean in means.items() if mean == goal}
    return frozenset(best)
