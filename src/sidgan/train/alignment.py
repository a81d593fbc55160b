"""Measure without a network whether pictures and sound of a data set belong together, and at which lag and frame rate.

One short clip tells little, because the mouth follows the voice only roughly. All clips together tell much, because
they agree on the sign of the relation: for everybody, an open mouth goes with loud sound at the same lag. So signed
correlations are averaged over the clips: their noise cancels, that of magnitudes would not. What clips have in common
for other reasons (such as silence at both ends) is measured on pairs of different clips and subtracted. The standard
deviation over such pairs is the unit of the evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sidgan.config import FPS
from sidgan.data.dataset import PackedSet
from sidgan.data.offset import BANDS, MAX_OFFSET, RIDGE, detrend
from sidgan.geometry import mouth_signals
from sidgan.nn import middle
from sidgan.types import Float

RATES = (FPS, 15, 20, 24, 30, 50, 60)  #: frame rates that are tried, the expected one first
PIECE_FRAMES, MIN_PIECE = 250, 40  #: frames; longer clips are cut into pieces, shorter pieces are dropped
MAX_PIECES = 300  #: pieces measured at most, spread evenly over the set
PAIRINGS = 8  #: ways of pairing each piece with the sound of another one
MIN_EVIDENCE = 8.0  #: evidence from which pictures and sound are related; unrelated ones stay below 3 or 4
MIN_FRAMES = 2500  #: in which real footage in sync always shows a relation (evidence of 30 at 3300 frames)

Piece = tuple[Float, Float]  #: (N, 3) mouth signals and (N, 8) loudness of mel bands, frame by frame


@dataclass(frozen=True)
class Alignment:
    """The alignment of pictures and sound, over all clips of a set.

    Attributes:
        frames: number of frames measured.
        lag: frames by which pictures lag behind their sound, at 25 fps.
        evidence: for that lag, in standard deviations over pairs of different clips.
        rate: frame rate with the largest evidence; 25 if the data is correct.
        rate_evidence: evidence at that rate.
    """

    frames: int
    lag: int
    evidence: float
    rate: int
    rate_evidence: float

    @property
    def related(self) -> bool:
        """Whether pictures and sound are correlated, at one lag and frame rate for all clips."""
        return self.rate_evidence >= MIN_EVIDENCE

    @property
    def steady(self) -> bool:
        """Whether no other frame rate fits clearly better (in short clips, 24 and 25 are hard to tell apart)."""
        return self.rate == FPS or self.rate_evidence < 1.02 * self.evidence + 3


def measure_alignment(data: PackedSet) -> Alignment | None:
    """Correlate mouth and sound over a set; ``None`` if too few clips have landmarks."""
    pieces = _pieces(data)
    found = {}
    for rate in RATES:
        resampled = [p for p in (_at_rate(piece, rate) for piece in pieces) if len(p[0]) >= MIN_PIECE]
        if len(resampled) > 2:
            found[rate] = _evidence(resampled)
    if FPS not in found:
        return None
    best = max(found, key=lambda rate: found[rate][1])
    lag, evidence = found[FPS]
    return Alignment(sum(len(p[0]) for p in pieces), lag, evidence, best, found[best][1])


def _pieces(data: PackedSet) -> list[Piece]:
    pieces: list[Piece] = []
    for clip in data.clips:
        with np.errstate(invalid="ignore", divide="ignore"):
            mouth = mouth_signals(clip.landmarks)
        # The middle 4 columns of a window are the 50 ms around the frame itself.
        sound = middle(clip.mels, 4)[:, 0].float().mean(-1).reshape(len(clip), BANDS, -1).mean(2).cpu().numpy()
        if np.isfinite(mouth).all() and mouth.std() > 0:  # false for clips without landmarks
            starts = range(0, len(clip), PIECE_FRAMES)
            pieces += [(mouth[i : i + PIECE_FRAMES], sound[i : i + PIECE_FRAMES]) for i in starts]
    pieces = [p for p in pieces if len(p[0]) >= MIN_PIECE]
    return [pieces[i] for i in np.linspace(0, len(pieces) - 1, min(MAX_PIECES, len(pieces))).astype(int)]


def _at_rate(piece: Piece, rate: int) -> Piece:
    """The piece as if it had been filmed at ``rate``: frame i gets the sound at i / rate seconds."""
    mouth, sound = piece
    at = np.arange(len(mouth)) * FPS / rate
    at = at[at <= len(sound) - 1]
    resampled = np.stack([np.interp(at, np.arange(len(sound)), band) for band in sound.T], 1)
    return mouth[: len(at)], resampled


def _evidence(pieces: Sequence[Piece]) -> tuple[int, float]:
    """The best lag in frames, and its evidence in standard deviations."""
    motion = _whiten([detrend(np.concatenate([m, np.gradient(m, axis=0)], 1)) for m, _ in pieces])
    sound = _whiten([detrend(np.concatenate([s, np.gradient(s, axis=0)], 1)) for _, s in pieces])
    steps = np.unique(np.linspace(1, len(pieces) - 1, PAIRINGS).astype(int))
    others = np.stack([_coupling(motion, [*sound[k:], *sound[:k]]) for k in steps])
    common, count = others.mean(0), len(steps)
    own = _strength(_coupling(motion, sound) - common)
    chance = _strength((others - common) * count / (count - 1))  # each minus the mean of the others
    score = (own - chance.mean()) / (chance.std() + 1e-12)
    return int(score.argmax()) - MAX_OFFSET, float(score.max())


def _whiten(signals: Sequence[Float]) -> list[Float]:
    """Apply one linear map to the columns of all pieces that makes them uncorrelated, with about unit variance."""
    joined = np.concatenate(signals)
    strength, directions = np.linalg.eigh(joined.T @ joined / len(joined) + RIDGE * np.eye(joined.shape[1]))
    whitening = directions / np.sqrt(strength)
    return [signal @ whitening for signal in signals]


def _coupling(motion: Sequence[Float], sound: Sequence[Float]) -> Float:
    """(lags, motion, sound) cross-correlation: mean product of the motion at frame i + lag and the sound at frame i."""
    lags = 2 * MAX_OFFSET + 1
    total, frames = np.zeros((lags, motion[0].shape[1], sound[0].shape[1])), 0
    for motion_part, sound_part in zip(motion, sound, strict=True):
        count = min(len(motion_part), len(sound_part))
        padded = np.pad(motion_part[:count], ((MAX_OFFSET, MAX_OFFSET), (0, 0)))
        for k in range(lags):
            total[k] += padded[k : k + count].T @ sound_part[:count]
        frames += count
    return total / frames


def _strength(coupling: Float) -> Float:
    """Sum of squares over the last two axes."""
    return np.square(coupling).sum((-2, -1))
