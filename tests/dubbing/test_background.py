"""What is heard under a new voice: a file, or the video's own sound without its speech, by a tool that is installed."""

from __future__ import annotations

import os
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import films, network, sidgan
from separating import none_at_all, put_on_path

from sidgan import dubbing, media
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import work_folder
from sidgan.errors import ConfigError, InputError, SidganError
from sidgan.media import separation
from sidgan.media.sound import pcm_file

if sys.platform == "win32":
    pytest.skip("the stand-in is a script with a first line for Unix", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("one_thread")
RATE = separation.RATE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """heard.mp4, a film with a sound of its own; music.wav; silent film.mp4; voice.wav."""
    folder = films(tmp_path_factory.mktemp("under"))
    noise = 0.4 * np.random.default_rng(5).uniform(-1, 1, 17_000).astype(np.float32)
    frames = [picture for _, picture in media.read_rgb(folder / "film.mp4")]
    media.write_clip(folder / "heard.mp4", frames, media.probe(folder / "film.mp4").frame_rate, audio=noise)
    media.write_wav(folder / "music.wav", 0.5 * noise, 16_000)
    return folder


def written(path: Path, samples: np.ndarray) -> Path:
    """(n, 2) 16-bit samples at 44.1 kHz."""
    with pcm_file(path, 2, RATE) as file:
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def read(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 2, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


@pytest.mark.parametrize("count", [50, 2999, 3000, 3001, 3300, 9100])
def test_pieces_fit_together_to_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Noise, of which any other sample, or none, would be noticed, in pieces of 3000 that share 300 with the next."""
    monkeypatch.setattr(separation, "PIECE", 3000)
    monkeypatch.setattr(separation, "OVERLAP", 300)
    calls, told = put_on_path(tmp_path, monkeypatch), list[tuple[str, int, int]]()
    noise = np.random.default_rng(count).integers(-30_000, 30_000, (count, 2))
    media.write_rest(tmp_path / "rest.wav", written(tmp_path / "own.wav", noise),
                     progress=lambda *so_far: told.append(so_far))  # fmt: skip
    rest = read(tmp_path / "rest.wav")
    assert len(rest) == count
    assert np.abs(rest - noise / 2).max() <= 1.5  # two roundings
    names = calls.read_text().split()[-max(1, -(-(count - 300) // 3000)) :]
    assert names == [f"{k:04}.wav" for k in range(len(names))]
    assert told[0] == ("separate", 0, len(names))
    assert {path.name for path in tmp_path.iterdir()} == {"demucs", "calls.txt", "own.wav", "rest.wav"}


def test_a_result_that_is_a_little_longer_or_shorter_is_made_to_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(-9000, 9000, (5000, 2))
    for change in ("sound = sound[:-20]", "sound = np.concatenate([sound, sound[:20]])"):
        put_on_path(tmp_path, monkeypatch, change=change)
        media.write_rest(tmp_path / "rest.wav", written(tmp_path / "own.wav", noise))
        rest = read(tmp_path / "rest.wav")
        assert len(rest) == 5000
        assert np.abs(rest[:4980] - noise[:4980] / 2).max() <= 1.5


def test_one_piece_fades_into_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(separation, "PIECE", 10)
    pieces = [np.full((14, 2), 1.0, np.float32), np.full((12, 2), 5.0, np.float32)]
    joined = np.concatenate(list(separation._joined(iter(pieces))))
    assert joined[:, 0].tolist() == [1.0] * 10 + [1.5, 2.5, 3.5, 4.5] + [5.0] * 8


@pytest.mark.parametrize(("how", "says"), [
    ({"before": "sys.exit('urllib.error.URLError: no network')"}, "URLError: no network (its first run needs"),
    ({"before": "sys.exit(3)"}, "ended with code 3 without a message"),
    ({"before": "print('all is well'); sys.exit(0)"}, "all is well"),
    ({"change": "sound = sound[:2000]"}, "gave 2000 samples of 44100 Hz, 2 channels and 16 bits for 5000 of 44100 Hz"),
    ({"change": "form = form._replace(framerate=48000)"}, "gave 5000 samples of 48000 Hz"),
    ({"change": "form = form._replace(sampwidth=1)"}, "and 8 bits"),
])  # fmt: skip
def test_what_goes_wrong_with_the_tool_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, str], says: str
) -> None:
    put_on_path(tmp_path, monkeypatch, **how)
    own = written(tmp_path / "own.wav", np.ones((5000, 2)))
    with pytest.raises(SidganError) as told:
        media.write_rest(tmp_path / "rest.wav", own, device="cpu")
    assert says in str(told.value)
    assert "\n" not in str(told.value)
    assert {path.name for path in tmp_path.iterdir()} == {"demucs", "calls.txt", "own.wav"}
    assert "--device cpu" in (tmp_path / "calls.txt").read_text()


def test_who_stops_waiting_ends_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = f"import os, time; Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)"
    put_on_path(tmp_path, monkeypatch, before=note)

    def show(stage: str, done: int, total: int) -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        media.write_rest(tmp_path / "rest.wav", written(tmp_path / "own.wav", np.ones((500, 2))), progress=show)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_the_own_sound_stays_under_the_voice_and_moves_no_mouth(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, out = put_on_path(tmp_path, monkeypatch), tmp_path / "under.mp4"
    dubber = dubbing.Dubber(generator=network(0), device="cpu", lossless=True)
    dubber.dub(folder / "heard.mp4", folder / "voice.wav", tmp_path / "alone.mp4")

    class EnoughError(Exception):
        pass

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "draw":
            raise EnoughError

    told: list[str] = []
    files: tuple[Any, ...] = (folder / "heard.mp4", folder / "voice.wav", out)
    with pytest.raises(EnoughError):
        dubber.dub(*files, background="original", progress=stop)
    assert [path.suffix for path in (work_folder(out) / "separated").iterdir()] == [".wav"]
    dubber.dub(*files, background="original", tell=told.append)
    assert len(calls.read_text().splitlines()) == 1  # what an earlier run had separated is taken
    assert not work_folder(out).exists()

    drawn, same = ([frame for _, frame in media.read_rgb(path)] for path in (out, tmp_path / "alone.mp4"))
    assert np.array_equal(drawn, same)
    own, voice, mix = (media.read_audio(path, 48_000)[:48_000] for path in files)
    count = min(len(own), len(mix))
    voice = np.pad(voice[:count], (0, max(0, count - len(voice))))
    left = mix[:count] - voice  # the voice ends before the film, and the rest goes on
    assert np.corrcoef(left[2000:-2000], own[2000 : count - 2000])[0, 1] > 0.9
    assert np.dot(left, own[:count]) / np.dot(own, own) == pytest.approx(0.5, abs=0.06)


def test_a_file_under_two_voices(folder: Path, tmp_path: Path) -> None:
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    dubber.dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "a.mp4", background=folder / "music.wav")
    music, mix = media.read_audio(folder / "music.wav"), media.read_audio(tmp_path / "a.mp4")
    rest = slice(15_600, 16_600)  # where the voice is over
    assert np.corrcoef(music[rest], mix[rest])[0, 1] > 0.9
    with pytest.raises(SidganError, match="is one of the inputs"):
        dubber.dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "a.mp4", background=tmp_path / "a.mp4")


def test_only_what_is_mixed_needs_a_temporary_folder(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A dub of one voice that is killed leaves none behind."""
    monkeypatch.setattr("sidgan.dubbing.inputs.TemporaryDirectory", lambda **_: pytest.fail("there is a folder"))
    one = Inputs(folder / "film.mp4", folder / "voice.wav", None, tmp_path / "a.mp4")
    with one.mixed(tmp_path, "cpu", lambda *_: None, None):
        assert one.sound == folder / "voice.wav"
    two = Inputs(folder / "film.mp4", folder / "voice.wav", None, tmp_path / "a.mp4", folder / "music.wav")
    with pytest.raises(pytest.fail.Exception), two.mixed(tmp_path, "cpu", lambda *_: None, None):
        pass


def test_what_cannot_be_is_told_before_anything_is_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = put_on_path(tmp_path, monkeypatch)
    with pytest.raises(InputError, match=r"film\.mp4 has no sound of its own"):
        dubbing.dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "a.mp4", generator=network(0),
                    device="cpu", background="original")  # fmt: skip
    with pytest.raises(SidganError, match="not a known container"):
        dubbing.dub(folder / "heard.mp4", folder / "voice.wav", tmp_path / "a.avi", generator=network(0),
                    device="cpu", background="original")  # fmt: skip
    assert not calls.exists()
    put_on_path(tmp_path, monkeypatch, before="sys.exit('no weights')")
    with pytest.raises(SidganError, match="no weights"):
        dubbing.dub(folder / "heard.mp4", folder / "voice.wav", tmp_path / "a.mp4", generator=network(0),
                    device="cpu", background="original")  # fmt: skip
    assert not work_folder(tmp_path / "a.mp4").exists()
    calls.unlink()
    none_at_all(monkeypatch)
    with pytest.raises(ConfigError, match=r"not installed; run: pip install 'sidgan\[separate\]'"):
        dubbing.check(folder / "heard.mp4", folder / "voice.wav", tmp_path / "a.mp4", background="original")
    with pytest.raises(InputError, match="has no sound of its own"):
        dubbing.check(folder / "film.mp4", folder / "voice.wav", tmp_path / "a.mp4", background="original")
    code, said = sidgan("dub", folder / "heard.mp4", folder / "voice.wav", "-o", tmp_path / "a.mp4", "--background",
                        "original", "--length", "keep")  # fmt: skip
    assert code == 2
    assert "cannot go with length keep" in said
    assert {path.name for path in tmp_path.iterdir()} == {"demucs"}
