"""Mel-frequency cepstral coefficients, the audio input of the SyncNet of 2016 (Sec. 4: LSE-D, LSE-C).

The definition is the default of python_speech_features, in this order: pre-emphasis, frames of 25 ms every 10 ms
without a window function, power spectrum of 512 points, 26 triangular filters from 0 to 8 kHz, logarithm, cosine
transform, lifter. The first of the 13 coefficients is replaced by the logarithm of the energy of the frame.
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
FULL_SCALE = 32768.0  #: of 16-bit samples, for which the definition is made
TINY = np.finfo(np.float64).eps  #: replaces an energy of 0 before the logarithm


def mfcc(samples: Float) -> Array:
    """Mel-frequency cepstral coefficients.

    Args:
        samples: (n,) float in [-1, 1] at 16 kHz; rounded to 16 bits first, as if read from a WAV file.

    Returns:
        (1 + ceil((n - 400) / 160), 13) float64, one row per 10 ms; the end of the sound is padded with silence.

    Raises:
        MetricError: no samples, several channels, or samples that are not finite or beyond ±2.
    """
    require(samples.ndim == 1 and len(samples) > 0, f"sound must be (n,) with n > 0, not {shape(samples)}")
    require(bool((np.abs(samples) <= 2).all()), "samples must be finite and in [-1, 1]")
    pcm = np.clip(np.rint(samples.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    emphasised = np.append(pcm[0], pcm[1:] - PREEMPHASIS * pcm[:-1])
    count = 1 + max(0, -(-(len(pcm) - FRAME) // HOP))
    padded = np.pad(emphasised, (0, max(0, (count - 1) * HOP + FRAME - len(pcm))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP][:count]
    power = np.square(np.abs(np.fft.rfft(frames, POINTS))) / POINTS
    energy, bands = power.sum(1), power @ _filters().T
    cepstra = dct(np.log(np.where(bands == 0, TINY, bands)), type=2, axis=1, norm="ortho")[:, :CEPSTRA]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, TINY, energy))
    return cepstra


def _filters() -> Array:
    """Triangular mel filters (26, 257), each rising between two edges and falling to the next; edges are FFT bins."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, FILTERS + 2) / 2595) - 1)
    edges = np.floor((POINTS + 1) * hertz / SAMPLE_RATE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.arange(POINTS // 2 + 1)
    rise, fall = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.where((bins >= low) & (bins < middle), rise, np.where((bins >= middle) & (bins < high), fall, 0.0))
