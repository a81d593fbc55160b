"""Estimate a clip's audio-video offset by correlating mouth motion with the sound.

This needs no trained expert, so footage can be corrected before the first expert exists.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import uniform_filter1d

from sidgan.audio import STEPS_PER_SECOND
from sidgan.config import FPS
from sidgan.geometry import mouth_signals
from sidgan.types import Float

BANDS = 8  #: the 80 mel bands are averaged to this many
RIDGE = 0.3  #: added to the covariance, so that whitening does not amplify directions with little variance
MAX_OFFSET = 15  #: frames searched to either side
TRUST = 10.0  #: evidence from which an offset is trusted and corrected


class Offset(NamedTuple):
    """``frames`` > 0: the picture lags the sound. ``evidence``: height of the correlation peak in robust deviations."""

    frames: int
    evidence: float

    @property
    def trusted(self) -> bool:
        """Whether the evidence is sufficient for a correction."""
        return self.evidence >= TRUST


def estimate_offset(landmarks: Float, mel: Float) -> Offset:
    """The shift within +-15 frames at which mouth motion and sound correlate best.

    Args:
        landmarks: (N, 68, 2) at 25 fps, any unit of length.
        mel: (80, T), column 0 at the time of frame 0.
    """
    motion, sound = _signals(landmarks, mel)
    lags = np.arange(-MAX_OFFSET, MAX_OFFSET + 1)
    strength = np.array([_coupling(motion, sound, int(lag)) for lag in lags])
    best = int(strength.argmax())
    rest = np.delete(strength, slice(max(0, best - 2), best + 3))
    spread = 1.4826 * np.median(np.abs(rest - np.median(rest))) + 1e-9
    return Offset(int(lags[best]), float((strength[best] - np.median(rest)) / spread))


def coupling(landmarks: Float, mel: Float, slack: int) -> float:
    """Correlation strength of mouth and sound at the best shift up to ``slack`` frames; arguments as `estimate_offset`.

    It compares two mouths for one sound: unlike an offset's evidence, it does not depend on the other lags.
    """
    motion, sound = _signals(landmarks, mel)
    return max(_coupling(motion, sound, lag) for lag in range(-slack, slack + 1))


def _signals(landmarks: Float, mel: Float) -> tuple[Float, Float]:
    """Whitened features of mouth motion (N, 9) and of sound (N, 16)."""
    motion = mouth_signals(landmarks)
    speed = np.gradient(motion, axis=0)
    sound = _sound_at_frames(mel, len(motion))
    motion = _whiten(detrend(np.concatenate([motion, speed, np.abs(speed)], 1)))
    return motion, _whiten(detrend(np.concatenate([sound, np.gradient(sound, axis=0)], 1)))


def _sound_at_frames(mel: Float, count: int) -> Float:
    """(count, 8) mean band energies over the 40 ms that each frame is shown."""
    bands = mel.astype(np.float32).reshape(BANDS, -1, mel.shape[1]).mean(1)
    edges = np.arange(count + 1) * STEPS_PER_SECOND / FPS
    total = np.concatenate([np.zeros((BANDS, 1)), np.cumsum(bands, 1)], 1)
    at = np.stack([np.interp(edges, np.arange(total.shape[1]), row) for row in total])
    return np.diff(at, axis=1).T


def detrend(signal: Float) -> Float:
    """Remove changes slower than about a second from columns (N, C) at 25 fps, and scale them to unit variance."""
    signal = signal - uniform_filter1d(signal, FPS, axis=0, mode="nearest")
    return signal / (signal.std(0) + 1e-6)


def _whiten(signal: Float) -> Float:
    """Decorrelate the columns and equalise their variance; otherwise loudness, which all bands share, dominates."""
    strength, directions = np.linalg.eigh(signal.T @ signal / len(signal) + RIDGE * np.eye(signal.shape[1]))
    return signal @ directions / np.sqrt(strength)


def _coupling(motion: Float, sound: Float, lag: int) -> float:
    """Sum of squared correlations of motion at frame i with sound at frame i - lag."""
    count = len(motion)
    a = motion[max(0, lag) : count + min(0, lag)]
    b = sound[max(0, -lag) : count + min(0, -lag)]
    return float(((a.T @ b / len(a)) ** 2).sum())
