"""Notes on a result folder: what was left out and why, and which figures are less reliable than others.

Nothing is left out silently: `sidgan eval` prints each of these lines, and they are above the tables of the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sidgan.errors import counted, some
from sidgan.evaluation.results import HIDDEN, column
from sidgan.evaluation.revoicing import REVOICED, SHORTEST

FEW = 10  #: people or clips; with fewer, a 95 % interval holds the true mean in less than 90 of 100 cases (3: in 76)
#: Reasons that need their details to be understood.
UNCLEAR = ("cannot be judged", "failed", "a file cannot be read")


def notes(out: Path) -> list[str]:
    """All notes, one line each: excluded clips and frames, figures over some clips only, missing figures."""
    lines, records, settings = left_out(out), _records(out), _read(out, "protocol")["settings"]
    for split, summary in _read(out, "summary").items():
        own = [r for r in records if r["split"] == split]
        found = [f"{counted(count, 'frame')} not judged: {why}" for why, count in summary["skipped_frames"].items()]
        found += [*few_units(own), *no_face_or_sound(own), *altered_truth(own), *partial(summary),
                  *missing_rows(summary, settings)]  # fmt: skip
        lines += [f"{split}: {line}" for line in found]
    return lines + missing(out)


def left_out(out: Path) -> list[str]:
    """Clips without figures, by reason."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in _records(out):
        if record["excluded"] is not None:
            groups.setdefault((record["split"], reason(record["excluded"])), []).append(record)
    return [f"{split}: {counted(len(records), 'clip')} not judged: {why} ({some([r['name'] for r in records])})"
            + (_details(records[0], why) if why in UNCLEAR else "")
            for (split, why), records in groups.items()]  # fmt: skip


def reason(text: str) -> str:
    """The reason of an exclusion without its details, so that equal reasons can be counted."""
    return text.partition(" (")[0]


def _details(record: Mapping[str, Any], why: str) -> str:
    """The details of the exclusion of one clip: the text in brackets after ``why``."""
    return f"; {record['name']}: {record['excluded'].removeprefix(f'{why} (').removesuffix(')')}"


def few_units(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A note if the intervals of a split are over few people, or over few clips where clips are resampled."""
    judged = [r for r in records if r["excluded"] is None]
    people = set(people_of(judged))
    known = len(people) > 1 and all(r.get("person") for r in judged)
    units = len(people) if len(people) > 1 else len(judged)
    if 1 < units < FEW:
        what = counted(units, "person", "people") if known else counted(units, "clip")
        yield f"the intervals are over {what}; with fewer than {FEW} they are too narrow"


def narrow(out: Path) -> list[str]:
    """The note of `few_units` for a result folder whose splits are evaluated together."""
    return list(few_units(_records(out)))


def people_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The person in each clip; the name of the clip if the person is unknown."""
    return [record.get("person") or record["name"] for record in records]


def no_face_or_sound(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Notes on videos without sound, and frames without a face: results must not profit from missing figures."""
    judged = [r for r in records if r["excluded"] is None]
    faceless = {r["name"]: r["no_face_in_result"] for r in judged if r.get("no_face_in_result")}
    if faceless:
        yield (f"no face in {sum(faceless.values())} of {counted(sum(r['judged'] for r in judged), 'judged frame')}, "
               f"which are left out of the figures for lips and mouth opening ({some(list(faceless))})")  # fmt: skip
    mute = [r["name"] for r in judged if r.get("sound") is False]
    if mute:
        yield f"{counted(len(mute), 'result')} without sound, and so without sync figures ({some(mute)})"


def altered_truth(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A note on true videos that carry the mark of a dub, as when the two folders are swapped."""
    names = [r["name"] for r in records if r.get("altered_truth")]
    if names:
        yield (f"{counted(len(names), 'true video')} marked as altered by sidgan ({some(names)}): --truth needs the "
               "originals; are the folders swapped?")  # fmt: skip


def partial(summary: Mapping[str, Any]) -> Iterator[str]:
    """Notes on means of a split over only some of its clips, which may be the easy ones."""
    for system, rows in summary["means"].items():
        for row, values in rows.items():
            fewer: dict[int, list[str]] = {}
            for metric, figure in values.items():
                count = figure.get("clips", summary["clips"])  # older versions did not count
                if 0 < count < summary["clips"] and metric not in HIDDEN:
                    fewer.setdefault(count, []).append(column(metric)[0])
            for count, names in fewer.items():
                yield f"{row}, {system}: {', '.join(names)} over only {count} of {summary['clips']} clips"


def missing_rows(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Notes on rows that the settings ask for, but no clip of a split has."""
    rows = {row for system in summary["means"].values() for row in system}
    if rows and "swapped" in settings.get("rows", ()) and "swapped" not in rows:
        yield "no row swapped: it needs the sound of another clip, and there is only one"
    if rows and settings.get("revoice") and REVOICED not in summary["means"]:
        yield f"no revoiced clips: --revoice needs three clips of more than {SHORTEST} frames"


def missing(out: Path) -> list[str]:
    """How to get those of the paper's figures that are missing."""
    networks = _read(out, "protocol")["networks"]
    defined = {metric for split in _read(out, "summary").values() for rows in split["means"].values()
               for values in rows.values() for metric, figure in values.items()
               if figure["mean"] is not None}  # fmt: skip
    lines = []
    absent = [n for n in ("inception", "lag_expert") if not networks.get(n, {}).get("published")]
    if absent:
        names = " and ".join({"inception": "FID", "lag_expert": "LSE"}[n] for n in absent)
        lines.append(f"no {names}: measure them with --published (for its files, see sidgan info --downloads)")
    if "lag_expert" in networks and not defined & {"lse_d", "lag_d"}:
        lines.append("no LSE: no clip has 15 frames and sound; for prepared clips, give their videos: --sounds FOLDER")
    return lines


def _records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]


def _read(out: Path, name: str) -> Any:
    return json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
