"""Writes a few seconds of a file's sound as a separate file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sidgan.media.mix import RATE
from sidgan.media.sound import decode_audio, write_wav


def write_sound_excerpt(path: Path, sound: Path, start: float, end: float) -> None:
    """Write the sound from ``start`` to ``end`` seconds, mono at 48 kHz, padded with silence if it ends before.

    Raises:
        InputError: the file has no sound, or cannot be read.
        OutputError: ``path`` cannot be written.
    """
    first, stop, done = round(start * RATE), round(end * RATE), 0
    held = np.zeros(stop - first, np.float32)
    for block in decode_audio(sound, RATE):
        a, b = max(done, first), min(done + len(block), stop)
        if a < b:
            held[a - first : b - first] = block[a - done : b - done]
        done += len(block)
        if done >= stop:
            break
    write_wav(path, held, RATE)
