"""The mean of a per-frame metric over a whole clip, however its frames arrive."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sidgan.types import Float


class FrameMean:
    """Accumulates one value per frame, as `psnr`, `ssim`, `lmd` and `identity_distance` give them.

    The sum is rounded once, at the end: batches of any size and order give the same bits.
    """

    def __init__(self) -> None:
        self._values: list[float] = []

    def update(self, values: Tensor | Float) -> None:
        """Add the values (n,) of some frames."""
        numbers = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self._values += numbers.astype(np.float64).tolist()

    def compute(self) -> float:
        """The mean over all frames so far; NaN if there were none."""
        return math.fsum(self._values) / len(self._values) if self._values else math.nan
