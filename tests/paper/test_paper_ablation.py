"""The ablation: each row changes what its preset does, runs are gone on with, failed ones are counted."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marked import sidgan
from small import save_networks

from sidgan import checkpoint, media
from sidgan.config import SyncNetConfig
from sidgan.errors import ConfigError, DataError, DownloadError, InputError, SidganError
from sidgan.nn import SyncNet
from sidgan.paper import ablation, table4
from sidgan.paper.ablation import SETTINGS, Plan, ablate, config_of, read_runs
from sidgan.settings import to_dict
from sidgan.train import runs as training
from sidgan.train.runs import gan_config
from sidgan.train.schedule import moment

COUNT, SIZE = 12, 64
CONFIG = """
[generator]
size = 64
base = 2
cmax = 4
start = 16
rgb_levels = [32, 64]
audio_levels = [16]
audio_width = 1
audio_blocks = 0.0
[train]
batch = 5
grow = [0.5]
sync_from = 2.0
gan_from = 2.0
[train.weights.64]
sync = 0.1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder, two experts and a configuration, all as small as they get."""
    root = tmp_path_factory.mktemp("place")
    (root / "data" / "clips").mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = []
    for name, split in (("one", "heldout"), ("two", "heldout"), ("three", "train")):
        images = rng.integers(0, 256, (1, SIZE, SIZE, 3), np.uint8).repeat(COUNT, 0)
        images[:, 40:56, 20:44] = rng.integers(0, 256, (COUNT, 1, 1, 1), np.uint8)
        media.write_clip(root / "data" / "clips" / f"{name}.mp4", list(images), Fraction(25), crf=10, chroma444=True)
        np.savez(
            root / "data" / "clips" / f"{name}.npz", mel=rng.uniform(-4, 4, (80, 120)).astype(np.float16),
            landmarks=np.tile(rng.uniform(0.2, 0.9, (68, 2)), (COUNT, 1, 1)).astype(np.float32),
            masks=np.tile(np.float32([0.25, 0.5, 0.75, 1]), (COUNT, 1)), pose=np.zeros((COUNT, 3), np.float32),
            matrices=np.tile(np.float32([[150, 0, 0], [0, 150, 0]]), (COUNT, 1, 1)),
        )  # fmt: skip
        lines.append({"name": name, "file": name, "frames": COUNT, "kept": True, "splits": {split: [0, COUNT]}})
    (root / "data" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    save_networks(root, SIZE)
    (root / "small.toml").write_text(CONFIG)
    return root


def plan(place: Path, out: Path, rows: tuple[str, ...] = ("no_pyramid", "full"), **how: Any) -> Plan:
    values: dict[str, Any] = {"seeds": (0,), "steps": 2, "experts": {"aps": str(place / "expert.safetensors")}}
    return Plan(out, [place / "data"], rows, preset=str(place / "small.toml"), **values | how)


@pytest.mark.parametrize("name", [n for n in SETTINGS if n != "full"])
def test_a_row_is_what_its_preset_says(name: str) -> None:
    for steps in (100, 5000):
        wanted = gan_config(f"ablation_{name}", steps, None, ["seed=3"])
        assert to_dict(config_of(name, "full", steps, 3)) == to_dict(wanted)


@pytest.mark.parametrize("preset", ["small128", "small64"])
def test_every_row_changes_the_small_presets_too(preset: str) -> None:
    full = to_dict(config_of("full", preset, 10, 0))
    assert all(to_dict(config_of(name, preset, 10, 0)) != full for name in SETTINGS if name != "full")
    assert to_dict(config_of("full", preset, 10, 1)) | {"seed": 0} == full, "seeds differ in nothing else"


@pytest.mark.parametrize("preset", ["full", "small128", "small64"])
def test_the_full_setting_has_every_term_of_the_loss(preset: str) -> None:
    config = config_of("full", preset, 1000, 0)
    levels = config.generator.rgb_levels
    assert len(levels) == 3
    for level in levels:
        weights = config.weights_at(level)
        assert min(weights.l1, weights.frequency, weights.gan, weights.sync) > 0
        assert level in config.critics
    assert config.weights_at(levels[-1]).features > 0
    assert config.features == "contextual"
    last = moment(config, 999)
    assert (last.level, last.fade, last.sync, last.gan_levels, last.sync_levels) == (levels[-1], 1, 1, levels, levels)


def test_an_expert_that_comes_later_stays(place: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    one, other = str(place / "expert.safetensors"), str(tmp_path / "other.safetensors")
    checkpoint.save(Path(other), SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)))
    out = tmp_path / "out"

    def settle(**experts: str) -> None:
        ablation._settle_folder(plan(place, out, experts=experts))

    settle(aps=one)
    (out / "full" / "seed0" / "run").mkdir(parents=True)
    settle(aps=one, vanilla=one)
    settle(aps=one)  # a run of rows that need no other
    with pytest.raises(ConfigError, match="holds runs made with other settings"):
        settle(aps=one, vanilla=other)


def test_a_row_that_would_be_the_full_one_is_refused(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no_contextual changes nothing in nano64"):
        config_of("no_contextual", "nano64", 10, 0)
    with pytest.raises(ConfigError, match="there is no row no_mouth; rows are"):
        config_of("no_mouth", "full", 10, 0)
    with pytest.raises(ConfigError, match="vanilla_sync needs a vanilla expert"):
        plan(place, tmp_path, ("vanilla_sync",))


def test_runs_are_trained_judged_and_never_done_twice(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    told: list[str] = []
    runs = ablate(plan(place, out), lambda share, text: told.append(text))
    assert [(run.row, run.seed, run.state) for run in runs] == [("no_pyramid", 0, "done"), ("full", 0, "done")]
    logs = [out / row / "seed0" / "run" / "log.txt" for row in ("no_pyramid", "full")]
    assert told == [f"no_pyramid, seed 0: run 1 of 2; see its progress in {logs[0]}",
                    f"full, seed 0: run 2 of 2; see its progress in {logs[1]}"]  # fmt: skip
    assert all(log.is_file() for log in logs)
    assert capsys.readouterr().out == "", "its log is in the run's folder"
    files = [out / row / "seed0" / "run" / "config.json" for row in ("no_pyramid", "full")]
    configs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    assert [c["generator"]["rgb_levels"] for c in configs] == [[64], [32, 64]]
    assert {c["loop"]["steps"] for c in configs} == {2}
    found = table4.ablation(table4.rows_of(out, None))
    assert found.found.clips == 2
    assert {"no_pyramid", "full"} == found.means.keys()

    def never(*_: object) -> Path:
        raise AssertionError("a run that is done is not done again")

    monkeypatch.setattr("sidgan.train.runs.train_gan", never)
    assert [run.state for run in ablate(plan(place, out))] == ["done", "done"]
    same = ("--rows", "no_pyramid,full", "--seeds", 0, "--steps", 2, "--config", place / "small.toml", "--expert",
            place / "expert.safetensors")  # fmt: skip
    code, said = sidgan("paper", "ablation", place / "data", "--out", out, *same)
    assert code == 0
    assert "w/o Pyramid Generator  here     1/1" in said
    assert "1 seed a row" in said
    assert (out / "table4.md").is_file()
    with pytest.raises(ConfigError, match=r"made with other settings: config.loop.steps was 2 and is 3"):
        ablate(plan(place, out, steps=3))


def test_a_split_without_clips_is_told_before_anything_is_trained(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidgan.train.runs.train_gan", lambda *_: pytest.fail("hours for nothing"))
    with pytest.raises(DataError, match=r"no clips for test in .*; the splits are heldout \(2\), train \(1\)"):
        ablate(plan(place, tmp_path / "out", split="test"))
    assert not (tmp_path / "out").exists()


def test_settings_that_came_to_no_run_do_not_keep_the_folder(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> Path:
        raise DownloadError("no network")

    with monkeypatch.context() as patch:
        patch.setattr("sidgan.train.runs.train_gan", offline)
        with pytest.raises(DownloadError):
            ablate(plan(place, tmp_path, ("full",)))
    [run] = ablate(plan(place, tmp_path, ("full",), steps=1))
    assert run.state == "done"


def test_clips_are_read_once_and_seeds_come_one_after_the_other(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, sets, out = [], training._sets, tmp_path / "out"

    def counted(*given: Any) -> Any:
        read.append(given)
        return sets(*given)

    monkeypatch.setattr("sidgan.train.runs._sets", counted)
    runs = ablate(plan(place, out, seeds=(0, 1), max_frames=6, system="raw"))
    assert [(run.row, run.seed) for run in runs] == [("no_pyramid", 0), ("full", 0), ("no_pyramid", 1), ("full", 1)]
    assert {run.state for run in runs} == {"done"}
    assert len(read) == 1
    lines = (out / "full" / "seed1" / "judged" / "records.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["judged"] for line in lines] == [5, 5], "six frames, of which one is the reference"
    assert json.loads(lines[0])["values"].keys() == {"raw"}
    with pytest.raises(ConfigError, match=r"made with other settings: max_frames was 6 and is null"):
        ablate(plan(place, out, seeds=(0, 1), system="raw"))


def test_a_run_that_fails_is_counted_and_one_that_was_stopped_is_named(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, why = tmp_path / "out", "the loss is not a number since step 1; lower the learning rate"

    def train(data: Any, config: Any, *_: Any) -> Path:
        if config.seed == 1:
            raise SidganError(why)
        if config.seed == 2:
            raise KeyboardInterrupt
        return place / "model.safetensors"

    monkeypatch.setattr("sidgan.train.runs.train_gan", train)
    with pytest.raises(KeyboardInterrupt):
        ablate(plan(place, out, ("full",), seeds=(0, 1, 2)))
    states = [(run.seed, run.state, run.why) for run in read_runs(out)]
    assert states == [(0, "done", ""), (1, "failed", why), (2, "unfinished", "")]
    code, said = sidgan("paper", "table4", out, "--out", tmp_path / "t")
    assert code == 0
    assert "1/3" in said
    assert f"a run failed, seed 1: {why}" in said
    assert "seed 2: it was not finished" in said


def test_a_mouth_that_is_no_picture_of_one_is_a_failure(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "COLLAPSED", 60.0)  # nothing untrained is as good as that
    monkeypatch.setattr("sidgan.train.runs.train_gan", lambda *_: place / "model.safetensors")
    (run,) = ablate(plan(place, tmp_path / "out", ("full",)))
    assert run.state == "failed"
    assert run.why.startswith("it draws no face (mouth PSNR ")


def test_what_is_no_ablation_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no ablation; make one with"):
        read_runs(tmp_path)
    (tmp_path / "ablation.json").write_text("{}")
    with pytest.raises(ConfigError, match="has no runs yet"):
        read_runs(tmp_path)
    for seeds in ("0,x", "0,²"):
        code, said = sidgan("paper", "ablation", tmp_path, "--seeds", seeds)
        assert code == 2
        assert "--seeds must be whole numbers" in said
