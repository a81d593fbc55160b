"""From sound to mel windows, with the same constants and window function for training, dubbing and evaluation.

The spectrogram is that of published audio-visual experts (Sec. 3.4; 80 bands, 80 columns per second), computed with
NumPy's FFT. It is computed in blocks of fixed size, so that a streamed file and a whole file give the same bits::

    samples  |----200----|----200----|----200----|      16 kHz
    columns  c=0         c=1         c=2                80 per second, column c is centred on sample 200 c
    frame    at time t uses columns [s, s+16) with s = floor(80 t - 6.4): 0.2 s around the 40 ms it is shown
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np

from sidgan.config import MEL_BANDS, MEL_MARGIN, MEL_STEPS
from sidgan.types import Float

SAMPLE_RATE = 16_000  #: Hz
HOP = 200  #: samples between columns: 12.5 ms
WINDOW = 800  #: samples that one column is computed from: 50 ms
STEPS_PER_SECOND = SAMPLE_RATE // HOP  #: 80 columns, 3.2 per frame at 25 fps
PREEMPHASIS = 0.97
SILENCE = -4.0  #: the value of digital silence, and of columns outside the recording
NOTHING = -3.8  #: mean over the bands up to which a column is silent: digital silence with dither
FMIN, FMAX = 55.0, 7600.0  #: Hz, limits of the mel bands
BLOCK = 256  #: columns computed together; fixed, so that results do not depend on the sizes of the input blocks


def log_mel(samples: Float) -> Float:
    """Log-mel spectrogram of a whole recording.

    Args:
        samples: (n,) float32 in [-1, 1] at 16 kHz.

    Returns:
        (80, 1 + n // 200) float32 in [-4, 4]; silence is -4.
    """
    return np.concatenate(list(stream_log_mel([samples])), axis=1)


def stream_log_mel(blocks: Iterable[Float], together: int = BLOCK) -> Iterator[Float]:
    """The columns of `log_mel`, each as soon as its samples have arrived; memory does not grow with the length.

    Args:
        blocks: consecutive float32 pieces of one recording at 16 kHz, of any lengths.
        together: columns computed at a time. Fewer reduce the delay, but may change the last bits.

    Yields:
        (80, columns) float32 pieces. Concatenated, they equal `log_mel` of the joined recording, bit for bit, with the
        default ``together``.
    """
    pending = np.zeros(WINDOW // 2, np.float32)  # zero padding, as the first column is centred on the first sample
    last = np.float32(0.0)  # previous sample, for the pre-emphasis across blocks
    total = done = 0
    need = (together - 1) * HOP + WINDOW
    for piece in blocks:
        block = np.asarray(piece, np.float32)
        if len(block) == 0:
            continue
        emphasised = block - np.float32(PREEMPHASIS) * np.concatenate([[last], block[:-1]]).astype(np.float32)
        last = block[-1]
        total += len(block)
        pending = np.concatenate([pending, emphasised])
        while len(pending) >= need:
            yield _columns(pending[:need], together)
            pending = pending[together * HOP :]
            done += together
    rest = np.concatenate([pending, np.zeros(need + together * HOP, np.float32)])
    while done <= total // HOP:  # twice at most: the padded rest may span two blocks
        yield _columns(rest[:need], together)[:, : 1 + total // HOP - done]
        rest = rest[together * HOP :]
        done += together


def _columns(samples: Float, count: int) -> Float:
    """(80, count) columns of pre-emphasised samples; the first window starts at sample 0."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP][:count]
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    magnitude = np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32)
    mel = filterbank() @ magnitude.T
    decibels = 20.0 * np.log10(np.maximum(1e-5, mel)) - 20.0
    return np.clip(8.0 * (decibels + 100.0) / 100.0 - 4.0, -4.0, 4.0).astype(np.float32)


@lru_cache(maxsize=1)
def filterbank() -> Float:
    """(80, 401) triangular filters of unit area, equally spaced on Slaney's mel scale."""
    edges = _mel_to_hz(np.linspace(_hz_to_mel(FMIN), _hz_to_mel(FMAX), MEL_BANDS + 2))
    bins = np.linspace(0.0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    rise = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0.0, np.minimum(rise, fall)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return weights.astype(np.float32)


_LINEAR_HZ = 200.0 / 3  # Hz per mel below 1 kHz; logarithmic above
_LOG_STEP = math.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    return hz / _LINEAR_HZ if hz < 1000.0 else 15.0 + math.log(hz / 1000.0) / _LOG_STEP


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * _LINEAR_HZ, 1000.0 * np.exp(_LOG_STEP * (mel - 15.0)))


def window_start(time: Fraction) -> int:
    """First mel column of the window centred on a frame shown at ``time`` seconds.

    Computed exactly: ``80 * (time - 0.08)`` in floats is one column off at some frames (12, 42, 57 at 25 fps). The sync
    window of the frames s ... s+4 at 25 fps is the window of its middle frame, and starts at column floor(3.2 s).
    """
    return math.floor(STEPS_PER_SECOND * time - Fraction(32, 5))


def mel_window(mel: Float, time: Fraction, margin: int = 0) -> Float:
    """The (80, 16 + 2 ``margin``) slice of a spectrogram for a frame at ``time``; silence outside the recording.

    Args:
        mel: (80, columns), column 0 centred on time 0.
        time: seconds.
        margin: additional columns on each side.
    """
    start, steps = window_start(time) - margin, MEL_STEPS + 2 * margin
    window = np.full((MEL_BANDS, steps), SILENCE, np.float32)
    first, last = max(start, 0), min(start + steps, mel.shape[1])
    if first < last:
        window[:, first - start : last - start] = mel[:, first:last]
    return window


def mel_windows(mel: Float, times: Iterable[Fraction]) -> Float:
    """(N, 1, 80, 28) windows of several frames, as networks take them; those that need 0.2 s use the middle 16."""
    return np.stack([mel_window(mel, time, MEL_MARGIN) for time in times])[:, None]
