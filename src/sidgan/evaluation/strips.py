"""Contact sheet of a judged clip: a few frames as one small JPEG, one line per row, time from left to right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from sidgan.errors import OutputError
from sidgan.evaluation.judging import Verdict
from sidgan.evaluation.results import SYSTEMS
from sidgan.files import finished, writing
from sidgan.types import Byte

ROWS = ("truth", "model", "result", "wrong")  #: rows that are shown, if they were judged
SIDE = 128  #: px; side of each frame
QUALITY = 85  #: of the JPEG


def write_strip(path: Path, verdicts: Sequence[Verdict]) -> list[str]:
    """Write the strip of a clip, and return its rows from top to bottom; ``composite`` is preferred to ``raw``."""
    shown = dict[str, Sequence[Byte]]()
    for system in reversed(SYSTEMS):
        shown |= {v.record.row: v.pictures for v in verdicts if v.record.system == system and len(v.pictures)}
    rows = [row for row in ROWS if row in shown] or list(shown)[:1]
    lines = [np.hstack([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in shown[r]]) for r in rows]
    picture = np.vstack(lines) if lines else np.zeros((SIDE, SIDE, 3), np.uint8)
    encoded, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise OutputError(f"{path} cannot be encoded")
    with finished(path) as part, writing(path):
        part.write_bytes(data.tobytes())
    return rows
