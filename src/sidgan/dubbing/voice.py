"""The new voice, as the network hears it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sidgan import audio, media
from sidgan.errors import InputError
from sidgan.types import Float


@dataclass(frozen=True)
class Voice:
    """A voice.

    Attributes:
        mel: (80, steps), its log-mel spectrogram.
        end: seconds at which it is over, or at which no more of it was wanted.
    """

    mel: Float
    end: Fraction

    def at(self, time: Fraction) -> Float:
        """What is heard around a frame shown at ``time``, (1, 80, 28)."""
        return audio.mel_windows(self.mel, [time])[0]


def listen(file: Path, enough: Fraction | None = None) -> Voice:
    """Read a voice.

    Args:
        file: any file with sound.
        enough: seconds after which reading may stop.

    Raises:
        InputError: the file has no sound, or cannot be read.
    """
    samples = 0

    def heard() -> Iterator[Float]:
        nonlocal samples
        for block in media.decode_audio(file, audio.SAMPLE_RATE):
            samples += len(block)
            yield block
            if enough is not None and samples > enough * audio.SAMPLE_RATE:
                return

    mel = np.concatenate(list(audio.stream_log_mel(heard())), axis=1)
    if not samples:
        raise InputError(f"{file} has no sound; give a file with speech")
    return Voice(mel, Fraction(samples, audio.SAMPLE_RATE))
