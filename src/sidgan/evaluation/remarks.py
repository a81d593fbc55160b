"""What a result folder has to say beside its table: what was left out and why, and which figures say less than others.

Nothing is left out without a word: each of these lines is printed by `sidgan eval` and stands above the tables of its
page.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sidgan.errors import counted
from sidgan.evaluation.results import COLUMNS, HIDDEN
from sidgan.evaluation.revoicing import REVOICED, SHORTEST

FEW = 10  #: people or clips, of which a bootstrap interval of 95 % holds the true mean in 90 of 100 cases; of 3, in 76
NAMED = 3  #: clips that a line names; of more it says how many
UNCLEAR = ("cannot be judged", "failed", "a file cannot be read")  #: reasons that say nothing without their brackets


def notes(out: Path) -> list[str]:
    """All of it, a line each: clips and frames left out, figures of some clips only, figures that are missing."""
    lines, records, asked = left_out(out), _records(out), _read(out, "protocol")["settings"]
    for split, found in _read(out, "summary").items():
        said = [f"{counted(count, 'frame')} not judged: {why}" for why, count in found["skipped_frames"].items()]
        own = [r for r in records if r["split"] == split]
        said += [*few(own), *poor(own), *partial(found), *unmet(found, asked)]
        lines += [f"{split}: {line}" for line in said]
    return lines + missing(out)


def left_out(out: Path) -> list[str]:
    """Which clips have no figures, and why."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in _records(out):
        if record["excluded"] is not None:
            groups.setdefault((record["split"], reason(record["excluded"])), []).append(record)
    return [f"{split}: {counted(len(records), 'clip')} not judged: {why} ({_some([r['name'] for r in records])})"
            + (_first(records[0], why) if why in UNCLEAR else "")
            for (split, why), records in groups.items()]  # fmt: skip


def reason(text: str) -> str:
    """Why a clip was excluded, without what was measured: reasons are counted by this."""
    return text.partition(" (")[0]


def _first(record: Mapping[str, Any], why: str) -> str:
    """What the brackets after ``why`` say of one clip."""
    return f"; {record['name']}: {record['excluded'].removeprefix(f'{why} (').removesuffix(')')}"


def few(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """That the intervals of a split are of few people, or of few clips where these are drawn from."""
    judged = [r for r in records if r["excluded"] is None]
    people = set(people_of(judged))
    known = len(people) > 1 and all(r.get("person") for r in judged)
    drawn = len(people) if len(people) > 1 else len(judged)
    if 1 < drawn < FEW:
        what = counted(drawn, "person", "people") if known else counted(drawn, "clip")
        yield f"the intervals are over {what}; with fewer than {FEW} they are too narrow"


def narrow(out: Path) -> list[str]:
    """The same of a result folder whose splits are judged together."""
    return list(few(_records(out)))


def people_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who is in each clip; somebody of their own where nobody knows."""
    return [record.get("person") or record["name"] for record in records]


def poor(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What judged videos of a split lack: what destroys faces, or drops the sound, must not look well for it."""
    judged = [r for r in records if r["excluded"] is None]
    faceless = {r["name"]: r["no_face_in_result"] for r in judged if r.get("no_face_in_result")}
    if faceless:
        yield (f"no face in {sum(faceless.values())} of {counted(sum(r['judged'] for r in judged), 'judged frame')}, "
               f"which are left out of the figures for lips and mouth opening ({_some(list(faceless))})")  # fmt: skip
    mute = [r["name"] for r in judged if r.get("sound") is False]
    if mute:
        yield f"{counted(len(mute), 'result')} without sound, and so without sync figures ({_some(mute)})"


def partial(found: Mapping[str, Any]) -> Iterator[str]:
    """Which means of a split are over some of its clips only: a figure of the clips that went well says less."""
    for system, rows in found["means"].items():
        for row, values in rows.items():
            fewer: dict[int, list[str]] = {}
            for metric, figure in values.items():
                count = figure.get("clips", found["clips"])  # an older version has not counted
                if 0 < count < found["clips"] and metric not in HIDDEN:
                    fewer.setdefault(count, []).append(COLUMNS.get(metric, (metric,))[0])
            for count, names in fewer.items():
                yield f"{row}, {system}: {', '.join(names)} over only {count} of {found['clips']} clips"


def unmet(found: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """Which rows were asked for (`asked`, the settings) and no clip of a split has."""
    rows = {row for system in found["means"].values() for row in system}
    if rows and "swapped" in asked.get("rows", ()) and "swapped" not in rows:
        yield "no row swapped: it needs the sound of another clip, and there is only one"
    if rows and asked.get("revoice") and REVOICED not in found["means"]:
        yield f"no revoiced clips: --revoice needs three clips of more than {SHORTEST} frames"


def missing(out: Path) -> list[str]:
    """How to get those of the paper's figures that are not there."""
    networks = _read(out, "protocol")["networks"]
    known = {metric for split in _read(out, "summary").values() for rows in split["means"].values()
             for values in rows.values() for metric, figure in values.items()
             if figure["mean"] is not None}  # fmt: skip
    lines = []
    unasked = [n for n in ("inception", "lag_expert") if not networks.get(n, {}).get("published")]
    if unasked:
        names = " and ".join({"inception": "FID", "lag_expert": "LSE"}[n] for n in unasked)
        lines.append(f"no {names}: measure them with --published (for its files, see sidgan info --downloads)")
    if "lag_expert" in networks and not known & {"lse_d", "lag_d"}:
        lines.append("no LSE: no clip has 15 frames and sound; for prepared clips, give their videos: --sounds FOLDER")
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f", and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def _read(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
