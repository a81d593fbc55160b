"""Several voices in one sound track."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sidgan.media.files import finished, writing
from sidgan.media.sound import in_blocks, pcm, pcm_file, samples_from
from sidgan.types import Float

RATE = 48_000  #: Hz
BLOCK = RATE  #: samples mixed at a time
LOUDEST = 0.98  #: of full scale; where voices together are louder, all of the mix is turned down


def write_mix(path: Path, files: Sequence[Path], gains: Sequence[float] = ()) -> float:
    """Write what files sound like together, all from time 0 on: 16-bit stereo at 48 kHz, as long as the longest.

    Args:
        gains: by which each file is multiplied; 1 if not given.

    Returns:
        By how much all of it had to be turned down, so that nothing is clipped: 1, or less.

    Raises:
        InputError: a file has no sound, or cannot be read.
        OutputError: ``path`` cannot be written.
    """
    gains = gains or [1.0] * len(files)
    peak = max((float(np.abs(block).max()) for block in _mixed(files, gains)), default=0.0)
    gain = min(1.0, LOUDEST / max(peak, 1e-9))
    with finished(path) as part, writing(path), pcm_file(part, 2, RATE) as file:
        for block in _mixed(files, gains):
            file.writeframes(pcm(gain * block))
    return gain


def turned_down(gain: float) -> str:
    """What people are told of a factor of at most 1 by which sound was turned down: nothing of less than 0.05 dB."""
    less = -20 * math.log10(gain)
    return f"turned down by {less:.1f} dB, so that nothing is clipped" if less >= 0.05 else ""


def _mixed(files: Sequence[Path], gains: Sequence[float]) -> Iterator[Float]:
    """The sum of the files, (2, n) at a time."""
    sounds = [_blocks(file, gain) for file, gain in zip(files, gains, strict=True)]
    while True:
        parts = [part for part in (next(sound, None) for sound in sounds) if part is not None]
        if not parts:
            return
        mix = np.zeros((2, max(part.shape[1] for part in parts)), np.float32)
        for part in parts:
            mix[:, : part.shape[1]] += part
        yield mix


def _blocks(file: Path, gain: float) -> Iterator[Float]:
    """A file's sound, times ``gain``, in pieces (2, BLOCK); the last is shorter."""
    return in_blocks((gain * samples for samples in samples_from(file, RATE, "stereo")), BLOCK)
