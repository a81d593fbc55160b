"""Position and movement of the lips (LMD in the paper's Tables 1 and 2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sidgan.geometry import LEFT_EYE_CORNER, MOUTH, RIGHT_EYE_CORNER
from sidgan.metrics.checks import check_landmarks, check_series
from sidgan.types import Float

LMD_SIZE = 256  #: px; side of the crops in which landmarks are detected and distances measured
LAGS = range(-3, 4)  #: frames by which two series of mouth openings are shifted against each other
STILL = 1e-9  #: a series with at most this standard deviation does not move; its correlation is 0


def lmd(landmarks: Float, truth: Float) -> Float:
    """Mean distance of the 20 lip landmarks, in px.

    The paper does not state the size of its crops; here it is 256 px.

    Args:
        landmarks: (N, 68, 2) px in crops of 256 px.
        truth: (N, 68, 2) px in the true crops, from the same landmark model.

    Returns:
        (N,) float64.

    Raises:
        MetricError: the shapes do not match.
    """
    check_landmarks(landmarks, truth)
    lips = landmarks[:, MOUTH].astype(np.float64)
    return np.linalg.norm(lips - truth[:, MOUTH], axis=-1).mean(-1)


def lmd_centred(landmarks: Float, truth: Float) -> Float:
    """`lmd` after both mouths are moved to the same centre: shape only, not position."""
    check_landmarks(landmarks, truth)
    return lmd(_centred(landmarks), _centred(truth))


def lmd_normalised(landmarks: Float, truth: Float) -> Float:
    """`lmd` in percent of the distance between the true outer eye corners: independent of the size of the crop.

    NaN where the two corners coincide.
    """
    check_landmarks(landmarks, truth)
    corners = truth[:, LEFT_EYE_CORNER].astype(np.float64) - truth[:, RIGHT_EYE_CORNER]
    span = np.linalg.norm(corners, axis=-1)
    return 100 * lmd(landmarks, truth) / np.where(span > STILL, span, np.nan)


def _centred(landmarks: Float) -> Float:
    points = landmarks.astype(np.float64)
    return points - points[:, MOUTH].mean(1, keepdims=True)


class OpeningMatch(NamedTuple):
    """How the opening of a mouth follows the true one.

    Attributes:
        correlations: (7,) Pearson correlations at `LAGS`; a lag > 0 means that the mouth is late. 0 where either mouth
            does not move.
        ratio: standard deviation of the opening divided by that of the true one; below 1, the mouth moves too little.
            NaN if the true mouth does not move.
    """

    correlations: Float
    ratio: float

    @property
    def correlation(self) -> float:
        """The correlation at lag 0."""
        return float(self.correlations[len(LAGS) // 2])

    @property
    def lag(self) -> int:
        """The lag with the highest correlation, in frames."""
        return LAGS[int(self.correlations.argmax())]


def opening_match(opening: Float, truth: Float) -> OpeningMatch:
    """Compare two series of mouth openings (N,) in consecutive frames, N > 4, in the same unit of length."""
    check_series(opening, truth)
    correlations = np.array([correlation(opening, truth, lag) for lag in LAGS])
    spread = float(np.std(truth))
    return OpeningMatch(correlations, float(np.std(opening)) / spread if spread > STILL else float("nan"))


def correlation(series: Float, truth: Float, lag: int = 0) -> float:
    """Pearson correlation of ``series`` at frame i and ``truth`` at frame i - lag; 0 where either does not move."""
    count = len(series)
    a = series[max(0, lag) : count + min(0, lag)].astype(np.float64)
    b = truth[max(0, -lag) : count + min(0, -lag)].astype(np.float64)
    if len(a) == 0 or a.std() <= STILL or b.std() <= STILL:
        return 0.0
    return float(((a - a.mean()) * (b - b.mean())).mean() / (a.std() * b.std()))
