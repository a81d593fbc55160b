"""How far a face is from the true identity (ID in the paper's Tables 1 and 2)."""

from __future__ import annotations

import numpy as np

from sidgan.metrics.checks import require, shape
from sidgan.types import Float


def identity_distance(embeddings: Float, truth: Float) -> Float:
    """Euclidean distance of identity embeddings; below 0.6, two faces usually count as the same person.

    Embed both images with the landmarks of the *true* image (`sidgan.faces.embed`). Otherwise, an error of the
    landmarks would count as a change of identity.

    Args:
        embeddings: (N, 128).
        truth: (N, 128).

    Returns:
        (N,) float64, not negative.

    Raises:
        MetricError: the shapes do not match.
    """
    require(embeddings.ndim == 2 and embeddings.shape == truth.shape,
            f"embeddings must be two stacks (N, D), not {shape(embeddings)} and {shape(truth)}")  # fmt: skip
    return np.linalg.norm(embeddings.astype(np.float64) - truth, axis=-1)
