"""Mel spectrograms: against a slow reference, in any blocks, and cut at the right columns for ever."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import sound
from invariants.sound import noise

from sidgan import audio


def test_agrees_with_a_slow_reference() -> None:
    sound.mels_agree_with_the_definition()


def test_silence_is_the_lowest_value_everywhere() -> None:
    sound.silence_is_the_lowest_value()


def test_columns_per_length() -> None:
    sound.columns_per_length()


@pytest.mark.parametrize("samples", [51_200, 51_399, 102_500])
def test_a_block_that_ends_with_the_sound_is_not_lost(samples: int) -> None:
    heard = noise(samples)
    longer = audio.log_mel(np.concatenate([heard, np.zeros(4000, np.float32)]))
    mel = audio.log_mel(heard)
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


@pytest.mark.parametrize("rate", sound.RATES, ids=str)
def test_windows_start_at_the_exact_column_for_a_million_frames(rate: Fraction) -> None:
    sound.windows_start_exactly(rate)


def test_floats_would_be_wrong() -> None:
    """The reason for fractions: these frames are off by one in floating point."""
    wrong = [n for n in range(100) if int(np.floor(80 * (n / 25 - 0.08))) != audio.window_start(Fraction(n, 25))]
    assert wrong[:3] == [12, 42, 57]


def test_a_sync_window_starts_with_its_first_frame() -> None:
    sound.sync_window_of_frame_ten()


def test_window_holds_the_sound_around_its_frame() -> None:
    sound.window_holds_its_sound()
    sound.click_in_the_middle()


def test_no_sound_outside_the_recording() -> None:
    sound.no_sound_outside()


def test_windows_of_many_frames() -> None:
    mel = audio.log_mel(noise(16_000))
    times = [Fraction(i, 25) for i in range(25)]
    windows = audio.mel_windows(mel, times)
    assert windows.shape == (25, 1, 80, 28)
    for window, time in zip(windows, times, strict=True):
        assert np.array_equal(window[0, :, 6:-6], audio.mel_window(mel, time)), "the middle is the frame's own window"
        assert np.array_equal(window[0], audio.mel_window(mel, time, 6))
    assert (windows[0, 0, :, :12] == audio.SILENCE).all(), "nothing is heard before the recording"
