"""Statistics of a prepared folder, as text and as JSON; `sidgan.data.sheets` draws them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.config import FPS
from sidgan.data.dataset import packed_arrays, read_manifest
from sidgan.data.offset import TRUST
from sidgan.errors import counted

Record = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """A measurement of each clip.

    Attributes:
        key: in a clip's record.
        title, unit: for people.
        lowest, highest: names of the settings in `sidgan.data.packing.PrepareConfig` that limit it.
        both_sides: whether the limit applies to the absolute value.
    """

    key: str
    title: str
    unit: str
    lowest: str = ""
    highest: str = ""
    both_sides: bool = False


MEASURES = (
    Measure("seconds", "duration", "s", lowest="min_seconds"),
    Measure("side", "side of the face crop in the source", "px", lowest="min_side"),
    Measure("sharpness", "sharpness (Laplacian variance)", "", lowest="min_sharpness"),
    Measure("loudness", "loudness", "dBFS", lowest="min_loudness"),
    Measure("yaw", "yaw: turned left or right", "degrees", highest="max_yaw", both_sides=True),
    Measure("pitch", "pitch: turned up or down", "degrees", highest="max_pitch", both_sides=True),
    Measure("roll", "roll: tilted to a shoulder", "degrees", highest="max_roll", both_sides=True),
    Measure("offset", "picture behind sound, where trusted", "frames", highest="max_offset", both_sides=True),
    Measure("offset_evidence", f"evidence for the offset (trusted from {TRUST:.0f})", "", lowest="min_evidence"),
)  # fmt: skip


@dataclass(frozen=True)
class Survey:
    """The contents of a prepared folder.

    Attributes:
        root: the folder.
        records: as in the manifest, with ``seconds`` added to kept ones.
        settings: as in ``prepare.json``; empty where an older version prepared the folder.
        skipped: number of skipped lines of the data set's lists, by kind.
    """

    root: Path
    records: list[Record]
    settings: dict[str, Any]
    skipped: dict[str, int]

    @property
    def kept(self) -> list[Record]:
        """Records of the clips that were kept."""
        return [r for r in self.records if r["kept"]]

    @property
    def rejected(self) -> list[Record]:
        """Records of the clips that were rejected or failed."""
        return [r for r in self.records if not r["kept"]]

    def splits(self) -> dict[str, Record]:
        """Clips, people, frames and hours by split; ``people`` is ``None`` where some identities are unknown."""
        found: dict[str, Record] = {}
        for name in sorted({split for r in self.kept for split in r.get("splits", {})}):
            parts = [(r, r["splits"][name]) for r in self.kept if name in r.get("splits", {})]
            frames = sum(last - first for _, (first, last) in parts)
            people = {r.get("identity") for r, _ in parts}
            found[name] = {"clips": len(parts), "people": None if None in people else len(people), "frames": frames,
                           "hours": round(frames / FPS / 3600, 3)}  # fmt: skip
        return found

    @property
    def altered(self) -> int:
        """Number of kept clips that carry sidgan's mark: dubbed videos, whose mouths and sound are not original."""
        return sum(r.get("altered", False) for r in self.kept)

    def reasons(self) -> dict[str, int]:
        """Rejected clips by reason, most frequent first."""
        return dict(Counter(map(reason_of, self.rejected)).most_common())

    def values(self, measure: Measure, *, kept: bool) -> list[float]:
        """Measured values of the kept or the rejected clips; clips rejected before this measurement have none."""
        records = self.kept if kept else self.rejected
        if measure.key == "offset":
            records = [r for r in records if r.get("offset_evidence", 0) >= TRUST]
        return [float(r[measure.key]) for r in records if r.get(measure.key) is not None]

    def limits(self, measure: Measure) -> list[float]:
        """The limits beyond which clips were rejected, as far as known and not off."""
        low, high = self.settings.get(measure.lowest), self.settings.get(measure.highest)
        found = [float(v) for v in (low, high) if v is not None]
        return found + [-v for v in found] if measure.both_sides else found

    def to_dict(self) -> dict[str, Any]:
        """All statistics as JSON types."""
        quantiles = {}
        for measure in MEASURES:
            values = self.values(measure, kept=True)
            if values:
                low, q1, middle, q3, high = (round(float(v), 2) for v in np.quantile(values, (0, 0.25, 0.5, 0.75, 1)))
                quantiles[measure.key] = {"min": low, "q25": q1, "median": middle, "q75": q3, "max": high,
                                          "unit": measure.unit, "clips": len(values)}  # fmt: skip
        return {
            "clips": len(self.records), "kept": len(self.kept), "frames": sum(r["frames"] for r in self.kept),
            "altered": self.altered, "splits": self.splits(), "rejected": self.reasons(), "skipped": self.skipped,
            "measured": quantiles,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """The statistics as lines of text."""
        frames = sum(r["frames"] for r in self.kept)
        lines = [f"{len(self.kept)} of {len(self.records)} clips kept, {counted(frames, 'frame')} "
                 f"({frames / FPS / 60:.1f} min)"]
        for name, facts in self.splits().items():
            lines.append(f"  {name}: {described(facts)}")
        lines += [f"  {count} rejected: {reason}" for reason, count in self.reasons().items()]
        kinds = {"bad": "lines not understood", "missing": "listed, but missing", "left out": "left out by the lists"}
        lines += [f"  {n} {kinds.get(kind, kind)} (see skipped.jsonl)" for kind, n in self.skipped.items()]
        if self.altered:
            are = "is" if self.altered == 1 else "are"
            lines.append(f"{self.altered} of {counted(len(self.kept), 'kept clip')} {are} marked as altered, dubbed by "
                         "sidgan (altered in manifest.jsonl); train on originals")  # fmt: skip
        return lines


def survey(root: Path) -> Survey:
    """Read a prepared folder.

    Raises:
        DataError: the folder was not prepared completely.
    """
    records = [_completed(root, record) for record in read_manifest(root)]
    settings = root / "prepare.json"
    skipped = root / "skipped.jsonl"
    lines = skipped.read_text(encoding="utf-8").splitlines() if skipped.is_file() else []
    made_with = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    return Survey(root, records, made_with, dict(Counter(json.loads(line)["kind"] for line in lines)))


def described(facts: Record) -> str:
    """An entry of `Survey.splits` as text."""
    count, people = facts["clips"], facts["people"]
    text = counted(count, "clip") + ("" if people is None else f" of {counted(people, 'person', 'people')}")
    return f"{text}, {counted(facts['frames'], 'frame')}"


def reason_of(record: Record) -> str:
    """Why a clip was rejected, without the measured value."""
    return "cannot be read" if record.get("failed") else str(record["reason"]).split(" (")[0]


def _completed(root: Path, record: Record) -> Record:
    """The record with the duration, and with the head pose where an older version did not record it."""
    record = dict(record)
    if record["kept"]:
        record["seconds"] = record["frames"] / FPS
        arrays = root / "clips" / f"{record['file']}.npz"
        if "yaw" not in record and arrays.is_file():
            with packed_arrays(arrays) as packed:
                pose = packed["pose"] if "pose" in packed else np.zeros((0, 3))
            if len(pose):
                record["yaw"], record["pitch"], record["roll"] = (float(v) for v in np.median(pose, 0))
    return record
