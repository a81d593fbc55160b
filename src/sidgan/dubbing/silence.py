"""Find the pauses of a voice in its log-mel spectrogram."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.ndimage import uniform_filter1d

from sidgan.audio import NOTHING, SILENCE, STEPS_PER_SECOND
from sidgan.spans import spans
from sidgan.types import Array, Float

Silence = Literal["close", "keep", "draw"]
SILENCES: tuple[str, ...] = get_args(Silence)

PAUSED = "pause of the voice"  #: the reason in reports for frames that are left as filmed in a pause
PAUSE = 0.3  #: seconds; shorter silences are part of speech, such as plosives and breaths between words
DECIBELS = 12.5  #: dB per unit of a spectrogram
BELOW = 25.0  #: dB below loud speech (90th percentile of the non-silent columns) from which on a column is silent


def silent(mel: Float) -> Array:
    """(steps,) bool: the columns of a spectrogram (80, steps) that lie in pauses of at least 0.3 s.

    With steady noise less than 25 dB below the speech, no pauses are found.
    """
    level = uniform_filter1d(mel.mean(0), 3, mode="nearest")
    audible = level[level > NOTHING]
    limit = max(NOTHING, float(np.quantile(audible, 0.9)) - BELOW / DECIBELS) if len(audible) else np.inf
    quiet = level <= limit
    for begin, end in spans(quiet):
        if end - begin < PAUSE * STEPS_PER_SECOND:
            quiet[begin:end] = False
    return quiet


def soundless(mel: Float) -> bool:
    """Whether a spectrogram (80, steps) holds nothing but digital silence."""
    return not (mel.mean(0) > NOTHING).any()


def hushed(mel: Float, still: Array) -> Float:
    """The spectrogram with digital silence in the columns ``still``; the network then hears no breath or hum there."""
    return np.where(still, np.float32(SILENCE), mel)
