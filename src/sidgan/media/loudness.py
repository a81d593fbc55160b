"""How loud a sound is to people: the integrated loudness of ITU-R BS.1770, of both channels together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sidgan.media.mix import RATE
from sidgan.media.sound import samples_from
from sidgan.types import Float

#: (numerator, denominator) of the two filters at 48 kHz: a head in the way of the sound, and little ear for low tones.
HEAD = (1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)
LOW = (1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)
STEP = RATE // 10  #: samples between two blocks of four steps
SILENCE, QUIET = -70.0, 10.0  #: LUFS below which, and LU under the mean by which, a block does not count


def loudness(path: Path) -> float | None:
    """Integrated loudness of a file, LUFS; a full-scale sine of 1 kHz in one channel is -3.0. ``None`` in silence.

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
    """Weighted power of each step."""
    from scipy.signal import lfilter  # takes longer to import than the rest of the room

    states, left = [np.zeros((2, 2)), np.zeros((2, 2))], np.zeros((2, 0), np.float32)
    for samples in samples_from(path, RATE, "stereo"):
        weighted: Float = samples
        for k, (numerator, denominator) in enumerate((HEAD, LOW)):
            weighted, states[k] = lfilter(numerator, denominator, weighted, axis=1, zi=states[k])
        left = np.concatenate([left, weighted], 1)
        whole = left.shape[1] // STEP
        yield from np.square(left[:, : whole * STEP]).reshape(2, whole, STEP).mean(2).sum(0)
        left = left[:, whole * STEP :]
    yield float(np.square(left).sum() / STEP)


def _level(power: Float) -> Float:
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-12))
