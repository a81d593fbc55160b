"""Cepstra of a sound, as the published judge of synchronisation hears them (Sec. 4: LSE-D, LSE-C).

The definition is the one that python_speech_features has by default, in the order: pre-emphasis, frames of 25 ms every
10 ms without a window, power spectrum over 512 points, 26 triangular filters from 0 to 8 kHz, logarithm, cosine
transform, lifter; the first of the 13 numbers is replaced by the logarithm of the frame's energy.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

from sidgan.audio import SAMPLE_RATE
from sidgan.metrics.checks import require, shape
from sidgan.types import Array, Float

CEPSTRA, FILTERS = 13, 26
FRAME, HOP, POINTS = 400, 160, 512  #: samples
PREEMPHASIS, LIFTER = 0.97, 22
FULL_SCALE = 32768.0  #: of the 16-bit samples that the definition expects
TINY = np.finfo(np.float64).eps  #: in place of an energy of 0


def mfcc(samples: Float) -> Array:
    """Mel-frequency cepstral coefficients.

    Args:
        samples: (n,) float in [-1, 1] at 16 kHz; rounded to 16 bits first, as they would come from a WAV file.

    Returns:
        (1 + ceil((n - 400) / 160), 13) float64, one row for every 10 ms; the sound's end is filled up with silence.

    Raises:
        MetricError: no sound, several channels, or samples that are not finite or far beyond full scale.
    """
    require(samples.ndim == 1 and len(samples) > 0, f"sound must be (n,) with n > 0, not {shape(samples)}")
    require(bool((np.abs(samples) <= 2).all()), "samples must be finite and in [-1, 1]")
    whole = np.clip(np.rint(samples.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    emphasised = np.append(whole[0], whole[1:] - PREEMPHASIS * whole[:-1])
    count = 1 + max(0, -(-(len(whole) - FRAME) // HOP))
    padded = np.pad(emphasised, (0, max(0, (count - 1) * HOP + FRAME - len(whole))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:count]
    power = np.square(np.abs(np.fft.rfft(frames, POINTS))) / POINTS
    energy, bands = power.sum(1), power @ _filters().T
    cepstra = dct(np.log(np.where(bands == 0, TINY, bands)), type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, TINY, energy))
    return cepstra


def _filters() -> Array:
    """(26, 257): rising from one edge to the next, falling to the one after; edges are whole FFT bins."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    edges = np.floor((POINTS + 1) * hertz / SAMPLE_RATE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(POINTS // 2 + 1)
    rise, fall = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where((bins >= low) & (bins < middle), rise, np.where((bins >= middle) & (bins < high), fall, 0.0))
