"""Tables of figures against a factor: bins of what was found in the clips, or levels of what was made of them.

Bins (`BINS`) pool frames: each frame counts the same, and intervals come from drawing clips anew. Levels average over
clips as `sidgan.evaluation.results` does, and the row ``change`` is the mean of each clip's difference from itself,
undisturbed: clips differ more from each other than most disturbances make them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.evaluation.remarks import people_of
from sidgan.evaluation.results import Interval, bootstrap, cell, drawn
from sidgan.types import Float

CHANGE = "change"
DUBBED = ("model", "wrong", "reference")

#: Metric -> (heading, decimals); the first three are known in every frame.
METRICS = {"mouth_psnr": ("mouth dB", 2), "lmd": ("LMD px", 2), "open_error": ("open err", 3),
           "opening": ("opening r", 2), "sync": ("sync p", 3)}  # fmt: skip
FRAMES = ("mouth_psnr", "lmd", "open_error")

#: Factor -> lower edges of its bins; the last one has no upper edge.
BINS = {"yaw": (0, 10, 20, 30, 45), "side": (0, 64, 96, 128, 192, 256, 384)}

#: Factor -> what the table and the plot say it is.
TITLES = {
    "yaw": "head turned to the side, |yaw| in degrees", "side": "side of the face square in the source, px",
    "size": "face reduced to this many px before it is dubbed", "white": "white noise over the voice, SNR in dB",
    "pink": "pink noise over the voice, SNR in dB", "babble": "other voices over the voice, SNR in dB",
    "rate": "speed of speech",
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """One bin or level: how many clips and frames are in it, and row -> metric -> mean with its interval."""

    name: str
    clips: int
    frames: int
    rows: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class Table:
    """Figures against one factor, and by clip, why some could not be disturbed so: they are in no level."""

    factor: str
    levels: Sequence[Level] = field(default_factory=tuple)
    unsuited: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What varies."""
        return TITLES[self.factor]

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is known of it."""
        return FRAMES if self.factor == "yaw" else tuple(METRICS)

    def to_dict(self) -> dict[str, Any]:
        """For JSON; undefined figures are ``None``."""
        levels = [
            {"level": level.name, "clips": level.clips, "frames": level.frames,
             "rows": {row: {m: _plain(i) for m, i in values.items()} for row, values in level.rows.items()}}
            for level in self.levels
        ]  # fmt: skip
        return {"factor": self.factor, "title": self.title, "levels": levels, "unsuited": dict(self.unsuited)}

    def text(self) -> str:
        """Aligned text: means and half the width of their 95 % intervals; one clip has no interval.

        Rows that a factor cannot touch are shown once, where nothing is disturbed.
        """
        untouched = next((level for level in self.levels if level.rows and CHANGE not in level.rows), None)
        head = [self.title, "clips", "frames", "dubbed by", *(METRICS[m][0] for m in self.metrics)]
        lines = [head]
        for level in self.levels:
            first = [f"  {level.name}", str(level.clips), str(level.frames)]
            for row, values in level.rows.items() or [("-", {})]:
                if untouched is not None and level is not untouched and untouched.rows.get(row) == values:
                    continue
                lines.append([*first, row, *(cell(values.get(m), METRICS[m][1]) for m in self.metrics)])
                first = ["", "", ""]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        pads = [str.ljust, str.rjust, str.rjust, str.ljust, *[str.rjust] * len(self.metrics)]
        shown = ["  ".join(p(*c) for p, c in zip(pads, zip(line, widths, strict=True), strict=True)).rstrip()
                 for line in lines]  # fmt: skip
        return "\n".join([*shown, *(f"  without {name}: {why}" for name, why in self.unsuited.items())])


def tabulate(out: Path, records: Sequence[dict[str, Any]], levels: Mapping[str, Sequence[str]]) -> list[Table]:
    """The tables of a result folder.

    Args:
        out: result folder, with values of each frame.
        records: of clips with figures.
        levels: factor -> names of its levels, the undisturbed one first; only that one for a factor with bins.
    """
    tables = []
    for factor, names in levels.items():
        if factor == "yaw":
            tables.append(Table(factor, _frame_bins(out, records, names[0])))
        elif factor == "side":
            tables.append(Table(factor, _clip_bins(records, names[0])))
        else:
            unsuited = {r["name"]: r["unsuited"][factor] for r in records if factor in r["unsuited"]}
            suited = [r for r in records if factor not in r["unsuited"]]
            tables.append(Table(factor, _levels(suited, factor, names), unsuited))
    return tables


def _bin_names(factor: str) -> list[str]:
    edges = BINS[factor]
    return [f"{a}-{b}" for a, b in pairwise(edges)] + [f"{edges[-1]}+"]


def _frame_bins(out: Path, records: Sequence[dict[str, Any]], clean: str) -> list[Level]:
    """Frames of all clips by the absolute yaw of the head; those without a packed pose are in no bin."""
    series = []
    for record, person in zip(records, people_of(records), strict=True):
        with np.load(out / "frames" / f"{record['stem']}.npz") as arrays:
            if "yaw" in arrays.files:
                turned = np.abs(arrays["yaw"])
                bins = np.where(np.isnan(turned), -1, np.digitize(turned, BINS["yaw"]) - 1)
                values = {(r, m): arrays[f"{clean}/{r}/{m}"] for r in DUBBED for m in FRAMES}
                series.append((bins, values, person))
    found = []
    for i, name in enumerate(_bin_names("yaw")):
        mine = [(bins == i, values, person) for bins, values, person in series if (bins == i).any()]
        who = [person for _, _, person in mine]
        rows = {r: {m: pooled([values[r, m][inside] for inside, values, _ in mine], who) for m in FRAMES}
                for r in DUBBED}  # fmt: skip
        found.append(Level(name, len(mine), sum(int(inside.sum()) for inside, *_ in mine), rows if mine else {}))
    return found


def _clip_bins(records: Sequence[dict[str, Any]], clean: str) -> list[Level]:
    """Clips by the median side of the face square in their source."""
    sized = [r for r in records if r["side"] is not None]
    found = []
    for i, name in enumerate(_bin_names("side")):
        mine = [r for r in sized if np.digitize(r["side"], BINS["side"]) - 1 == i]
        rows = {row: _means(mine, clean, row) for row in DUBBED} if mine else {}
        found.append(Level(name, len(mine), sum(r["judged"] for r in mine), rows))
    return found


def _levels(records: Sequence[dict[str, Any]], factor: str, names: Sequence[str]) -> list[Level]:
    """One level for each name, ordered from easy to hard; rows that the factor cannot touch are the clean ones."""
    clean, found = names[0], []
    for name in sorted(names, key=lambda n: _place(factor, n, clean)):
        mine = [r for r in records if name in r["values"]]
        if not mine:  # a size that no clip is larger than
            continue
        rows = {}
        for row in ("truth", *DUBBED):
            at = name if row in mine[0]["values"][name] else clean
            rows[row] = _means(mine, at, row)
        if name != clean:
            rows[CHANGE] = _changes(mine, name, clean)
        shown = ("1" if factor == "rate" else clean) if name == clean else name.removeprefix(f"{factor} ")
        found.append(Level(shown, len(mine), sum(_frames(r, name) for r in mine), rows))
    return found


def _place(factor: str, name: str, clean: str) -> float:
    if factor == "rate":
        return 1.0 if name == clean else float(name.split()[1])
    return -math.inf if name == clean else -float(name.split()[1])


def _frames(record: dict[str, Any], level: str) -> int:
    """Judged frames in which the model's mouth could be compared."""
    return int(record["counts"][level]["model"]["mouth_psnr"])


def _value(record: dict[str, Any], level: str, row: str, metric: str) -> float:
    value = record["values"][level][row].get(metric)
    return math.nan if value is None else float(value)


def _means(records: Sequence[dict[str, Any]], level: str, row: str) -> dict[str, Interval]:
    return {m: bootstrap([_value(r, level, row, m) for r in records], people_of(records)) for m in METRICS}


def _changes(records: Sequence[dict[str, Any]], level: str, clean: str) -> dict[str, Interval]:
    """Of the model, clip by clip."""
    people = people_of(records)
    return {
        m: bootstrap([_value(r, level, "model", m) - _value(r, clean, "model", m) for r in records], people)
        for m in METRICS
    }


def pooled(parts: Sequence[Float], people: Sequence[str] | None = None) -> Interval:
    """Mean of all known values of some clips, and its 95 % interval as in `sidgan.evaluation.results.bootstrap`.

    Args:
        parts: (n,) values of each clip, NaN where undefined.
        people: who is in each; by default somebody else.
    """
    known = [(i, part[~np.isnan(part)]) for i, part in enumerate(parts)]
    known = [(i, part) for i, part in known if len(part)]
    who = None if people is None else [people[i] for i, _ in known]
    return drawn([math.fsum(part.tolist()) for _, part in known], [len(part) for _, part in known], who)


def _plain(interval: Interval) -> dict[str, float | None]:
    values = interval._asdict().items()
    return {k: float(v) if math.isfinite(v) else None for k, v in values}


def notes(tables: Sequence[Table]) -> list[str]:
    """Lines about bins that are too thin to be read."""
    lines = []
    for table in tables:
        thin = [f"{level.name} ({level.clips})" for level in table.levels if level.clips < 2]
        if thin:
            lines.append(f"{table.factor}: fewer than 2 clips, so no interval: {', '.join(thin)}")
    return lines

