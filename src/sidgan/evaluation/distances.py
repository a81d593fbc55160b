"""Distances between sets of all clips, from the features of their frames on disk.

Sums of features are exact (`sidgan.metrics.FeatureMoments`), so neither the order of clips nor the number of processes
changes a digit; and only two tables are in memory at a time, however many clips there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import metrics


def distances(out: Path, records: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """System -> row -> set metric -> Frechet distance of the clips as dubbed from the true ones.

    A row that some clips lack has none: it would be compared with other clips.
    """
    files: dict[str, list[Path]] = {}
    for record in records:
        path = out / "features" / f"{record['stem']}.npz"
        if path.is_file():
            with np.load(path) as arrays:
                for key in arrays.files:
                    files.setdefault(key, []).append(path)
    found: dict[str, dict[str, dict[str, float]]] = {}
    name, truth = "", metrics.FeatureMoments()
    for key in sorted(files):  # all rows of a metric and system in a row
        metric, system, row = key.split("/")
        true = f"{metric}/{system}/truth"
        if files.get(true) != files[key]:
            continue
        if name != true:
            name, truth = true, _moments(true, files[true])
        meter = metrics.Frechet()
        meter.truth, meter.generated = truth, _moments(key, files[key])
        found.setdefault(system, {}).setdefault(row, {})[metric] = meter.compute()
    return found


def _moments(key: str, files: Sequence[Path]) -> metrics.FeatureMoments:
    moments = metrics.FeatureMoments()
    for path in files:
        with np.load(path) as arrays:
            moments.update(arrays[key])
    return moments
