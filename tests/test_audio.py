"""Mel spectrograms: against a slow reference, in any blocks, and cut at the right columns for ever."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidgan import audio


def noise(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    loudness = 10 ** rng.uniform(-4, 0, size=n // 1000 + 1).repeat(1000)[:n]  # from nearly silent to loud
    return (loudness * rng.uniform(-1, 1, n)).astype(np.float32)


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


def test_agrees_with_a_slow_reference() -> None:
    samples = noise(16_000)
    mel = audio.log_mel(samples)
    for column in (0, 1, 40, 80):
        np.testing.assert_allclose(mel[:, column], slow_column(samples, column), atol=2e-3)
    assert np.ptp(mel) > 2  # the comparison was not one of silences


def test_silence_is_the_lowest_value_everywhere() -> None:
    mel = audio.log_mel(np.zeros(16_000, np.float32))
    assert mel.shape == (80, 81)
    assert (mel == -4).all()


@pytest.mark.parametrize(("samples", "columns"),
                         [(1, 1), (199, 1), (200, 2), (16_000, 81), (16_000 * 7 + 199, 561), (51_199, 256),
                          (51_200, 257), (51_399, 257), (51_400, 258), (102_400, 513)])  # fmt: skip
def test_columns_per_length(samples: int, columns: int) -> None:
    mel = audio.log_mel(noise(samples))
    assert mel.shape == (80, columns)
    assert mel.dtype == np.float32


@pytest.mark.parametrize("samples", [51_200, 51_399, 102_500])
def test_a_block_that_ends_with_the_sound_is_not_lost(samples: int) -> None:
    sound = noise(samples)
    longer = audio.log_mel(np.concatenate([sound, np.zeros(4000, np.float32)]))
    mel = audio.log_mel(sound)
    assert np.array_equal(mel[:, :-3], longer[:, : mel.shape[1] - 3])


def test_stays_in_range_however_loud() -> None:
    loud = np.sign(noise(4000))
    mel = audio.log_mel(loud)
    assert mel.min() >= -4
    assert mel.max() <= 4


@given(seed=st.integers(0, 2**16), length=st.integers(1, 120_000))
@settings(max_examples=6, deadline=None)
def test_streamed_equals_whole_bit_for_bit(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    samples = noise(length, seed)
    cuts = np.sort(rng.integers(0, length + 1, size=rng.integers(0, 30)))  # empty blocks among them
    streamed = np.concatenate(list(audio.stream_log_mel(np.split(samples, cuts))), 1)
    assert np.array_equal(streamed, audio.log_mel(samples))


def test_streams_without_waiting_for_the_end() -> None:
    given_blocks = 0

    def blocks() -> object:
        nonlocal given_blocks
        for _ in range(100):
            given_blocks += 1
            yield noise(1601)

    columns = next(iter(audio.stream_log_mel(blocks())))  # type: ignore[arg-type]
    assert columns.shape[1] == audio.BLOCK
    assert given_blocks < 40


RATES = [Fraction(25), Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(50), Fraction(60)]


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_windows_start_at_the_exact_column_for_a_million_frames(rate: Fraction) -> None:
    """floor(80 n / rate - 32 / 5) in whole numbers; every frame near the ends, and every 499th of a million."""
    frames = [*range(800), *range(800, 10**6, 499), *range(10**6 - 800, 10**6)]  # it repeats after 375 at most
    above, below = rate.numerator, rate.denominator
    for n in frames:
        exact = (80 * 5 * n * below - 32 * above) // (5 * above)
        assert audio.window_start(n / rate) == exact


def test_floats_would_be_wrong() -> None:
    """The reason for fractions: these frames are off by one in floating point."""
    wrong = [n for n in range(100) if int(np.floor(80 * (n / 25 - 0.08))) != audio.window_start(Fraction(n, 25))]
    assert wrong[:3] == [12, 42, 57]


def test_a_sync_window_starts_with_its_first_frame() -> None:
    """Frames 10 to 14: their sound begins at column 32, 3.2 columns a frame."""
    for first in range(200):
        assert audio.window_start(Fraction(first + 2, 25)) == 16 * first // 5
    assert audio.window_start(Fraction(12, 25)) == 32


def test_window_holds_the_sound_around_its_frame() -> None:
    """A click of 10 ms at 1 s is in the middle of the window of the frame at 1 s."""
    samples = np.zeros(32_000, np.float32)
    samples[16_000:16_160] = noise(160)
    window = audio.mel_window(audio.log_mel(samples), Fraction(1))
    assert window.shape == (80, 16)
    loud = np.flatnonzero((window > -4).any(0))
    assert loud.min() in (5, 6)
    assert loud.max() in (8, 9)


def test_no_sound_outside_the_recording() -> None:
    mel = np.zeros((80, 40), np.float32)  # nothing but sound
    before = audio.mel_window(mel, Fraction(0))
    assert (before[:, :7] == -4).all()
    assert (before[:, 7:] == 0).all()
    after = audio.mel_window(mel, Fraction(1, 2))
    assert (after == 0)[:, :7].all()
    assert (after == -4)[:, 7:].all()
    assert (audio.mel_window(mel, Fraction(3600)) == -4).all()
    assert (audio.mel_window(mel, Fraction(-3600)) == -4).all()


def test_windows_of_many_frames() -> None:
    mel = audio.log_mel(noise(16_000))
    times = [Fraction(i, 25) for i in range(25)]
    windows = audio.mel_windows(mel, times)
    assert windows.shape == (25, 1, 80, 16)
    for window, time in zip(windows, times, strict=True):
        assert np.array_equal(window[0], audio.mel_window(mel, time))
