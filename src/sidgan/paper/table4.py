"""Table 4: the effect of each part of the method, over several seeds, with intervals over seeds and clips.

A mean over seeds and clips varies with both, so its bootstrap interval resamples both: the runs of a row, and people
with all of their clips (the same draws of people for all rows, since all rows are judged on the same clips).
``to full`` is the difference from the full setting in the same draws, marked if its interval excludes 0. Failed runs
are counted, but take part in no mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.errors import InputError, counted
from sidgan.evaluation.results import RESAMPLES, Interval, column, numbered, without_nan
from sidgan.paper.ablation import SETTINGS, Run, read_runs
from sidgan.paper.collect import Comparison, Judged, compare, read_judged
from sidgan.paper.published import ABLATION, SETS, THREE
from sidgan.paper.tables import HERE, MORE, THERE, Line, Table, best_of, cells_of, heading, published
from sidgan.settings import require
from sidgan.types import Float

FULL = "full"  #: name of the row with the full setting
CHANGE = "to full"  #: label of the lines that hold differences from it
SET_METRICS = ("fid", "fd_custom")  #: metrics with one value for each run and none for a clip


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: a key of `sidgan.paper.ablation.SETTINGS`, or the user's own name.
        seeds: results of the successful runs. failed: the reason for each of the others.
        caution: a warning to the reader, or an empty string.
    """

    name: str
    seeds: tuple[Judged, ...]
    failed: tuple[str, ...] = ()
    caution: str = ""

    @property
    def label(self) -> str:
        """The paper's name of the row; for the user's own rows, their name."""
        return SETTINGS[self.name].label if self.name in SETTINGS else self.name


def rows_of(folder: Path, split: str | None) -> list[Row]:
    """The rows of a folder that `sidgan.paper.ablation.ablate` made; unfinished runs count as failed.

    Raises:
        InputError: the folder holds no ablation.
        ConfigError: it has no runs.
    """
    rows: dict[str, tuple[list[Judged], list[str]]] = {}
    for run in read_runs(folder):
        done, failed = rows.setdefault(run.row, ([], []))
        if run.state == "done":
            done.append(read_judged(f"{run.row}, seed {run.seed}", run.judged, split))
        else:
            failed.append(f"seed {run.seed}: {run.why or 'it was not finished'}")
    caution = {name: _caution(runs) for name, runs in groupby(read_runs(folder), key=lambda run: run.row)}
    return [Row(name, tuple(done), tuple(failed), caution[name]) for name, (done, failed) in rows.items()]


def _caution(runs: Iterable[Run]) -> str:
    configs = [run.folder / "run" / "config.json" for run in runs]
    settings = [json.loads(path.read_text(encoding="utf-8")) for path in configs if path.is_file()]
    random = any(s["vgg"] == "random" and any(w["features"] for w in s["weights"].values()) for s in settings)
    return "VGG19 had random weights, so this is another loss than the paper's" if random else ""


def rows_named(texts: Sequence[str], split: str | None) -> list[Row]:
    """Rows from ``NAME=RESULTS``; NAME may be a key of `SETTINGS`. Results with the same name are the seeds of a row.

    Raises:
        ConfigError: a text has another form.
        InputError: there are no finished results.
    """
    rows: dict[str, list[Judged]] = {}
    for text in texts:
        name, sep, place = text.partition("=")
        require(bool(name and sep and place), f"--row must be NAME=RESULTS, not '{text}'")
        seeds = rows.setdefault(name, [])
        seeds.append(read_judged(f"{name}, run {len(seeds) + 1}", Path(place), split))
    order = {name: i for i, name in enumerate(SETTINGS)}
    return [Row(name, tuple(rows[name])) for name in sorted(rows, key=lambda n: order.get(n, len(order)))]


@dataclass(frozen=True)
class Ablation:
    """The content of Table 4.

    Attributes:
        rows: the rows, in order. found: the comparison of all successful runs.
        means: row -> metric -> mean. changes: row -> metric -> difference from the full setting, if that was run.
    """

    rows: tuple[Row, ...]
    means: dict[str, dict[str, Interval]]
    changes: dict[str, dict[str, Interval]]
    found: Comparison

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "table": 4, "clips": self.found.clips, "frames": self.found.frames, "notes": list(self.found.notes),
            "paper": ABLATION,
            "rows": {
                row.name: {"label": row.label, "runs": len(row.seeds), "failed": list(row.failed),
                           "means": without_nan(self.means.get(row.name, {})),
                           "to_full": without_nan(self.changes.get(row.name, {}))}
                for row in self.rows
            },
        }  # fmt: skip


def ablation(rows: Sequence[Row], system: str = "composite") -> Ablation:
    """Compare rows, for the system ``composite`` or ``raw``.

    Raises:
        ConfigError: runs were judged with different settings.
        InputError: no run was successful.
    """
    runs = [run for row in rows for run in row.seeds]
    if not runs:
        why = next((reason for row in rows for reason in row.failed), "none was finished")
        raise InputError(f"no run was successful, so there is nothing to compare ({why})")
    found = compare(runs, system)
    metrics = [m for m in (*THREE, *MORE) if any(m in found.means[run.name] for run in runs)]
    draws, means, changes = _Draws(found), dict[str, dict[str, Interval]](), dict[str, dict[str, Interval]]()
    for metric in metrics:
        values = {row.name: _values(found, row, metric, system) for row in rows if row.seeds}
        sampled = {name: draws.means(i, table) for i, (name, table) in enumerate(values.items())}
        for name, table in values.items():
            means.setdefault(name, {})[metric] = _interval(float(_mean(table)), sampled[name], table)
            if FULL in values and name != FULL:
                change = float(_mean(table) - _mean(values[FULL]))
                smaller = min(table, values[FULL], key=np.size)
                changes.setdefault(name, {})[metric] = _interval(change, sampled[name] - sampled[FULL], smaller)
    return Ablation(tuple(rows), means, changes, found)


def _values(found: Comparison, row: Row, metric: str, system: str) -> Float:
    """(seeds, clips) values of a metric, or (seeds, 1) for `SET_METRICS`; NaN where undefined."""
    if metric in SET_METRICS:
        none = Interval(math.nan, math.nan, math.nan)
        return np.array([[found.means[run.name].get(metric, none).mean] for run in row.seeds])
    return np.array([
        [r.values.get(metric, math.nan) for r in found.results[run.name].records
         if r.system == system and r.row in ("model", "result")]
        for run in row.seeds
    ])  # fmt: skip


class _Draws:
    """Bootstrap draws of people, each with all of their clips, shared by all rows; seeds are drawn for each row."""

    def __init__(self, found: Comparison) -> None:
        result = next(iter(found.results.values()))
        people = np.array(numbered([record.drawn_with for record in result.records]))
        clips_of = [np.flatnonzero(people == i) for i in range(people.max() + 1)]  # indices of each person's clips
        picks = np.random.default_rng(0).integers(len(clips_of), size=(RESAMPLES, len(clips_of)))
        self._clips = [np.concatenate([clips_of[i] for i in drawn]) for drawn in picks]

    def means(self, row: int, table: Float) -> Float:
        """(RESAMPLES,) means of the values (seeds, clips) of one row; ``row`` is its index, for the random seed."""
        seeds = np.random.default_rng([1, row]).integers(len(table), size=(RESAMPLES, len(table)))
        if table.shape[1] == 1:
            return _mean(table[seeds, 0], 1)
        return np.array([_mean(table[s][:, c]) for s, c in zip(seeds, self._clips, strict=True)])


def _mean(values: Float, axis: int | None = None) -> Any:
    """As ``np.nanmean``, without its warning where all values are NaN."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0).sum(axis) / np.maximum(count, 1), np.nan)


def _interval(mean: float, samples: Float, table: Float) -> Interval:
    """A mean with the interval that holds 95 % of the samples; the bounds are NaN if the table has one value only."""
    if table.size < 2 or np.isnan(samples).all():
        return Interval(mean, math.nan, math.nan)
    low, high = np.nanquantile(samples, [0.025, 0.975])
    return Interval(mean, float(low), float(high))


def as_table(found: Ablation) -> Table:
    """Format the table as the paper does, with the number of successful runs, differences, and the paper's values."""
    metrics = (*THREE, *(m for m in MORE if any(not math.isnan(v[m].mean) for v in found.means.values() if m in v)))
    lines, figures = [], list[Mapping[str, Interval] | None]()
    for row in found.rows:
        values, changes = found.means.get(row.name, {}), found.changes.get(row.name)
        total = len(row.seeds) + len(row.failed)
        lines.append(Line(row.label, HERE, (f"{len(row.seeds)}/{total}", *cells_of(values, metrics))))
        figures.append(values)
        if changes:
            lines.append(Line(row.label, CHANGE, ("", *(_change_cell(changes, m) for m in metrics))))
            figures.append(None)
        if row.name in ABLATION:
            lines.append(Line(row.label, THERE, ("", *published(ABLATION[row.name], metrics))))
            figures.append(None)
    random = [f"{row.label}: {row.caution}" for row in found.rows if row.caution]
    failed = [f"{row.label}: a run failed, {why}" for row in found.rows for why in row.failed]
    seeds = max(len(row.seeds) + len(row.failed) for row in found.rows)
    about = f"'{CHANGE}': difference from the full setting, with ! if its interval excludes 0"
    notes = [*random, *failed, *found.found.notes, about]
    if seeds < 3:
        notes.append(f"{counted(seeds, 'seed')} a row: other seeds may reverse the differences; use three")
    best = frozenset((i, j + 1) for i, j in best_of(figures, metrics))
    return Table(
        f"Table 4, ablation ({counted(found.found.clips, 'clip')}, {counted(found.found.frames, 'frame')} here; "
        f"the paper: HDTF, {SETS['hdtf'][1]} clips)",
        ("runs", *map(heading, metrics)), tuple(lines), best, tuple(notes),
    )  # fmt: skip


def _change_cell(values: Mapping[str, Interval], metric: str) -> str:
    figure, (_, decimals) = values.get(metric), column(metric)
    if figure is None or math.isnan(figure.mean):
        return "-"
    sure = not math.isnan(figure.low) and (figure.low > 0 or figure.high < 0)
    half = "" if math.isnan(figure.low) else f" ±{(figure.high - figure.low) / 2:.{decimals}f}"
    return f"{figure.mean:+.{decimals}f}{half}{'!' * sure}"
