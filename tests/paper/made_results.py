"""Result folders with known answers, as `sidgan eval` would have written them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.evaluation.protocol import PROTOCOL

CLIPS = ("a", "b", "c", "d")


def make_result(
    folder: Path, values: Mapping[str, Sequence[float | None]], *, truth: Mapping[str, float] | None = None,
    clips: Sequence[str] = CLIPS, excluded: Mapping[str, str] | None = None, listed: str = "hdtf", row: str = "model",
    protocol: Mapping[str, Any] | None = None, shift: float | None = None,
    others: Mapping[str, Mapping[str, Sequence[float | None]]] | None = None,
) -> Path:  # fmt: skip
    """Write one.

    Args:
        folder: made here. values: by metric, one for each clip.
        truth: what the true clips get. clips: names. excluded: reason by clip.
        listed: how clips were chosen. row: who dubs. protocol: changes of it.
        others: figures of more rows, as ``values``.
        shift: by how much one of two features lies off the truth's: their Frechet distance is its square.
    """
    for name in ("records", "features"):
        (folder / name).mkdir(parents=True)
    how: dict[str, Any] = {
        "protocol": PROTOCOL, "mode": "model", "settings": {"mask": "query", "reference": "first", "rows": ["truth"]},
        "networks": {}, "expert": "e" * 64, "code": "c" * 64,
        "clips": {"list": listed, "notes": [], "count": len(clips), "names": "-".join(clips)},
    }  # fmt: skip
    (folder / "protocol.json").write_text(json.dumps(how | dict(protocol or {})))
    lines = []
    for i, clip in enumerate(clips):
        mine = {metric: some[i] for metric, some in values.items()}
        record: dict[str, Any] = {"name": clip, "split": "test", "stem": clip, "excluded": (excluded or {}).get(clip)}
        if record["excluded"] is None:
            rows = {"truth": dict(truth or {}), row: mine}
            rows |= {name: {metric: some[i] for metric, some in more.items()} for name, more in (others or {}).items()}
            counts = {name: dict.fromkeys(figures, 10) for name, figures in rows.items()}
            record |= {"frames": 10, "judged": 10, "skipped": {}, "values": {"composite": rows},
                       "counts": {"composite": counts}}  # fmt: skip
        lines.append(json.dumps(record))
        if shift is not None:
            features = np.random.default_rng(i).normal(size=(40, 2))
            arrays = {"fid/composite/truth": features, f"fid/composite/{row}": features + np.array([shift, 0.0])}
            np.savez(folder / "features" / f"{clip}.npz", **arrays)
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    summary = {"test": {"means": {"composite": {row: {m: {"mean": 0.0} for m in values}}}}}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
