"""What is taken out of files: what they state, parts of them, and how loud they are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sidgan import media
from sidgan.errors import InputError

RATE = Fraction(25)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """film.mp4: 100 pictures, each of a brightness of its own, with a sound that rises once a second."""
    folder = tmp_path_factory.mktemp("excerpts")
    grey = np.random.default_rng(0).permutation(100) * 2 + 30
    pictures = [np.full((96, 128, 3), value, np.uint8) for value in grey]
    sound = np.repeat(np.float32([0.1, 0.2, 0.3, 0.4]), 16_000) * np.sin(np.arange(64_000) * 0.4).astype(np.float32)
    media.write_clip(folder / "film.mp4", pictures, RATE, sound, crf=10)
    media.write_wav(folder / "sound.wav", sound, 16_000)
    return folder


def test_a_file_is_counted_without_being_decoded(folder: Path, tmp_path: Path) -> None:
    found = media.stated(folder / "film.mp4", 1000)
    assert (found.suffix, found.width, found.height, found.frames, found.sound) == (".mp4", 128, 96, 100, True)
    assert found.seconds == pytest.approx(4.0, abs=0.05)
    assert found.heard == pytest.approx(4.0, abs=0.1)
    assert media.stated(folder / "film.mp4", 30).frames == 31
    sound = media.stated(folder / "sound.wav", 1000)
    assert (sound.suffix, sound.frames, sound.sound) == (".wav", 0, True)
    assert sound.seconds == sound.heard == pytest.approx(4.0, abs=0.01)
    for name, text in (("a.mp4", "#EXTM3U\n#EXTINF:1,\nfilm.mp4\n"), ("b.mp4", "ffconcat version 1.0\nfile film.mp4\n"),
                       ("c.txt", "hello")):  # fmt: skip
        (folder / name).write_text(text)
        with pytest.raises(InputError, match="not video or sound"):
            media.stated(folder / name, 10)


def test_a_part_of_a_sound_is_as_long_as_asked(folder: Path, tmp_path: Path) -> None:
    media.write_sound_excerpt(tmp_path / "part.wav", folder / "sound.wav", 2.5, 5.5)
    part = media.read_audio(tmp_path / "part.wav", 48_000)
    assert len(part) == 3 * 48_000
    assert np.abs(part[: 20_000]).max() == pytest.approx(0.3, abs=0.02)
    assert np.abs(part[30_000:70_000]).max() == pytest.approx(0.4, abs=0.02)
    assert not part[73_000:].any()


def test_loudness_is_what_the_recommendation_says(tmp_path: Path) -> None:
    t = np.arange(48_000 * 4) / 48_000
    tone = np.sin(2 * np.pi * 997 * t).astype(np.float32)

    def measured(samples: np.ndarray) -> float | None:
        media.write_wav(tmp_path / "a.wav", samples, 48_000)
        return media.loudness(tmp_path / "a.wav")

    assert measured(tone) == pytest.approx(-3.01, abs=0.05)
    assert measured(0.1 * tone) == pytest.approx(-23.01, abs=0.05)
    assert measured(np.sin(2 * np.pi * 40 * t)) < -6  # the ear hears little of that
    assert measured(0 * tone) is None
    half = np.where(t < 2, 0.1, 0) * tone  # what is silent does not count
    assert measured(half) == pytest.approx(-23.01, abs=0.4)
    assert measured(tone[:1000]) is not None


def test_a_mix_can_weigh_its_files_and_says_what_was_turned_down(folder: Path, tmp_path: Path) -> None:
    files = [folder / "sound.wav"] * 2
    assert media.write_mix(tmp_path / "mix.wav", files, [0.5, 0.25]) == 1
    quiet = np.abs(media.read_audio(tmp_path / "mix.wav")).max()
    assert media.write_mix(tmp_path / "loud.wav", files, [4.0, 4.0]) < 0.5
    assert [media.turned_down(gain) for gain in (1.0, 0.996)] == ["", ""], "nobody hears it"
    assert media.turned_down(0.5) == "turned down by 6.0 dB, so that nothing is clipped"
    assert media.turned_down(0.9) == "turned down by 0.9 dB, so that nothing is clipped"
    alone = media.write_mix(tmp_path / "one.wav", files[:1])
    assert alone == 1
    assert quiet == pytest.approx(0.75 * np.abs(media.read_audio(tmp_path / "one.wav")).max(), rel=0.01)
