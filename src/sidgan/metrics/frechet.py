"""The Fréchet distance between two sets of images, computed from their features.

With features of the published Inception network it is FID (the paper's Tables 1 and 2; Heusel et al., "GANs trained by
a two time-scale update rule", 2017). With identity embeddings it compares the identities in both sets.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sidgan.metrics.checks import require, shape
from sidgan.types import Array

LIMIT = 128.0  #: largest absolute value of a feature; Inception features rarely exceed 10, face embeddings never 1
STEP = LIMIT / 2**20  #: features are rounded to multiples of this, 1.2e-4
CHUNK = 4096  #: features multiplied at once: a sum of 2^12 products up to 2^40 is still exact in float64
MAX_COUNT = 2**22  #: largest number of features; the int64 sums of more could overflow


def frechet_distance(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """Squared Fréchet distance of two Gaussians: ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``.

    The trace of the root is computed as the sum of the square roots of the eigenvalues of ``C_a^(1/2) C_b C_a^(1/2)``.
    This matrix is symmetric even where a covariance is singular (fewer features than dimensions), so nothing has to be
    added to a diagonal and no imaginary part dropped. Eigenvalues within rounding error of 0 count as 0.

    Args:
        mean_a: (D,).
        cov_a: (D, D), symmetric.
        mean_b: (D,).
        cov_b: (D, D), symmetric.

    Returns:
        0 or more; 0 for equal Gaussians. NaN if anything is NaN.

    Raises:
        MetricError: the shapes do not match.
    """
    size = len(mean_a)
    for name, value, expected in (("mean", mean_b, (size,)), ("covariance", cov_a, (size, size)),
                                ("covariance", cov_b, (size, size))):  # fmt: skip
        require(shape(value) == expected, f"a {name} must be {expected}, not {shape(value)}")
    if not all(np.isfinite(x).all() for x in (mean_a, cov_a, mean_b, cov_b)):
        return math.nan
    values, vectors = np.linalg.eigh(cov_a.astype(np.float64))
    root = (vectors * np.sqrt(_zero_rounding(values))) @ vectors.T
    product = root @ cov_b @ root
    cross = np.sqrt(_zero_rounding(np.linalg.eigvalsh((product + product.T) / 2))).sum()
    means_apart = np.square(mean_a.astype(np.float64) - mean_b).sum()
    return max(0.0, float(means_apart + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def _zero_rounding(eigenvalues: Array) -> Array:
    """Replace negative eigenvalues, and those within rounding error of 0, by 0."""
    floor = len(eigenvalues) * np.finfo(np.float64).eps * np.abs(eigenvalues).max(initial=0.0)
    return np.where(eigenvalues > floor, eigenvalues, 0.0)


class FeatureMoments:
    """Mean and covariance of features that arrive in batches.

    Features are rounded to multiples of `STEP` and summed as integers. These sums are exact, so the same features give
    the same mean and covariance to the last bit, however they are divided into batches and in any order. Memory is one
    D x D matrix, independent of their number.
    """

    def __init__(self) -> None:
        self.count = 0  #: number of features so far
        self._sum: Array | None = None  # (D,) int64, in units of STEP
        self._products: Array | None = None  # (D, D) int64, in units of STEP^2

    def update(self, features: Tensor | Array) -> None:
        """Add features (n, D).

        Raises:
            MetricError: the dimension differs from earlier features, or values are not finite or beyond `LIMIT`.
        """
        rows = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features, np.float64)
        require(rows.ndim == 2, f"features must be (n, D), not {shape(rows)}")
        size = rows.shape[1] if self._sum is None else len(self._sum)
        require(rows.shape[1] == size, f"features have {rows.shape[1]} dimensions, but earlier ones had {size}")
        require(bool(np.isfinite(rows).all()), "features are not finite: look for NaN in the images or the network")
        require(bool((np.abs(rows) <= LIMIT).all()), f"features must lie within +-{LIMIT:g}; scale them down")
        require(self.count + len(rows) <= MAX_COUNT, f"at most {MAX_COUNT} features can be summed")
        sums, products = _sums(np.rint(rows / STEP))
        self.count += len(rows)
        self._sum = sums if self._sum is None else self._sum + sums
        self._products = products if self._products is None else self._products + products

    @property
    def mean(self) -> Array:
        """(D,) float64; empty before the first feature."""
        return STEP * self._sum / max(self.count, 1) if self._sum is not None else np.empty(0)

    @property
    def covariance(self) -> Array:
        """(D, D) float64, normalised by n - 1; NaN with fewer than two features, empty before the first."""
        if self._sum is None or self._products is None:
            return np.empty((0, 0))
        if self.count < 2:
            return np.full_like(self._products, math.nan, dtype=np.float64)
        total = self._sum.astype(np.float64)
        return STEP**2 * (self._products - np.outer(total, total) / self.count) / (self.count - 1)

    def distance(self, truth: FeatureMoments) -> float:
        """`frechet_distance` from the features of true images; NaN while either set has fewer than two.

        The estimate is biased: it is too high for few features, above all for fewer than dimensions, and falls as more
        are added. Compare only distances of equally many features.
        """
        if min(self.count, truth.count) < 2:
            return math.nan
        return frechet_distance(self.mean, self.covariance, truth.mean, truth.covariance)


def _sums(steps: Array) -> tuple[Array, Array]:
    """Integers (n, D), stored as float64 -> their sums (D,) and the sums of their products (D, D), int64."""
    products = np.zeros((steps.shape[1],) * 2, np.int64)
    for start in range(0, len(steps), CHUNK):
        chunk = steps[start : start + CHUNK]
        products += (chunk.T @ chunk).astype(np.int64)
    return steps.sum(0).astype(np.int64), products
