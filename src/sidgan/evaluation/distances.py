"""Fréchet distances between the frames of all clips and the true ones, from their features on disk.

Sums of features are exact (`sidgan.metrics.FeatureMoments`), so the result does not depend on the order of clips or the
number of processes. Memory is two covariance matrices, independent of the number of clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import metrics


def distances(out: Path, records: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """System -> row -> set metric -> Fréchet distance between the dubbed and the true frames.

    A row that some clips lack has no distance, since the two sets would contain different clips.

    Args:
        out: result folder.
        records: records of the clips that have figures.
    """
    files: dict[str, list[Path]] = {}
    for record in records:
        path = out / "features" / f"{record['stem']}.npz"
        if path.is_file():
            with np.load(path) as arrays:
                for key in arrays.files:
                    files.setdefault(key, []).append(path)
    result: dict[str, dict[str, dict[str, float]]] = {}
    truth_key, truth = "", metrics.FeatureMoments()
    for key in sorted(files):  # rows of one metric and system follow each other, so their truth is summed once
        metric, system, row = key.split("/")
        wanted = f"{metric}/{system}/truth"
        if files.get(wanted) != files[key]:
            continue
        if truth_key != wanted:
            truth_key, truth = wanted, _moments(wanted, files[wanted])
        result.setdefault(system, {}).setdefault(row, {})[metric] = _moments(key, files[key]).distance(truth)
    return result


def _moments(key: str, files: Sequence[Path]) -> metrics.FeatureMoments:
    moments = metrics.FeatureMoments()
    for path in files:
        with np.load(path) as arrays:
            moments.update(arrays[key])
    return moments
