"""Join result folders of `sidgan eval`, one per method, into one comparison.

Values in one table must have been measured in the same way. Unfinished results are refused, and so are results with
another protocol, settings, networks or clips; the error names the first field that differs. A clip for which one method
lacks all values, or the value of one metric, is left out for all methods (in that metric), and a note names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidgan.errors import ConfigError, InputError, some
from sidgan.evaluation.distances import distances
from sidgan.evaluation.folder import plain_records
from sidgan.evaluation.protocol import PROTOCOL, differences
from sidgan.evaluation.remarks import few_units, missing
from sidgan.evaluation.results import HIDDEN, EvalResult, Interval, Record, column, without_nan
from sidgan.paper.published import GROUND, SETS
from sidgan.portable import spelt
from sidgan.settings import require

#: Settings that may differ: they decide which rows exist and how fast they are computed, but not their values.
FREE = ("rows", "systems", "revoice", "device", "sounds")
JUDGED = ("model", "result")  #: rows of the judged method: a generator, or finished videos
#: Row -> name in tables, of baselines that ignore the sound. The mean is taken over the true mouths, so it is no fair
#: baseline to beat.
COPIES = {"reference": "Reference copied", "average": "Mean of the clip"}
NEAR = 2e-3  #: relative difference of two values of the same true clip that rounding explains
UNDEFINED = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Judged:
    """The content of one result folder.

    Attributes:
        name: the method's name. folder: its path. protocol: content of ``protocol.json``.
        records: clip -> line of ``records.jsonl``, for one split.
        row: the row whose values are used; by default the first of `JUDGED` that exists.
    """

    name: str
    folder: Path
    protocol: dict[str, Any]
    records: dict[str, dict[str, Any]]
    row: str | None = None

    @property
    def set(self) -> str | None:
        """The published test set that its protocol names, if any."""
        chosen = str(self.protocol["clips"].get("list", ""))
        return chosen if chosen in SETS else None


def is_result(folder: Path) -> bool:
    """Whether this is a result folder, finished or not."""
    return (folder / "protocol.json").is_file()


def read_judged(name: str, folder: Path, split: str | None = None) -> Judged:
    """Read a result folder.

    Args:
        name: name of the method.
        folder: a folder that `sidgan eval` wrote.
        split: the split to read; may be left out if there is only one.

    Raises:
        InputError: it is no result folder, or an unfinished one.
        ConfigError: its protocol has another version, it lacks the split, or it has several and none was chosen.
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
        clips, frames: number of clips and frames that the means include.
        listed: the test list or split that the clips come from, as the protocol names it.
        notes: warnings for the reader: clips left out, intervals over few people, missing metrics and why,
            different versions of the code.
        results: method -> the records behind its means, sorted by clip.
    """

    means: dict[str, dict[str, Interval]]
    clips: int
    frames: int
    listed: str
    notes: tuple[str, ...]
    results: dict[str, EvalResult]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; undefined values are ``None``."""
        return {"clips": self.clips, "frames": self.frames, "listed": self.listed, "means": without_nan(self.means),
                "notes": list(self.notes)}  # fmt: skip


def compare(methods: Sequence[Judged], system: str = "composite") -> Comparison:
    """Compare methods on the clips that all of them have.

    Args:
        methods: at least one.
        system: ``composite`` or ``raw``, see `sidgan.evaluation.results`.

    Raises:
        ConfigError: they were judged with different settings, or two have the same name.
        InputError: they have no clip in common, the true clips differ, or a method has no rows of this system.
    """
    first = methods[0]
    names = [m.name for m in methods]
    require(len(set(names)) == len(names), f"{names} are not all different; give each method a name of its own")
    require(GROUND not in names, f"{GROUND} is a row by itself; give that method another name")
    for other in methods[1:]:
        differs = next(differences(_must_match(first.protocol), _must_match(other.protocol)), None)
        require(differs is None, f"{other.name} was judged with other settings than {first.name}: {differs}; "
                                 "judge both alike")  # fmt: skip
    common, notes = _common(methods)
    results, means = dict[str, EvalResult](), dict[str, dict[str, Interval]]()
    for method in methods:
        records = [method.records[clip] for clip in common]
        judged = tuple(_with_heard(list(plain_records(records))))
        rows = EvalResult({}, judged, distances(method.folder, records)).means.get(system, {})
        row = next((r for r in (JUDGED if method.row is None else (method.row,)) if r in rows), None)
        if row is None:
            raise InputError(f"{method.name}: {method.folder} has no {system} figures of a model or of results")
        for name, which in ((method.name, row), (GROUND, "truth")):  # the truth is the same in all results
            if name not in means and which in rows:
                results[name] = EvalResult({}, tuple(r for r in judged if (r.system, r.row) == (system, which)))
                means[name] = rows[which]
    truth = results.pop(GROUND, EvalResult({}, ()))
    lost = _undefined(results)
    for name, result in [(GROUND, truth), *results.items()]:
        kept = results[name] = _without(result, lost)
        recomputed = next(iter(kept.means.get(system, {}).values()), {})
        means[name] = {m: recomputed.get(m, UNDEFINED) if m in lost else f for m, f in means.get(name, {}).items()}
    del results[GROUND]
    notes += [f"{column(metric)[0]}: left out for all methods, since it is undefined for some: "
              f"{some(clips)}" for metric, clips in lost.items() if metric not in HIDDEN]  # fmt: skip
    _same_truth(methods, common, system)
    mine = [first.records[clip] for clip in common]
    frames = sum(record["judged"] for record in mine)
    listed, splits = str(first.protocol["clips"].get("list")), {record["split"] for record in mine}
    if splits < set(listed.split(", ")):  # one was chosen of several that were judged
        listed = ", ".join(sorted(splits))
    notes += few_units(mine)
    return Comparison(means, len(common), frames, listed, (*notes, *_remarks(methods)), results)


def copies(methods: Sequence[Judged]) -> list[Judged]:
    """The baselines `COPIES` as methods of their own, each from the first results that have its row, if any."""
    return [
        replace(found[0], name=label, row=row) for row, label in COPIES.items()
        if (found := [m for m in methods if any(row in rows for r in m.records.values() if r["excluded"] is None
                                                for rows in r["values"].values())])
    ]  # fmt: skip


def _with_heard(records: Sequence[Record]) -> list[Record]:
    """Add ``heard`` to the model's records: mouth PSNR with the right sound minus that with a wrong one, dB."""
    wrong = {(r.clip, r.system): r.values.get("mouth_psnr", math.nan) for r in records if r.row == "wrong"}
    return [
        replace(r, values=r.values | {"heard": r.values.get("mouth_psnr", math.nan) - wrong[r.clip, r.system]})
        if r.row == "model" and (r.clip, r.system) in wrong else r for r in records
    ]  # fmt: skip


def _must_match(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a protocol that must be equal for two results to be comparable."""
    settings = {k: v for k, v in protocol["settings"].items() if k not in FREE}
    parts = ("protocol", "mode", "networks", "expert")
    clips = {k: protocol["clips"].get(k) for k in ("count", "names", "size")}
    return {part: protocol.get(part) for part in parts} | {"settings": settings, "clips": clips}


def _common(methods: Sequence[Judged]) -> tuple[list[str], list[str]]:
    """Clips that all methods have values for, and a note for each method that lacks some."""
    every = sorted({clip for method in methods for clip in method.records})
    notes, common = [], set(every)
    for method in methods:
        lost = [c for c in every if c not in method.records or method.records[c]["excluded"] is not None]
        common -= set(lost)
        if lost:
            reasons = some([f"{c} ({_why(method, c)})" for c in lost])
            notes.append(f"left out for all methods, since {method.name} has no values: {reasons}")
    if not common:
        raise InputError(f"{', '.join(m.name for m in methods)} have no clip in common; {notes[0] if notes else ''}")
    lengths = {clip: {m.name: m.records[clip]["judged"] for m in methods} for clip in common}
    odd = next((clip for clip in sorted(common) if len(set(lengths[clip].values())) > 1), None)
    if odd is not None:
        raise InputError(f"{odd} was judged on different frames: {lengths[odd]}; judge all methods on the same clips")
    return sorted(common), notes


def _undefined(results: Mapping[str, EvalResult]) -> dict[str, list[str]]:
    """Metric -> clips in which it is undefined for some methods only, for example because no face was found.

    Methods without any value of the metric are ignored. If each method's mean were taken over its own successful
    clips, a method that fails in hard clips would look better than it is.
    """
    by_method = {name: {r.clip: r.values for r in result.records} for name, result in results.items()}
    lost: dict[str, list[str]] = {}
    for metric in dict.fromkeys(m for clips in by_method.values() for values in clips.values() for m in values):
        gaps = [{c for c, values in clips.items() if math.isnan(values.get(metric, math.nan))}
                for clips in by_method.values()]  # fmt: skip
        gaps = [gap for gap, clips in zip(gaps, by_method.values(), strict=True) if len(gap) < len(clips)]
        if gaps and (some := gaps[0].union(*gaps) - gaps[0].intersection(*gaps)):
            lost[metric] = sorted(some)
    return lost


def _without(result: EvalResult, lost: Mapping[str, Sequence[str]]) -> EvalResult:
    """Remove the values of ``lost``, which maps metrics to clips."""
    return EvalResult({}, tuple(
        replace(r, values={m: v for m, v in r.values.items() if r.clip not in lost.get(m, ())}) for r in result.records
    ))  # fmt: skip


def _why(method: Judged, clip: str) -> str:
    return str(method.records[clip]["excluded"]) if clip in method.records else "not in its results"


def _same_truth(methods: Sequence[Judged], common: Sequence[str], system: str) -> None:
    """Raise `InputError` if the values of a true clip differ: the names are the same, but the footage is not."""
    for clip in common:
        truths = [(m.name, m.records[clip]["values"].get(system, {}).get("truth", {})) for m in methods]
        name, values = truths[0]
        for other, other_values in truths[1:]:
            for metric in sorted(values.keys() & other_values.keys()):
                a, b = values[metric], other_values[metric]
                if a is not None and b is not None and abs(a - b) > NEAR * max(1.0, abs(a)):
                    raise InputError(f"{clip}: the true clip's {metric} is {a:.4g} for {name} and {b:.4g} for {other}; "
                                     "they were judged on different footage")  # fmt: skip


def _remarks(methods: Sequence[Judged]) -> list[str]:
    judged = methods[0].protocol
    lines = [f"the clips: {note}" for note in judged["clips"].get("notes", ())]
    if sizes := judged["clips"].get("size") or judged["settings"].get("size"):
        lines.append(f"the crops: {str(sizes).strip('[]')} px; SSIM and PSNR depend on this size")
    lines += missing(methods[0].folder)
    if len({m.protocol.get("code") for m in methods}) > 1:
        lines.append("not all methods were judged by the same code of sidgan; judge them again before publishing")
    if len({m.protocol["settings"].get("device") for m in methods}) > 1:
        lines.append("the methods were judged on different devices (CPU or GPU): last digits may differ")
    return lines


def named(text: str) -> tuple[str, str | None, str]:
    """Split ``NAME=PLACE`` or ``NAME@SET=PLACE`` of the option ``--method`` into name, set (or ``None``) and place.

    Raises:
        ConfigError: the text has neither form.
    """
    name, sep, place = text.partition("=")
    name, at, where = name.partition("@")
    if not (sep and name.strip() and place.strip()) or (at and where not in SETS):
        raise ConfigError(f"--method must be NAME=PLACE or NAME@SET=PLACE, SET one of {', '.join(SETS)}, not '{text}'")
    return name.strip(), where or None, place.strip()
