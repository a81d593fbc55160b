"""Do the pictures and the sounds of a set belong together, and at which lag and frame rate? Measured without a network.

One short clip says little: the mouth moves with the voice only roughly. All clips together say much, because they agree
on *how*: an open mouth goes with loud sound, in everybody and at the same lag. So what is added up over the clips are
signed correlations, whose noise cancels, and not their strengths, whose noise does not. What the clips have in common
for other reasons (all begin and end in silence, say) is measured on pairs of different clips and taken off; the spread
over such pairs is the unit of the evidence.
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

RATES = (FPS, 15, 20, 24, 30, 50, 60)  #: frames per second that footage has, the one it should have here first
PIECE, SHORTEST = 250, 40  #: frames; longer clips are cut up, shorter pieces left out
PIECES = 300  #: measured at the most
PAIRINGS = 8  #: of different clips
BELIEVED = 8.0  #: evidence above which a relation is there; without one it stays below 3 or 4
ENOUGH = 2500  #: frames in which real footage in sync shows a relation beyond doubt (30 were measured at 3300 frames)

Piece = tuple[Float, Float]  #: (N, 3) mouth signals and (N, 8) loudness of mel bands, frame by frame


@dataclass(frozen=True)
class Alignment:
    """What all clips of a set say together.

    Attributes:
        frames: measured.
        lag: frames by which pictures lag their sound, at 25 fps.
        evidence: of that lag, in standard deviations over pairs of different clips.
        rate: frames per second at which the evidence is largest; 25 where all is well.
        rate_evidence: at that rate.
    """

    frames: int
    lag: int
    evidence: float
    rate: int
    rate_evidence: float

    @property
    def related(self) -> bool:
        """Whether pictures and sounds have anything to do with each other, at one lag and rate for all clips."""
        return self.rate_evidence >= BELIEVED

    @property
    def steady(self) -> bool:
        """Whether no other frame rate fits clearly better. In short clips 24 and 25 are close to each other."""
        return self.rate == FPS or self.rate_evidence < 1.02 * self.evidence + 3


def measure_alignment(data: PackedSet) -> Alignment | None:
    """Correlate mouths and sounds of a set; ``None`` where it has too few clips with landmarks to tell."""
    pieces = _pieces(data)
    found = {}
    for rate in RATES:
        played = [p for p in (_at_rate(piece, rate) for piece in pieces) if len(p[0]) >= SHORTEST]
        if len(played) > 2:
            found[rate] = _evidence(played)
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
        # Columns 6 to 9 of a window's 16 are the 40 ms around the frame itself.
        sound = middle(clip.mels, 4)[:, 0].float().mean(-1).reshape(len(clip), BANDS, -1).mean(2).cpu().numpy()
        if np.isfinite(mouth).all() and mouth.std() > 0:  # a clip without landmarks has nothing to say
            pieces += [(mouth[i : i + PIECE], sound[i : i + PIECE]) for i in range(0, len(clip), PIECE)]
    pieces = [p for p in pieces if len(p[0]) >= SHORTEST]
    return [pieces[i] for i in np.linspace(0, len(pieces) - 1, min(PIECES, len(pieces))).astype(int)]


def _at_rate(piece: Piece, rate: int) -> Piece:
    """The piece as it would be if its pictures had been filmed at ``rate``: frame i is heard at i / rate seconds."""
    mouth, sound = piece
    at = np.arange(len(mouth)) * FPS / rate
    at = at[at <= len(sound) - 1]
    heard = np.stack([np.interp(at, np.arange(len(sound)), band) for band in sound.T], 1)
    return mouth[: len(at)], heard


def _evidence(pieces: Sequence[Piece]) -> tuple[int, float]:
    """The best lag, and how far it stands out."""
    motion = _whiten([detrend(np.concatenate([m, np.gradient(m, axis=0)], 1)) for m, _ in pieces])
    sound = _whiten([detrend(np.concatenate([s, np.gradient(s, axis=0)], 1)) for _, s in pieces])
    steps = np.unique(np.linspace(1, len(pieces) - 1, PAIRINGS).astype(int))
    others = np.stack([_coupling(motion, [*sound[k:], *sound[:k]]) for k in steps])
    common, count = others.mean(0), len(steps)
    own = _strength(_coupling(motion, sound) - common)
    chance = _strength((others - common) * count / (count - 1))  # each against the mean of the rest
    score = (own - chance.mean()) / (chance.std() + 1e-12)
    return int(score.argmax()) - MAX_OFFSET, float(score.max())


def _whiten(signals: Sequence[Float]) -> list[Float]:
    """Turn the columns of all pieces alike, so that they are uncorrelated and about equally strong."""
    joined = np.concatenate(signals)
    strength, directions = np.linalg.eigh(joined.T @ joined / len(joined) + RIDGE * np.eye(joined.shape[1]))
    turn = directions / np.sqrt(strength)
    return [signal @ turn for signal in signals]


def _coupling(motion: Sequence[Float], sound: Sequence[Float]) -> Float:
    """(lags, motion, sound) mean products of the motion at frame i + lag and the sound at frame i."""
    lags = 2 * MAX_OFFSET + 1
    total, frames = np.zeros((lags, motion[0].shape[1], sound[0].shape[1])), 0
    for seen, heard in zip(motion, sound, strict=True):
        count = min(len(seen), len(heard))
        padded = np.pad(seen[:count], ((MAX_OFFSET, MAX_OFFSET), (0, 0)))
        for k in range(lags):
            total[k] += padded[k : k + count].T @ heard[:count]
        frames += count
    return total / frames


def _strength(coupling: Float) -> Float:
    """Sum of squares over the last two axes."""
    return np.square(coupling).sum((-2, -1))
