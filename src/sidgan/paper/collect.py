"""Result folders of `sidgan eval`, one for each method, as one comparison: alike, or not at all.

Figures can stand in one table only where they were made in one way. Results of another protocol, of other settings,
networks or clips, or that were not finished are refused, with the first field that differs. Clips that one method has
no figures for, or not this one, count for none of them, and are named.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidgan.config import require
from sidgan.errors import ConfigError, InputError
from sidgan.evaluation.distances import distances
from sidgan.evaluation.folder import plain_records
from sidgan.evaluation.protocol import PROTOCOL, differences
from sidgan.evaluation.remarks import missing
from sidgan.evaluation.results import COLUMNS, HIDDEN, EvalResult, Interval, Record
from sidgan.paper.published import GROUND, SETS
from sidgan.portable import spelt

#: Settings that decide which rows there are and how fast, but no figure of a row.
FREE = ("rows", "systems", "revoice", "device", "sounds")
JUDGED = ("model", "result")
#: Rows of dubbers that do not listen, and what tables call them. The mean has seen the true mouths: no bar to pass.
COPIES = {"reference": "Reference copied", "average": "Mean of the clip"}
NEAR = 2e-3  #: relative difference of two figures of the same true clip that rounding explains
SHOWN = 3
UNDEFINED = Interval(math.nan, math.nan, math.nan)

Records = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Judged:
    """What is in one result folder.

    Attributes:
        name: the method's. folder: where it is. protocol: how it was judged.
        records: lines of ``records.jsonl`` of one split, by clip.
        row: of them, whose figures are taken; by default the model's, or those of finished videos.
    """

    name: str
    folder: Path
    protocol: dict[str, Any]
    records: dict[str, dict[str, Any]]
    row: str | None = None

    @property
    def set(self) -> str | None:
        """The published set that it says it was judged on, if any."""
        chosen = str(self.protocol["clips"].get("list", ""))
        return chosen if chosen in SETS else None


def is_result(folder: Path) -> bool:
    """Whether there is a result folder here, finished or not."""
    return (folder / "protocol.json").is_file()


def read_judged(name: str, folder: Path, split: str | None = None) -> Judged:
    """Read a result folder.

    Args:
        name: of the method.
        folder: from `sidgan eval`.
        split: which of its tables; may be left out where it has only one.

    Raises:
        InputError: it is none, or one that was not finished.
        ConfigError: another version of the protocol, or several splits.
    """
    if not is_result(folder):
        raise InputError(f"{name}: {folder} is no result folder of sidgan eval; give one that has protocol.json")
    try:
        protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
        by = protocol.get("protocol")
        require(by == PROTOCOL, f"{name}: {folder} was judged by {by}, not {PROTOCOL}; judge it again")
        lines = [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]
        json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        left = Path(str(error.filename)).name
        raise InputError(f"{name}: {folder} is not finished (no {left}); let its sidgan eval finish") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: {folder} cannot be read ({error}); judge it again") from None
    splits = sorted({line["split"] for line in lines})
    require(split is not None or len(splits) == 1,
            f"{name}: {folder} has splits {', '.join(splits)}; choose one with --split")  # fmt: skip
    mine = [line for line in lines if split in (None, line["split"])]
    require(bool(mine), f"{name}: {folder} has no split {split}, only {', '.join(splits)}")
    return Judged(name, folder, protocol, {spelt(line["name"]): line for line in mine})


@dataclass(frozen=True)
class Comparison:
    """Methods on the same clips.

    Attributes:
        means: method -> metric -> mean over clips with its interval; the true clips are the method `GROUND`.
        clips, frames: that count.
        listed: how the clips were chosen, as their protocol says.
        notes: what a reader must know: clips left out, figures that are missing and why, unequal code.
        results: method -> the records behind its means, by clip.
    """

    means: dict[str, dict[str, Interval]]
    clips: int
    frames: int
    listed: str
    notes: tuple[str, ...]
    results: dict[str, EvalResult]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is undefined is ``None``."""
        plain = {
            method: {metric: {k: v if math.isfinite(v) else None for k, v in figure._asdict().items()}
                     for metric, figure in values.items()}
            for method, values in self.means.items()
        }  # fmt: skip
        return {"clips": self.clips, "frames": self.frames, "listed": self.listed, "means": plain,
                "notes": list(self.notes)}  # fmt: skip


def compare(methods: Sequence[Judged], system: str = "composite") -> Comparison:
    """Put results side by side.

    Args:
        methods: at least one.
        system: ``composite`` or ``raw``, see `sidgan.evaluation.results`.

    Raises:
        ConfigError: they were judged in different ways, or two have one name.
        InputError: they have no clip in common, the true clips differ, or one of them has no such rows.
    """
    first = methods[0]
    names = [m.name for m in methods]
    require(len(set(names)) == len(names), f"{names} are not all different; give each method a name of its own")
    require(GROUND not in names, f"{GROUND} is a row by itself; give that method another name")
    for other in methods[1:]:
        differs = next(differences(_way(first.protocol), _way(other.protocol)), None)
        require(differs is None, f"{other.name} was judged with other settings than {first.name}: {differs}; "
                                 "judge both alike")  # fmt: skip
    common, notes = _common(methods)
    results, means = dict[str, EvalResult](), dict[str, dict[str, Interval]]()
    for method in methods:
        records = [method.records[clip] for clip in common]
        judged = tuple(_listening(list(plain_records(records))))
        rows = EvalResult({}, judged, distances(method.folder, records)).means.get(system, {})
        row = next((r for r in (JUDGED if method.row is None else (method.row,)) if r in rows), None)
        if row is None:
            raise InputError(f"{method.name}: {method.folder} has no {system} figures of a model or of results")
        for name, which in ((method.name, row), (GROUND, "truth")):  # all have the same truth
            if name not in means and which in rows:
                results[name] = EvalResult({}, tuple(r for r in judged if (r.system, r.row) == (system, which)))
                means[name] = rows[which]
    true = results.pop(GROUND, EvalResult({}, ()))
    lost = _undefined(results)
    for name, result in [(GROUND, true), *results.items()]:
        kept = results[name] = _without(result, lost)
        again = next(iter(kept.means.get(system, {}).values()), {})
        means[name] = {m: again.get(m, UNDEFINED) if m in lost else f for m, f in means.get(name, {}).items()}
    del results[GROUND]
    notes += [f"{COLUMNS.get(metric, (metric,))[0]}: left out for all methods, since it is undefined for some: "
              f"{_some(clips)}" for metric, clips in lost.items() if metric not in HIDDEN]  # fmt: skip
    _same_truth(methods, common, system)
    frames = sum(first.records[clip]["judged"] for clip in common)
    listed = str(first.protocol["clips"].get("list"))
    return Comparison(means, len(common), frames, listed, (*notes, *_remarks(methods)), results)


def copies(methods: Sequence[Judged]) -> list[Judged]:
    """The `COPIES` as methods of their own, from the first results that have such rows, if any."""
    return [
        replace(found[0], name=label, row=row) for row, label in COPIES.items()
        if (found := [m for m in methods if any(row in rows for r in m.records.values() if r["excluded"] is None
                                                for rows in r["values"].values())])
    ]  # fmt: skip


def _listening(records: Sequence[Record]) -> list[Record]:
    """The same, where a model also has ``heard``: by how many dB the right sound beats the wrong one in a clip."""
    wrong = {(r.clip, r.system): r.values.get("mouth_psnr", math.nan) for r in records if r.row == "wrong"}
    return [
        replace(r, values=r.values | {"heard": r.values.get("mouth_psnr", math.nan) - wrong[r.clip, r.system]})
        if r.row == "model" and (r.clip, r.system) in wrong else r for r in records
    ]  # fmt: skip


def _way(protocol: Mapping[str, Any]) -> dict[str, Any]:
    settings = {k: v for k, v in protocol["settings"].items() if k not in FREE}
    parts = ("protocol", "mode", "networks", "expert")
    clips = {k: protocol["clips"].get(k) for k in ("count", "names", "size")}
    return {part: protocol.get(part) for part in parts} | {"settings": settings, "clips": clips}


def _common(methods: Sequence[Judged]) -> tuple[list[str], list[str]]:
    """Clips that all methods have figures for, and lines about the others."""
    every = sorted({clip for method in methods for clip in method.records})
    notes, common = [], set(every)
    for method in methods:
        lost = [c for c in every if c not in method.records or method.records[c]["excluded"] is not None]
        common -= set(lost)
        if lost:
            told = _some([f"{c} ({_why(method, c)})" for c in lost])
            notes.append(f"left out for all methods, since {method.name} has no figures for it: {told}")
    if not common:
        raise InputError(f"{', '.join(m.name for m in methods)} have no clip in common; {notes[0] if notes else ''}")
    lengths = {clip: {m.name: m.records[clip]["judged"] for m in methods} for clip in common}
    odd = next((clip for clip in sorted(common) if len(set(lengths[clip].values())) > 1), None)
    if odd is not None:
        raise InputError(f"{odd} was judged on different frames: {lengths[odd]}; judge all methods on the same clips")
    return sorted(common), notes


def _undefined(results: Mapping[str, EvalResult]) -> dict[str, list[str]]:
    """Metric -> clips in which it is undefined for some of the methods that have it at all: their faces were not found.

    A mean over the clips that went well would flatter whoever failed in the others.
    """
    values = {name: {r.clip: r.values for r in result.records} for name, result in results.items()}
    lost: dict[str, list[str]] = {}
    for metric in dict.fromkeys(m for clips in values.values() for held in clips.values() for m in held):
        gaps = [{c for c, held in clips.items() if math.isnan(held.get(metric, math.nan))} for clips in values.values()]
        gaps = [gap for gap, held in zip(gaps, values.values(), strict=True) if len(gap) < len(held)]
        if gaps and (some := gaps[0].union(*gaps) - gaps[0].intersection(*gaps)):
            lost[metric] = sorted(some)
    return lost


def _without(result: EvalResult, lost: Mapping[str, Sequence[str]]) -> EvalResult:
    """The same without those values."""
    return EvalResult({}, tuple(
        replace(r, values={m: v for m, v in r.values.items() if r.clip not in lost.get(m, ())}) for r in result.records
    ))  # fmt: skip


def _some(clips: Sequence[str]) -> str:
    return ", ".join(clips[:SHOWN]) + (f" and {len(clips) - SHOWN} more" if len(clips) > SHOWN else "")


def _why(method: Judged, clip: str) -> str:
    return str(method.records[clip]["excluded"]) if clip in method.records else "not in its results"


def _same_truth(methods: Sequence[Judged], common: Sequence[str], system: str) -> None:
    """Raise `InputError` where the true clips' own figures differ: the same names, but other pictures or sounds."""
    for clip in common:
        seen = [(m.name, m.records[clip]["values"].get(system, {}).get("truth", {})) for m in methods]
        name, values = seen[0]
        for other, theirs in seen[1:]:
            for metric in sorted(values.keys() & theirs.keys()):
                a, b = values[metric], theirs[metric]
                if a is not None and b is not None and abs(a - b) > NEAR * max(1.0, abs(a)):
                    raise InputError(f"{clip}: the true clip's {metric} is {a:.4g} for {name} and {b:.4g} for {other}; "
                                     "they were judged on different footage")  # fmt: skip


def _remarks(methods: Sequence[Judged]) -> list[str]:
    judged = methods[0].protocol
    lines = [f"the clips: {note}" for note in judged["clips"].get("notes", ())]
    if sizes := judged["clips"].get("size") or judged["settings"].get("size"):
        lines.append(f"the crops: {str(sizes).strip('[]')} px; pictures of other sizes have other SSIM and PSNR")
    lines += missing(methods[0].folder)
    if len({m.protocol.get("code") for m in methods}) > 1:
        lines.append("not all methods were judged by the same code of sidgan; judge them again before publishing")
    if len({m.protocol["settings"].get("device") for m in methods}) > 1:
        lines.append("some were judged on a GPU, some not: last digits may differ")
    return lines


def named(text: str) -> tuple[str, str | None, str]:
    """``NAME=PLACE`` or ``NAME@SET=PLACE``, as a user gives a method: name, set, place.

    Raises:
        ConfigError: it is neither.
    """
    name, sep, place = text.partition("=")
    name, at, where = name.partition("@")
    if not (sep and name.strip() and place.strip()) or (at and where not in SETS):
        raise ConfigError(f"--method must be NAME=PLACE or NAME@SET=PLACE, SET one of {', '.join(SETS)}, not '{text}'")
    return name.strip(), where or None, place.strip()
