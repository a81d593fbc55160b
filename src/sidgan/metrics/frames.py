"""The mean of a per-frame metric over a clip whose frames arrive in batches."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sidgan.types import Float


class FrameMean:
    """Accumulates one value per frame, as returned by `psnr`, `ssim`, `lmd` and `identity_distance`.

    The sum is rounded only once, at the end, so that the result does not depend on the size and order of batches.
    """

    def __init__(self) -> None:
        self._values: list[float] = []

    def update(self, values: Tensor | Float) -> None:
        """Add the values (n,) of n frames."""
        numbers = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self._values += numbers.astype(np.float64).tolist()

    def compute(self) -> float:
        """The mean over all frames so far; NaN if there were none."""
        return math.fsum(self._values) / len(self._values) if self._values else math.nan
