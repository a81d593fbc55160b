"""The benchmarks measure what they say: the field's way makes a dub, material is as described, time is all time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from sidgan import media
from sidgan.config import GeneratorConfig
from sidgan.engine import Engine
from sidgan.nn import Generator
from sidgan.synth import LINES, Person, Scene

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts() -> Iterator[None]:
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


def test_the_fields_way_makes_a_dub_of_the_same_picture_but_for_the_mouth(tmp_path: Path, generator: Generator) -> None:
    import field

    scene = Scene(Person(3), LINES["hello"], seconds=6 / 30 + 0.001, rate=Fraction(30), size=(256, 320))
    video, voice, out = tmp_path / "film.mp4", tmp_path / "voice.wav", tmp_path / "out.mp4"
    media.write_clip(video, (shot.image for shot in scene), Fraction(30), crf=8)
    media.write_wav(voice, scene.audio(16_000), 16_000)
    network = field.dub(video, voice, out, Engine(generator, "cpu", batch=4))
    assert network.cpu > 0
    assert [float(time) for time, _ in media.read_rgb(out)] == pytest.approx([i / 25 for i in range(6)])  # it forgot 30
    before, after = (np.stack([rgb for _, rgb in media.read_rgb(path)]).astype(int) for path in (video, out))
    changed = np.abs(after - before).mean((0, 3))
    assert changed[:90].mean() < 6  # forehead and wall, encoded three times, each time out of RGB
    assert changed[150:200, 130:190].mean() > 10  # a random network's mouth
    assert media.sound_span(out).end > 0.15


@pytest.mark.parametrize("size", [None, (720, 1280)])
def test_material_is_the_clip_in_the_middle_of_a_picture(tmp_path: Path, size: tuple[int, int] | None) -> None:
    import footage

    path = footage.excerpt(tmp_path / "clip.mp4", 3, size)
    clip = media.probe(path)
    images = [rgb.astype(int) for _, rgb in media.read_rgb(path)]
    assert (clip.height, clip.width) == (size or (640, 640))
    assert len(images) == 3
    if size:
        own = [rgb.astype(int) for _, rgb in media.read_rgb(footage.excerpt(tmp_path / "own.mp4", 3))]
        assert np.abs(images[0][40:680, 320:960] - own[0]).mean() < 5


def test_without_a_gpu_its_benchmark_says_so_in_one_line() -> None:
    run = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py"], capture_output=True, text=True, check=False,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert run.returncode == 2
    assert not run.stdout
    assert len(run.stderr.splitlines()) == 1
    assert "CUDA" in run.stderr


def test_what_it_measures_on_a_gpu_can_be_measured_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu

    monkeypatch.setattr(gpu, "peak", lambda device: 1e12)
    config = GeneratorConfig(size=64, base=4, cmax=8, rgb_levels=(32, 64), audio_levels=(16,), audio_width=2)
    found = gpu.measured(config, 2, 2, torch.device("cpu"))
    assert found["grey levels apart"]["largest"] < 20
    low, high = found["finest / half"]["range"]  # how large, other work decides; what is drawn, it does not
    assert 0 < low <= found["finest / half"]["ratio"] <= high
    drawn = {name: draw().shape[-1] for name, draw in gpu.variants(config, 2, torch.device("cpu")).items()}
    assert drawn == {"fp32": 64, "shipped": 64, "half": 32}
    assert gpu.operations(config) > 2 * 9 * 4 * 4 * 64 * 64  # more than one of its convolutions


def test_processor_time_counts_children() -> None:
    import timing

    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    took, _ = timing.spent(lambda: subprocess.run([sys.executable, "-c", burn], check=True))
    assert took.cpu >= 0.3


def test_one_command_prints_every_ratio_with_its_range_and_one_line_of_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench
    import dub
    from timing import Spent

    row = {"dub": Spent(9, 14), "network": Spent(4, 5), "pixels": Spent(4, 5), "field": Spent(20, 25),
           "field_network": Spent(4, 5)}  # fmt: skip
    ratios = dub.ratios([row, row | {"dub": Spent(9, 15)}])
    assert ratios["dub / bound, cpu"] == {"ratio": 1.45, "range": [1.4, 1.5]}
    assert ratios["field / bound, cpu"]["ratio"] == 2.5
    engine = {"cpu": {"ratio": 2.5, "half": [2.4, 2.6]}}
    cards = {
        "dub.py": {"picture": "640x640", "ratios": ratios},
        "memory.py": {"picture": "640x640", "frames": [96, 960], "ratio": 1.02, "range": [1.01, 1.03]},
        "engines.py": {"size": 128, "engines": {"torch bf16": engine, "openvino bf16": engine}},
    }
    monkeypatch.setattr(bench, "card", lambda script, *_: cards[script])
    monkeypatch.setattr(sys, "argv", ["bench.py", "--out", str(tmp_path / "made" / "bench.json")])
    bench.main()
    *table, last = capsys.readouterr().out.splitlines()
    lines = [line for line in table if " to " in line]
    assert len(lines) == 2 * len(ratios) + 1 + 2
    for what, around, aim in (
        ("dub / bound, cpu", "1.4 to 1.5", "<= 1.4"), ("960 frames / 96", "1.01 to 1.03", "<= 1.05"),
        ("openvino", "2.4 to 2.6", ">= 2.5"),
    ):  # fmt: skip
        assert any(what in line and around in line and line.endswith(aim) for line in lines), what
    assert json.loads(last) == json.loads((tmp_path / "made" / "bench.json").read_text())
    assert json.loads(last)["dub_hd"]["ratios"] == ratios
