"""Mixing several voices into one sound track."""

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
LOUDEST = 0.98  #: largest peak of a mix, relative to full scale; a louder mix is turned down as a whole


def write_mix(path: Path, files: Sequence[Path], gains: Sequence[float] = ()) -> float:
    """Write the mix of several files, all starting at time 0: a 16-bit stereo WAV at 48 kHz, as long as the longest.

    Args:
        path: output.
        files: sound or video files.
        gains: factor for each file; 1 if not given.

    Returns:
        The factor, at most 1, by which the mix was turned down so that nothing is clipped.

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
    """A text for users about a mix turned down by the factor ``gain``; empty below 0.05 dB."""
    decibels = -20 * math.log10(gain)
    return f"turned down by {decibels:.1f} dB, so that nothing is clipped" if decibels >= 0.05 else ""


def _mixed(files: Sequence[Path], gains: Sequence[float]) -> Iterator[Float]:
    """The sum of the files, in blocks (2, n)."""
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
    """A file's sound, multiplied by ``gain``, in blocks (2, BLOCK); the last is shorter."""
    return in_blocks((gain * samples for samples in samples_from(file, RATE, "stereo")), BLOCK)
