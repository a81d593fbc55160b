"""Whether it still looks like the same person (ID in the paper's Tables 1 and 2)."""

from __future__ import annotations

import numpy as np

from sidgan.metrics.checks import require, shape
from sidgan.types import Float


def identity_distance(embeddings: Float, truth: Float) -> Float:
    """Euclidean distance of identity embeddings; 0.6 is the usual limit for one person.

    Embed both pictures with the *true* picture's landmarks (`sidgan.faces.embed`): otherwise a landmark that slips
    would count as another person.

    Args:
        embeddings: (N, 128).
        truth: (N, 128).

    Returns:
        (N,) float64, not negative.

    Raises:
        MetricError: other shapes.
    """
    require(embeddings.ndim == 2 and embeddings.shape == truth.shape,
            f"embeddings must be two stacks (N, D), not {shape(embeddings)} and {shape(truth)}")  # fmt: skip
    return np.linalg.norm(embeddings.astype(np.float64) - truth, axis=-1)
