"""Where a voice is silent, and what becomes of the mouth there."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.ndimage import uniform_filter1d

from sidgan.audio import SILENCE, STEPS_PER_SECOND
from sidgan.spans import spans
from sidgan.types import Array, Float

Silence = Literal["close", "keep", "draw"]
SILENCES: tuple[str, ...] = get_args(Silence)

PAUSED = "pause of the voice"  #: why a frame is left as filmed there
PAUSE = 0.3  #: seconds; what is shorter belongs to speech: stops, breaths between words
DECIBELS = 12.5  #: in one unit of a spectrogram
BELOW = 25.0  #: dB (mean over the bands) below loud speech, the 90th percentile of what is heard: silence from there on
NOTHING = -3.8  #: mean over the bands up to which a column is silent whatever the speech: digital silence with dither


def silent(mel: Float) -> Array:
    """Which columns of a spectrogram (80, steps) lie in pauses of at least 0.3 s, (steps,) bool.

    Under steady noise that is less than 25 dB below the speech, there are no pauses.
    """
    if not mel.shape[1]:
        return np.zeros(0, bool)
    level = uniform_filter1d(mel.mean(0), 3, mode="nearest")
    heard = level[level > NOTHING]
    limit = max(NOTHING, float(np.quantile(heard, 0.9)) - BELOW / DECIBELS) if len(heard) else np.inf
    quiet = level <= limit
    for begin, end in spans(quiet):
        if end - begin < PAUSE * STEPS_PER_SECOND:
            quiet[begin:end] = False
    return quiet


def hushed(mel: Float, still: Array) -> Float:
    """The spectrogram with digital silence in these columns: a network then hears no breath and no hum there."""
    return np.where(still, np.float32(SILENCE), mel)
