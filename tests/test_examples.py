"""The programs of examples/ run as they are, on as little as shows that they work."""

import runpy
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from small import save_networks

import sidgan
from sidgan import checkpoint, media

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> Path:
    """A folder with the first 12 frames of the bundled clip, and half a second of the bundled voice."""
    folder = tmp_path_factory.mktemp("short")
    assets = Path(sidgan.__file__).parent / "assets"
    clip = media.probe(assets / "demo.mp4")
    media.write_clip(folder / "talk.mp4", (rgb for _, rgb in islice(media.read_rgb(clip.path), 12)), clip.frame_rate)
    media.write_wav(folder / "german.wav", media.read_audio(assets / "demo_voice.m4a", 16_000)[:8_000], 16_000)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs an example as a program in an empty folder, and gives what it prints."""
    monkeypatch.chdir(tmp_path)

    def start(name, *arguments):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return start


def test_every_example_is_run_here():
    text = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES:
        assert f'run("{path.stem}"' in text, f"no test runs {path.name}"


def test_dub_in_three_lines(run, short, tmp_path):
    told = run("dub_in_three_lines", short / "talk.mp4", short / "german.wav", "out.mp4")
    assert told.startswith("12 of 12 frames dubbed")
    assert media.probe(tmp_path / "out.mp4").audio_rate


def test_watch_frames(run, short):
    lines = run("watch_frames", short / "talk.mp4", short / "german.wav").splitlines()
    assert len(lines) == 13
    assert all("of the picture" in line for line in lines[:12])
    assert "drawn by generator" in lines[-1]


def test_several_speakers(run, tmp_path):
    told = run("several_speakers", "--seconds", 0.6, "--out", tmp_path)
    assert "person 1" in told
    assert "person 2" in told
    assert {"people.png", "dubbed.mp4"} <= {path.name for path in tmp_path.iterdir()}


def test_train_tiny(run, tmp_path):
    told = run("train_tiny", "--people", 2, "--seconds", 1.2, "--steps", 2, "--out", "tiny")
    assert "unseen people, composite" in told
    assert "average" in told
    assert (tmp_path / "tiny" / "run" / "weights.safetensors").is_file()


def test_judge_videos(run, short, tmp_path):
    for name in ("results", "originals"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "talk.mp4").write_bytes((short / "talk.mp4").read_bytes())
    told = run("judge_videos", "results", "originals", "judged")
    assert "result" in told
    assert (tmp_path / "judged" / "report.html").is_file()


def test_stream(run, short, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:  # 40 pictures take their time; those of the pipe are drawn by what is bundled
        bundled, (model, _) = checkpoint.bundled, save_networks(tmp_path, 64)
        patch.setattr(checkpoint, "bundled", lambda kind: model if kind == "generator" else bundled(kind))
        assert run("stream") == "40 pictures dubbed, each with at most 32 more taken after it\n"
    pictures = np.stack([rgb for _, rgb in media.read_rgb(short / "talk.mp4")])
    height, width = pictures.shape[1:3]
    command = [sys.executable, ROOT / "examples" / "stream.py", f"{width}x{height}", "25", short / "german.wav"]
    piped = subprocess.run(command, input=pictures.tobytes(), capture_output=True, check=True).stdout
    dubbed = np.frombuffer(piped, np.uint8).reshape(pictures.shape)
    assert np.array_equal(dubbed[:, : height // 4], pictures[:, : height // 4])
    assert (dubbed != pictures).any((1, 2, 3)).all()
