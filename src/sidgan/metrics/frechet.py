"""How far one set of pictures is from another as sets: the Fréchet distance of their features.

With the published Inception's features it is FID (the paper's Tables 1 and 2; Heusel et al., "GANs trained by a two
time-scale update rule", 2017); with identity embeddings it tells whether the faces are those of the same people.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from sidgan.errors import MetricError
from sidgan.metrics.checks import require, shape
from sidgan.types import Array

LIMIT = 128.0  #: largest feature, either sign; Inception's seldom exceed 10, embeddings of faces never 1
STEP = LIMIT / 2**20  #: features are rounded to multiples of this, 1.2e-4
ROWS = 4096  #: features multiplied at once: 2^12 products of 2^40 are still exact in float64
MOST = 2**22  #: features a set may hold before a sum could overflow


def frechet_distance(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """Squared Fréchet distance of two Gaussians: ``|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))``.

    The last trace is the sum of the square roots of the eigenvalues of ``C_a^(1/2) C_b C_a^(1/2)``, which is symmetric
    even where a covariance is singular (fewer features than dimensions): nothing is added to a diagonal and no
    imaginary part is dropped. Eigenvalues that rounding alone could have made count as 0.

    Args:
        mean_a: (D,).
        cov_a: (D, D), symmetric.
        mean_b: (D,).
        cov_b: (D, D), symmetric.

    Returns:
        0 or more; 0 for equal Gaussians. NaN if anything is NaN.

    Raises:
        MetricError: shapes that do not belong together.
    """
    size = len(mean_a)
    for name, value, wanted in (("mean", mean_b, (size,)), ("covariance", cov_a, (size, size)),
                                ("covariance", cov_b, (size, size))):  # fmt: skip
        require(shape(value) == wanted, f"a {name} must be {wanted}, not {shape(value)}")
    if not all(np.isfinite(x).all() for x in (mean_a, cov_a, mean_b, cov_b)):
        return math.nan
    values, vectors = np.linalg.eigh(cov_a.astype(np.float64))
    root = (vectors * np.sqrt(_above_rounding(values))) @ vectors.T
    product = root @ cov_b @ root
    cross = np.sqrt(_above_rounding(np.linalg.eigvalsh((product + product.T) / 2))).sum()
    apart = np.square(mean_a.astype(np.float64) - mean_b).sum()
    return max(0.0, float(apart + np.trace(cov_a) + np.trace(cov_b) - 2 * cross))


def _above_rounding(eigenvalues: Array) -> Array:
    floor = len(eigenvalues) * np.finfo(np.float64).eps * np.abs(eigenvalues).max(initial=0.0)
    return np.where(eigenvalues > floor, eigenvalues, 0.0)


class FeatureMoments:
    """Mean and covariance of features that arrive in pieces.

    Features are rounded to multiples of `STEP` and summed as whole numbers. Such sums have no rounding of their own, so
    the same features give the same mean and covariance to the last bit in whatever pieces, order, processes and
    threads they arrive. What is kept is one D x D table, however many there are.
    """

    def __init__(self) -> None:
        self.count = 0  #: features so far
        self._sum: Array | None = None  # int64, in steps
        self._products: Array | None = None

    def update(self, features: Tensor | Array) -> None:
        """Add features (n, D).

        Raises:
            MetricError: another shape than before, or values that are not finite or beyond `LIMIT`.
        """
        rows = np.asarray(features.detach().cpu() if isinstance(features, Tensor) else features, np.float64)
        require(rows.ndim == 2, f"features must be (n, D), not {shape(rows)}")
        size = rows.shape[1] if self._sum is None else len(self._sum)
        require(rows.shape[1] == size, f"features of {rows.shape[1]} numbers, where earlier ones had {size}")
        require(bool(np.isfinite(rows).all()), "features are not finite: look for NaN in the pictures or the network")
        require(bool((np.abs(rows) <= LIMIT).all()), f"features must lie within +-{LIMIT:g}; scale them down")
        self._add(len(rows), *_sums(np.rint(rows / STEP)))

    def merge(self, other: FeatureMoments) -> None:
        """Add all that another one has seen, in this or another process."""
        if other._sum is None or other._products is None:
            return
        if self._sum is not None and len(self._sum) != len(other._sum):
            raise MetricError(f"features of {len(self._sum)} and of {len(other._sum)} numbers cannot be joined")
        self._add(other.count, other._sum, other._products)

    def _add(self, count: int, total: Array, products: Array) -> None:
        require(self.count + count <= MOST, f"at most {MOST} features can be summed")
        self.count += count
        self._sum = total.copy() if self._sum is None else self._sum + total
        self._products = products.copy() if self._products is None else self._products + products

    @property
    def mean(self) -> Array:
        """(D,) float64; empty before the first feature."""
        return STEP * self._sum / max(self.count, 1) if self._sum is not None else np.empty(0)

    @property
    def covariance(self) -> Array:
        """(D, D) float64, divided by n - 1; NaN with fewer than two features."""
        if self._sum is None or self._products is None:
            return np.empty((0, 0))
        if self.count < 2:
            return np.full_like(self._products, math.nan, dtype=np.float64)
        total = self._sum.astype(np.float64)
        return STEP**2 * (self._products - np.outer(total, total) / self.count) / (self.count - 1)


def _sums(steps: Array) -> tuple[Array, Array]:
    """Whole numbers (n, D), kept as float64 -> their sums (D,) and the sums of their products (D, D), int64."""
    products = np.zeros((steps.shape[1],) * 2, np.int64)
    for start in range(0, len(steps), ROWS):
        some = steps[start : start + ROWS]
        products += (some.T @ some).astype(np.int64)
    return steps.sum(0).astype(np.int64), products


class Frechet:
    """Accumulates `frechet_distance` between features of generated and of true pictures.

    Attributes:
        generated, truth: may be replaced, so that several methods share one truth.
    """

    def __init__(self) -> None:
        self.generated, self.truth = FeatureMoments(), FeatureMoments()

    def update(self, features: Tensor | Array, truth: Tensor | Array) -> None:
        """Add features (n, D) of generated and (m, D) of true pictures; they need not be pairs."""
        self.generated.update(features)
        self.truth.update(truth)

    def merge(self, other: Frechet) -> None:
        """Add all that another one has seen."""
        self.generated.merge(other.generated)
        self.truth.merge(other.truth)

    def compute(self) -> float:
        """The distance of everything so far; NaN while either side has fewer than two features.

        With fewer features than dimensions it is defined but too high, and falls as features are added: compare only
        figures from equally many.
        """
        if min(self.generated.count, self.truth.count) < 2:
            return math.nan
        a, b = self.generated, self.truth
        return frechet_distance(a.mean, a.covariance, b.mean, b.covariance)
