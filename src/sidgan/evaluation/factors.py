"""Tables of figures by factor: bins of a property of the clips, or levels of a disturbance.

Bins of head pose pool frames: each frame counts the same. Bins of face size, and levels, are means over clips. All
intervals are bootstrapped as in `sidgan.evaluation.results`. The row ``change`` is the mean difference of each clip
from its undisturbed self, since most disturbances change a clip less than clips differ from each other.
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
from sidgan.evaluation.results import Interval, bootstrap, bootstrap_sums, cell, without_nan
from sidgan.types import Float

CHANGE = "change"  #: row of the differences from the undisturbed clip
DUBBED = ("model", "wrong", "reference")

#: Metric -> (heading, decimals).
METRICS = {"mouth_psnr": ("mouth dB", 2), "lmd": ("LMD px", 2), "open_error": ("open err", 3),
           "opening": ("opening r", 2), "sync": ("sync p", 3)}  # fmt: skip
FRAMES = ("mouth_psnr", "lmd", "open_error")  #: metrics that have a value per frame

#: Factor -> lower edges of its bins; the last one has no upper edge.
BINS = {"yaw": (0, 10, 20, 30, 45), "side": (0, 64, 96, 128, 192, 256, 384)}

#: Factor -> title of its table.
TITLES = {
    "yaw": "head turned to the side, |yaw| in degrees", "side": "side of the face square in the source, px",
    "size": "face reduced to this many px before it is dubbed", "white": "white noise over the voice, SNR in dB",
    "pink": "pink noise over the voice, SNR in dB", "babble": "other voices over the voice, SNR in dB",
    "rate": "speed of speech",
}  # fmt: skip


@dataclass(frozen=True)
class Level:
    """One bin or level: its numbers of clips and frames, and row -> metric -> mean with interval."""

    name: str
    clips: int
    frames: int
    rows: Mapping[str, Mapping[str, Interval]]


@dataclass(frozen=True)
class Table:
    """Figures by one factor. ``unsuited``: clip -> why it could not be disturbed; it is in no level."""

    factor: str
    levels: Sequence[Level] = field(default_factory=tuple)
    unsuited: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Description of the factor."""
        return TITLES[self.factor]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of this table; bins of frames have only metrics with a value per frame."""
        return FRAMES if self.factor == "yaw" else tuple(METRICS)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; undefined figures are ``None``."""
        levels = [
            {"level": level.name, "clips": level.clips, "frames": level.frames, "rows": without_nan(level.rows)}
            for level in self.levels
        ]
        return {"factor": self.factor, "title": self.title, "levels": levels, "unsuited": dict(self.unsuited)}

    def text(self) -> str:
        """Aligned text: means and half the width of their 95 % intervals; one clip has no interval.

        Rows that do not depend on the factor are shown only once, at the undisturbed level.
        """
        clean = next((level for level in self.levels if level.rows and CHANGE not in level.rows), None)
        head = [self.title, "clips", "frames", "dubbed by", *(METRICS[m][0] for m in self.metrics)]
        lines = [head]
        for level in self.levels:
            start = [f"  {level.name}", str(level.clips), str(level.frames)]
            for row, values in level.rows.items() or [("-", {})]:
                if clean is not None and level is not clean and clean.rows.get(row) == values:
                    continue
                lines.append([*start, row, *(cell(values.get(m), METRICS[m][1]) for m in self.metrics)])
                start = ["", "", ""]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        align = [str.ljust, str.rjust, str.rjust, str.ljust, *[str.rjust] * len(self.metrics)]
        shown = ["  ".join(a(*c) for a, c in zip(align, zip(line, widths, strict=True), strict=True)).rstrip()
                 for line in lines]  # fmt: skip
        return "\n".join([*shown, *(f"  without {name}: {why}" for name, why in self.unsuited.items())])


def tabulate(out: Path, records: Sequence[dict[str, Any]], levels: Mapping[str, Sequence[str]]) -> list[Table]:
    """The tables of a result folder, one per factor.

    Args:
        out: result folder, which holds the values per frame.
        records: records of the clips that have figures.
        levels: factor -> names of its levels, the undisturbed one first; for a factor with bins, only this one.
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
    """Frames of all clips, binned by the absolute yaw of the head; frames without a packed pose are in no bin."""
    series = []
    for record, person in zip(records, people_of(records), strict=True):
        with np.load(out / "frames" / f"{record['stem']}.npz") as arrays:
            if "yaw" in arrays.files:
                yaw = np.abs(arrays["yaw"])
                bins = np.where(np.isnan(yaw), -1, np.digitize(yaw, BINS["yaw"]) - 1)
                values = {(r, m): arrays[f"{clean}/{r}/{m}"] for r in DUBBED for m in FRAMES}
                series.append((bins, values, person))
    levels = []
    for i, name in enumerate(_bin_names("yaw")):
        inside = [(bins == i, values, person) for bins, values, person in series if (bins == i).any()]
        people = [person for _, _, person in inside]
        rows = {r: {m: pooled([values[r, m][mask] for mask, values, _ in inside], people) for m in FRAMES}
                for r in DUBBED}  # fmt: skip
        levels.append(Level(name, len(inside), sum(int(mask.sum()) for mask, *_ in inside), rows if inside else {}))
    return levels


def _clip_bins(records: Sequence[dict[str, Any]], clean: str) -> list[Level]:
    """Clips, binned by the median side of the face square in their source."""
    sized = [r for r in records if r["side"] is not None]
    levels = []
    for i, name in enumerate(_bin_names("side")):
        inside = [r for r in sized if np.digitize(r["side"], BINS["side"]) - 1 == i]
        rows = {row: _means(inside, clean, row) for row in DUBBED} if inside else {}
        levels.append(Level(name, len(inside), sum(r["judged"] for r in inside), rows))
    return levels


def _levels(records: Sequence[dict[str, Any]], factor: str, names: Sequence[str]) -> list[Level]:
    """One level per name, from easy to hard; rows that do not depend on the factor are taken from the clean level."""
    clean, levels = names[0], []
    for name in sorted(names, key=lambda n: _difficulty(factor, n, clean)):
        having = [r for r in records if name in r["values"]]
        if not having:  # no clip is larger than this size
            continue
        rows = {}
        for row in ("truth", *DUBBED):
            source = name if row in having[0]["values"][name] else clean
            rows[row] = _means(having, source, row)
        if name != clean:
            rows[CHANGE] = _changes(having, name, clean)
        shown = ("1" if factor == "rate" else clean) if name == clean else name.removeprefix(f"{factor} ")
        levels.append(Level(shown, len(having), sum(_frames(r, name) for r in having), rows))
    return levels


def _difficulty(factor: str, name: str, clean: str) -> float:
    """Sort key of levels: ascending rate; clean, then descending SNR or size."""
    if factor == "rate":
        return 1.0 if name == clean else float(name.split()[1])
    return -math.inf if name == clean else -float(name.split()[1])


def _frames(record: dict[str, Any], level: str) -> int:
    """Number of judged frames in which the mouth PSNR of the model is defined."""
    return int(record["counts"][level]["model"]["mouth_psnr"])


def _value(record: dict[str, Any], level: str, row: str, metric: str) -> float:
    value = record["values"][level][row].get(metric)
    return math.nan if value is None else float(value)


def _means(records: Sequence[dict[str, Any]], level: str, row: str) -> dict[str, Interval]:
    return {m: bootstrap([_value(r, level, row, m) for r in records], people_of(records)) for m in METRICS}


def _changes(records: Sequence[dict[str, Any]], level: str, clean: str) -> dict[str, Interval]:
    """Mean difference of the model's figures from those at the clean level, clip by clip."""
    people = people_of(records)
    return {
        m: bootstrap([_value(r, level, "model", m) - _value(r, clean, "model", m) for r in records], people)
        for m in METRICS
    }


def pooled(parts: Sequence[Float], people: Sequence[str] | None = None) -> Interval:
    """Mean of all defined values of some clips, and its 95 % interval as in `sidgan.evaluation.results.bootstrap`.

    Args:
        parts: values of each clip (n,), NaN where undefined.
        people: the person in each clip; by default, each clip shows another person.
    """
    defined = [(i, part[~np.isnan(part)]) for i, part in enumerate(parts)]
    defined = [(i, part) for i, part in defined if len(part)]
    kept = None if people is None else [people[i] for i, _ in defined]
    return bootstrap_sums([math.fsum(part.tolist()) for _, part in defined], [len(part) for _, part in defined], kept)


def notes(tables: Sequence[Table]) -> list[str]:
    """Notes about bins and levels with fewer than two clips."""
    lines = []
    for table in tables:
        sparse = [f"{level.name} ({level.clips})" for level in table.levels if level.clips < 2]
        if sparse:
            lines.append(f"{table.factor}: fewer than 2 clips, so no interval: {', '.join(sparse)}")
    return lines

