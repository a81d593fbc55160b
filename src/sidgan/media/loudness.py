"""Integrated loudness of a stereo sound, as defined in ITU-R BS.1770."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sidgan.media.mix import RATE
from sidgan.media.sound import samples_from
from sidgan.types import Float

#: (numerator, denominator) of the two K-weighting filters at 48 kHz: the effect of the head, and a high-pass filter.
HEAD = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
LOW = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
STEP = RATE // 10  #: samples between the starts of two blocks; a block has four steps, 400 ms
SILENCE, QUIET = -70.0, 10.0  #: gates: blocks below this LUFS, or by so many LU below the mean, are left out


def loudness(path: Path) -> float | None:
    """Integrated loudness of a file in LUFS, or ``None`` if it is silent; 1 kHz at full scale in one channel has -3.0.

    Raises:
        InputError: it has no sound, or cannot be read.
    """
    steps = np.array(list(_powers(path)))
    if len(steps) < 4:
        steps = np.pad(steps, (0, 4 - len(steps)))
    blocks = np.convolve(steps, np.full(4, 0.25), "valid")
    blocks = blocks[_level(blocks) > SILENCE]
    if not len(blocks):
        return None
    return float(_level(blocks[_level(blocks) > _level(blocks.mean()) - QUIET].mean()))


def _powers(path: Path) -> Iterator[float]:
    """K-weighted power of each step, the sum of both channels."""
    from scipy.signal import lfilter  # slow to import

    steps, states, left = 0, [np.zeros((2, 2)), np.zeros((2, 2))], np.zeros((2, 0), np.float32)
    for samples in samples_from(path, RATE, "stereo"):
        weighted: Float = samples
        for k, (numerator, denominator) in enumerate((HEAD, LOW)):
            weighted, states[k] = lfilter(numerator, denominator, weighted, axis=1, zi=states[k])
        left = np.concatenate([left, weighted], 1)
        whole = left.shape[1] // STEP
        steps += whole
        yield from np.square(left[:, : whole * STEP]).reshape(2, whole, STEP).mean(2).sum(0)
        left = left[:, whole * STEP :]
    if not steps:  # an incomplete step at the end does not count (BS.1770-5, Annex 1), unless there is nothing else
        yield float(np.square(left).sum() / STEP)


def _level(power: Float) -> Float:
    """Power in LUFS."""
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))
