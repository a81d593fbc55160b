"""Mels and the moment they belong to."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import torch

from sidgan import audio, metrics

RATES = [Fraction(25), Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(50), Fraction(60)]


def noise(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loudness = 10 ** rng.uniform(-4, 0, size=n // 1000 + 1).repeat(1000)[:n]  # from nearly silent to loud
    return (loudness * rng.uniform(-1, 1, n)).astype(np.float32)


def silence_is_the_lowest_value() -> None:
    """A second of silence is 80 x 81 times -4."""
    mel = audio.log_mel(np.zeros(16_000, np.float32))
    assert mel.shape == (80, 81), f"a second has the shape {mel.shape}, not (80, 81)"
    assert (mel == -4).all(), f"silence is {mel.min():.2f} to {mel.max():.2f}, not -4"


def hz(mel: float) -> float:
    """Slaney's scale: 15 mels to 1 kHz, then 27 more for each factor of 6.4."""
    return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def slow_column(samples: np.ndarray, column: int) -> np.ndarray:
    """One column from the definition: every sample, bin and filter by itself, in double precision."""
    x = samples.astype(np.float64)
    emphasised = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
    power = np.zeros(401)
    windowed = np.zeros(800)
    for i in range(800):
        at = 200 * column - 400 + i
        if 0 <= at < len(x):
            windowed[i] = emphasised[at] * (0.5 - 0.5 * np.cos(2 * np.pi * i / 800))
    for k in range(401):
        power[k] = abs(np.sum(windowed * np.exp(-2j * np.pi * k * np.arange(800) / 800)))
    top = 15 + 27 * np.log(7.6) / np.log(6.4)
    edges = [hz(m) for m in np.linspace(55 * 3 / 200, top, 82)]
    values = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        total = 0.0
        for k in range(401):
            f = 20.0 * k
            height = max(0.0, min((f - low) / (middle - low), (high - f) / (high - middle)))
            total += power[k] * height * 2 / (high - low)
        decibels = 20 * np.log10(max(1e-5, total)) - 20
        values.append(min(4.0, max(-4.0, 8 * (decibels + 100) / 100 - 4)))
    return np.array(values)


def mels_agree_with_the_definition() -> None:
    """Columns, evaluated bin by bin in double precision, are those of the fast way."""
    samples = noise(16_000)
    mel = audio.log_mel(samples)
    for column in (0, 1, 40, 80):
        off = float(np.abs(mel[:, column] - slow_column(samples, column)).max())
        assert off <= 2e-3, f"column {column} is off by {off:.2g} of a range of 8"
    assert np.ptp(mel) > 2, "the comparison was one of silences"


def columns_per_length() -> None:
    """1 + n // 200 columns, at the edges of blocks too."""
    for samples in (51_200, 51_199, 51_399, 51_400, 102_400, 16_000, 200, 199, 1):
        columns = audio.log_mel(noise(samples)).shape[1]
        assert columns == 1 + samples // 200, f"{samples} samples have {columns} columns, not {1 + samples // 200}"


def windows_start_exactly(rate: Fraction = RATES[0]) -> None:
    """floor(80 n / rate - 32 / 5) in whole numbers; every frame near the ends, and every 499th of a million."""
    frames = [*range(800), *range(800, 10**6, 499), *range(10**6 - 800, 10**6)]  # it repeats after 375 at most
    above, below = rate.numerator, rate.denominator
    for n in frames:
        exact, start = (80 * 5 * n * below - 32 * above) // (5 * above), audio.window_start(n / rate)
        assert start == exact, f"the window of frame {n} starts at column {start}, not {exact}"


def sync_window_of_frame_ten() -> None:
    """Frames 10 to 14: their sound begins at column 32, 3.2 columns a frame."""
    for first in (10, *range(200)):
        start = audio.window_start(Fraction(first + 2, 25))
        assert start == 16 * first // 5, f"the sound of frames {first} to {first + 4} starts at {start}"


def window_holds_its_sound() -> None:
    """The window of a time is cut at `window_start`, and every column is in its place."""
    mel = np.tile(np.arange(400, dtype=np.float32), (80, 1))
    for time in (Fraction(1, 2), Fraction(1), Fraction(7, 3)):
        window, start = audio.mel_window(mel, time), audio.window_start(time)
        assert window.shape == (80, 16), f"a window is {window.shape}, not (80, 16)"
        assert np.array_equal(window[0], np.arange(start, start + 16)), f"the window begins with {window[0, 0]:.0f}"


def click_in_the_middle() -> None:
    """A click of 10 ms at 1 s is in the middle of the window of the frame at 1 s: in columns 6 to 9, no others."""
    samples = np.zeros(32_000, np.float32)
    samples[16_000:16_160] = noise(160)
    loud = np.flatnonzero((audio.mel_window(audio.log_mel(samples), Fraction(1)) > -4).any(0)).tolist()
    assert loud == [6, 7, 8, 9], f"a click at 1 s sounds in columns {loud} of its window, not 6 to 9"


def no_sound_outside() -> None:
    """Before and after the recording there is silence, -4."""
    mel = np.zeros((80, 40), np.float32)  # nothing but sound
    before, after = audio.mel_window(mel, Fraction(0)), audio.mel_window(mel, Fraction(1, 2))
    assert (before[:, 7:] == 0).all(), "sound is missing at the beginning"
    assert (before[:, :7] == -4).all(), f"before the beginning there is {before[0, 0]:g}, not -4"
    assert (after[:, :7] == 0).all(), "sound is missing at the end"
    assert (after[:, 7:] == -4).all(), f"after the end there is {after[0, 15]:g}, not -4"
    for far in (3600, -3600):
        assert (audio.mel_window(mel, Fraction(far)) == -4).all(), f"there is sound at {far} s"


def known_lag_is_found() -> None:
    """What is seen k frames after it was heard has offset k; equal features have no best offset."""
    vectors = torch.randn(80, 512, generator=torch.Generator().manual_seed(0))
    sound = torch.nn.functional.normalize(vectors, dim=1)
    for lag in (-10, -4, 0, 1, 10):
        match = metrics.sync_match(sound[10 - lag : 70 - lag], sound[10:70])
        assert match.offset == lag, f"a lag of {lag} frames was taken for {match.offset}"
        peak = float(match.cosines.max() - match.cosines.median())
        assert peak > 0.9, f"the right lag stands out by {peak:.2f} only"
    same = sound[:1].expand(60, -1)
    spread = float(metrics.sync_match(same, same).cosines.std())
    assert spread < 1e-6, f"of equal features some lags are better by {spread:.1g}"
