"""A run's folder and what its processes fetch: never half, never twice at a time."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from drawn import talking_blob
from lightning.fabric import Fabric
from small import save_networks

from sidgan import checkpoint, downloads, portable
from sidgan.config import ListenerConfig
from sidgan.data.dataset import PackedSet, read_manifest
from sidgan.errors import CheckpointError, ConfigError, DataError, DownloadError, OutputError
from sidgan.files import digest
from sidgan.nn import Listener
from sidgan.train import loop, runs
from sidgan.train.folder import run_folder
from sidgan.train.runs import gan_config, sync_config


class Process:
    """One of several processes that train together; what it does is noted in its turn."""

    def __init__(self, rank, local):
        self.is_global_zero, self.local_rank, self.done = rank == 0, local, []

    def barrier(self):
        self.done.append("barrier")


@pytest.mark.parametrize(("rank", "local", "expected"), [
    (0, 0, "fetch barrier fetch barrier fetch"), (1, 1, "barrier barrier fetch"),
    (8, 0, "barrier fetch barrier fetch"),  # the first of another machine, whose cache may be its own
])  # fmt: skip
def test_processes_do_not_fetch_the_same_file_at_a_time(rank, local, expected, monkeypatch):
    process = Process(rank, local)
    monkeypatch.setattr(downloads, "fetch", lambda file: process.done.append("fetch"))
    monkeypatch.setattr(checkpoint, "load_vgg", lambda source: process.done.append("fetch") or source)
    assert runs._vgg(gan_config("full", 10, None, []), process) == "published"
    assert " ".join(process.done) == expected
    assert runs._vgg(gan_config("tiny128", 10, None, []), process) is None


def test_a_preset_or_a_file_says_how_long_it_trains_unless_the_command_does(tmp_path):
    assert [gan_config(p, None, None, []).loop.steps for p in ("paper", "quick")] == [3_900_000, 300_000]
    assert sync_config("syncnet_paper", None, None, []).loop.steps == 370_000
    assert gan_config("tiny128", None, None, []).loop.steps == runs.STEPS["gan"], "it says nothing of it"
    own = tmp_path / "own.toml"
    own.write_text('base = "nano64"\n[train.loop]\nsteps = 7\nminutes = 2.5\n', encoding="utf-8")
    said, told = gan_config(str(own), None, None, []).loop, gan_config(str(own), 9, 1.0, []).loop
    assert [(loop.steps, loop.minutes) for loop in (said, told)] == [(7, 2.5), (9, 1.0)]


@pytest.mark.parametrize(("text", "told"), [
    ("train = 5", "'train' of .*own.toml must be a table, not 5"),
    ("[train]\nloop = 7", "'loop' of .*own.toml must be a table, not 7"),
    ("generator = 5", "'generator' must be a table, not 5"),
    ("base = 5", "'base' of .*own.toml must be the name of a preset or TOML file, not 5"),
    ("base = 'own.toml'", "'base' of .*own.toml refers back to itself through .*own.toml; name another preset"),
])  # fmt: skip
def test_settings_of_another_shape_are_told_in_one_line(tmp_path, monkeypatch, text, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=told):
        gan_config("own.toml", None, None, [])


@pytest.fixture
def begin(monkeypatch, tmp_path):
    """Begin or go on with a run that has no steps."""
    monkeypatch.setattr(runs, "run", lambda *_, **__: True)
    task = SimpleNamespace(fabric=Fabric(accelerator="cpu", devices=1))

    def begun(config):
        with run_folder(task.fabric, config, tmp_path / "run", "expert") as folder:
            runs._train(task, config, folder, [])

    return begun


def test_settings_of_a_run_are_written_whole_or_not_at_all(begin, monkeypatch, tmp_path):
    config, path = sync_config("syncnet", 100, None, []), tmp_path / "run" / "config.json"
    begin(config)
    first = path.read_text()
    assert json.loads(first)["loop"]["steps"] == 100
    assert sorted(p.name for p in path.parent.iterdir()) == ["config.json", "data.json", "lock"]
    before = path.stat()
    begin(config)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns), "nothing to write"
    other = replace(config, loop=replace(config.loop, log_every=7))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OutputError, match="no space left"):
            begin(other)
    assert path.read_text() == first
    begin(other)
    assert json.loads(path.read_text())["loop"]["log_every"] == 7


@pytest.mark.parametrize("text", ['{"batch": 3', "", "[]"])
def test_damaged_settings_of_a_run_are_one_clear_line(begin, tmp_path, text):
    config, path = sync_config("syncnet", 100, None, []), tmp_path / "run" / "config.json"
    begin(config)
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json is damaged; remove it, and resume"):
        begin(config)
    assert path.read_text() == text, "it is the user's to remove"
    path.unlink()
    begin(config)
    assert json.loads(path.read_text())["batch"] == config.batch


def test_a_run_that_was_begun_otherwise_says_what_differs(begin):
    begin(sync_config("syncnet", 100, None, []))
    with pytest.raises(CheckpointError, match=r"other settings \(batch was \d+ and is 7, steps was 100 and is 200\)"):
        begin(sync_config("syncnet", 200, None, ["batch=7"]))
    with pytest.raises(CheckpointError, match=r"other settings \(model\.width was \d+ and is 24\)"):
        begin(sync_config("syncnet", 100, None, ["model.width=24"]))


HOLDING = """
import sys, time
from sidgan import portable
with open(sys.argv[1], "w") as lock:
    portable.hold(lock)
    print("held", flush=True)
    time.sleep(600)
"""


def test_one_training_at_a_time_has_a_run_folder_and_a_kill_frees_it(begin, tmp_path):
    config, folder = sync_config("syncnet", 100, None, []), tmp_path / "run"
    begin(config)
    held = folder / "lock"
    changed = replace(config, loop=replace(config.loop, log_every=7))  # would be written into config.json
    other = subprocess.Popen([sys.executable, "-c", HOLDING, held], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        before = (folder / "config.json").read_bytes()
        with pytest.raises(OutputError, match=r"another training is running in .*run; wait for it, stop it"):
            begin(changed)
        assert (folder / "config.json").read_bytes() == before
    finally:
        other.kill()
        other.communicate()
    begin(changed)


def test_a_run_folder_is_held_while_steps_are_made(begin, monkeypatch, tmp_path):
    steps = []

    def step(*_, **__):
        steps.append(1)
        with (tmp_path / "run" / "lock").open("w") as other, pytest.raises(BlockingIOError):
            portable.hold(other)

    monkeypatch.setattr(runs, "run", step)
    begin(sync_config("syncnet", 100, None, []))
    assert steps


class LoadedError(Exception):
    """Data was asked for."""


def _loads_by(load, monkeypatch):
    """Replace what reads the data of a training."""
    monkeypatch.setattr(runs, "contents", lambda folder: {"folder": folder.name, "sha256": "", "size": None})
    monkeypatch.setattr(runs, "_sets", load)
    monkeypatch.setattr(runs.SpeechSet, "read", load)


TRAININGS = {
    "listener": lambda folder: runs.train_listener([Path("x")], runs.listener_config("listener", 1, None, []), folder,
                                                   "cpu"),
    "occlusion": lambda folder: runs.train_occlusion([Path("x")], runs.occlusion_config("occlusion", 1, None, []),
                                                     folder, "cpu"),
    "syncnet": lambda folder: runs.train_syncnet([Path("x")], sync_config("syncnet", 1, None, []), folder, "cpu"),
    "gan": lambda folder: runs.train_gan([Path("x")], gan_config("tiny128", 1, None, []), "bundled", folder, "cpu"),
}  # fmt: skip


def test_a_run_says_what_it_learns_from_and_how_to_go_on_when_it_is_stopped(monkeypatch, capsys, tmp_path):
    def stopped(at):
        def step(task, index):
            if index == at:
                raise KeyboardInterrupt
            return {"loss": 1.0}

        monkeypatch.setattr(runs.SyncTask, "step", step)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            runs.train_syncnet([], config, None, "cpu")
        return capsys.readouterr().out.splitlines()

    _, expert = save_networks(tmp_path, 32)
    clips = PackedSet.of([talking_blob(32, 50), talking_blob(32, 100)])
    monkeypatch.setattr(runs, "_sets", lambda *_: (clips, {}))
    monkeypatch.setattr(runs.SyncTask, "state", lambda task: {})
    net = [f"model.{k}={v}" for k, v in checkpoint.load_syncnet(expert).config.__dict__.items()]
    config = sync_config("syncnet", 9, None, [*net, "loop.save_every=4", "self_test=false"])
    begun, material, *_, ended = stopped(2)
    assert begun == f"{Path('runs/000-syncnet')}: 9 steps on cpu"
    assert material.startswith("train: 2 clips, 0.1 min; no clips are held out")
    assert ended == f"nothing is saved in {Path('runs/000-syncnet')} yet; it is saved every 4 steps (loop.save_every)"
    monkeypatch.setattr(runs, "_sets", lambda *_: (clips, {"heldout": clips}))
    _, material, *_, ended = stopped(5)
    assert material == "train: 2 clips, 0.1 min; heldout: 2 clips, 0.1 min"
    assert f"--run {Path('runs/001-syncnet')} to the command to resume" in ended


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_run_folder_is_held_before_data_is_loaded_and_not_left_for_nothing(kind, monkeypatch, tmp_path):
    folder, loaded = tmp_path / "all" / "run", []

    def load(*_):
        with (folder / "lock").open("w") as other, pytest.raises(BlockingIOError):
            portable.hold(other)
        loaded.append(1)
        raise LoadedError

    _loads_by(load, monkeypatch)
    with pytest.raises(LoadedError):
        TRAININGS[kind](folder)
    assert not list(tmp_path.iterdir()), "nothing had come into it"
    folder.mkdir(parents=True)
    with pytest.raises(LoadedError):
        TRAININGS[kind](folder)
    assert not list(folder.iterdir()), "it was the user's, and stays as it was"
    with (folder / "lock").open("w") as other:
        portable.hold(other)
        with pytest.raises(OutputError, match=r"another training is running in .*run;"):
            TRAININGS[kind](folder)
    assert len(loaded) == 2
    (folder / "config.json").write_text('{"batch": 1}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="started with other settings"):
        TRAININGS[kind](folder)
    assert len(loaded) == 2


def _prepared(folder, size, frames=50):
    """A folder whose manifest lists one clip, which is not there."""
    folder.mkdir(exist_ok=True)
    record = {"name": "a", "file": "a", "kept": True, "frames": frames, "size": size, "yaw": 0.0, "identity": "anna",
              "splits": {"train": [0, 30], "heldout": [30, frames]}}  # fmt: skip
    (folder / "manifest.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")


def test_a_run_and_its_weights_name_their_data_and_it_resumes_with_no_other(monkeypatch, tmp_path):
    _, expert = save_networks(tmp_path, 32)
    clips = PackedSet.of([talking_blob(32, 50), talking_blob(32, 100)])
    monkeypatch.setattr(runs, "_sets", lambda *_: (clips, {}))
    net = [f"model.{k}={v}" for k, v in checkpoint.load_syncnet(expert).config.__dict__.items()]
    config = sync_config("syncnet", 1, None, [*net, "batch=2", "self_test=false"])
    run, data = tmp_path / "run", tmp_path / "data"
    _prepared(data, size=32)
    runs.train_syncnet([data], config, run, "cpu")
    known = [{
        "folder": "data", "sha256": digest(data / "manifest.jsonl"), "size": 32,
        "splits": {"heldout": {"clips": 1, "people": 1, "frames": 20, "hours": 0.0},
                   "train": {"clips": 1, "people": 1, "frames": 30, "hours": 0.0}},
    }]  # fmt: skip
    assert json.loads((run / "data.json").read_text())["data"] == known
    assert checkpoint.read_meta(run / "weights.safetensors")["meta"]["data"] == known
    (tmp_path / "moved").mkdir()
    data = data.rename(tmp_path / "moved" / "data")
    runs.train_syncnet([data], config, run, "cpu")  # the same data in another place
    _prepared(data, size=32, frames=60)
    with pytest.raises(CheckpointError, match=r"run was started with other data \(data \w{8}, not data \w{8}\)"):
        runs.train_syncnet([data], config, run, "cpu")
    (run / "data.json").unlink()  # as in a run of an older version
    runs.train_syncnet([data], config, run, "cpu")
    assert json.loads((run / "data.json").read_text())["data"][0]["splits"]["heldout"]["frames"] == 30


def test_what_a_generator_learns_from_is_had_before_its_data_is_loaded(monkeypatch, tmp_path):
    def load(*_):
        raise LoadedError

    def fetch(*_):
        raise DownloadError("no network")

    checkpoint.save(tmp_path / "ears.safetensors", Listener(ListenerConfig(audio_width=1, blocks=0.0)))
    monkeypatch.setattr(runs, "_sets", load)
    monkeypatch.setattr(downloads, "fetch", fetch)
    data, small = tmp_path / "data", gan_config("tiny128", 1, None, [])
    featured, other = (gan_config("full", 1, None, [f"expert_kind={kind}"]) for kind in ("any", "vanilla"))
    with pytest.raises(CheckpointError, match="holds a listener, not a syncnet"):
        runs.train_gan([data], small, str(tmp_path / "ears.safetensors"), tmp_path / "run", "cpu")
    with pytest.raises(DataError, match=r"holds no manifest\.jsonl"):  # and no 548 MB are fetched for it
        runs.train_gan([data], featured, "bundled", tmp_path / "run", "cpu")
    _prepared(data, size=256)
    with pytest.raises(ConfigError, match="faces of 256 px are too small for a generator of 512 px"):
        runs.train_gan([data], featured, "bundled", tmp_path / "run", "cpu")
    _prepared(data, size=512)
    with pytest.raises(ConfigError, match="the expert is aps, but expert_kind is vanilla"):
        runs.train_gan([data], other, "bundled", tmp_path / "run", "cpu")
    with pytest.raises(DownloadError, match="no network"):
        runs.train_gan([data], featured, "bundled", tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_folders_of_different_sizes_are_one_line_before_clips_are_loaded(monkeypatch, tmp_path):
    def load(*_):
        raise LoadedError

    monkeypatch.setattr(runs, "_sets", load)
    data, again = [tmp_path / name for name in "abc"], [tmp_path / "a", tmp_path / "c"]
    for folder, size in zip(data, (128, 256, 128), strict=True):
        _prepared(folder, size)
    expert, generator = sync_config("syncnet", 1, None, []), gan_config("tiny128", 1, None, [])
    for folders, error, told in ((data, DataError, r"crops of 128 and 256 px; give"), (again, LoadedError, None)):
        with pytest.raises(error, match=told):
            runs.train_syncnet(folders, expert, tmp_path / "run", "cpu")
        with pytest.raises(error, match=told):
            runs.train_gan(folders, generator, "bundled", tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()


def test_a_run_says_that_the_critics_beside_its_start_are_anothers(monkeypatch, tmp_path):
    class Asked(loop.Notes):
        def __init__(self, *networks):
            super().__init__()
            self.rivals = networks[-1]

        def note(self, *lines):
            assert self.rivals is None
            told.extend(lines)
            raise LoadedError

    told: list[str] = []
    start, _ = save_networks(tmp_path, 32)
    checkpoint.save(tmp_path / "new.safetensors", checkpoint.load_generator())
    checkpoint.save_critics(tmp_path / "new.safetensors", checkpoint.load_critics())
    monkeypatch.setattr(runs, "GanTask", Asked)
    _loads_by(lambda *_: (PackedSet.of([talking_blob(32, 60)]), {}), monkeypatch)
    config = gan_config("tiny128_detail", 1, None, [])
    with pytest.raises(LoadedError):
        runs.train_gan([tmp_path], config, "bundled", tmp_path / "run", "cpu", start=str(start))
    assert "beside model.safetensors belongs to other weights" in told[0]


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_training_that_is_told_to_end_while_it_loads_leaves_nothing(kind, monkeypatch, tmp_path):
    folder = tmp_path / "all" / "run"

    def load(*_):
        assert (folder / "lock").is_file()
        signal.raise_signal(signal.SIGTERM)
        raise LoadedError

    def ours(*_):
        """In place of the default, which would end the tests."""

    _loads_by(load, monkeypatch)
    before = signal.signal(signal.SIGTERM, ours)
    try:
        with pytest.raises(SystemExit) as ended:
            TRAININGS[kind](folder)
        assert signal.getsignal(signal.SIGTERM) is ours
        assert not list(tmp_path.iterdir())
        folder.mkdir(parents=True)
        (folder / "notes.txt").write_text("a user's", encoding="utf-8")
        with pytest.raises(SystemExit):
            TRAININGS[kind](folder)
        assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143


@pytest.mark.parametrize("kind", TRAININGS)
def test_a_lock_that_a_killed_training_left_neither_blocks_nor_stays(kind, monkeypatch, tmp_path):
    folder, loaded = tmp_path / "run", []

    def load(*_):
        loaded.append(1)
        raise LoadedError

    _loads_by(load, monkeypatch)
    folder.mkdir()
    (folder / "lock").touch()
    with pytest.raises(LoadedError):
        TRAININGS[kind](folder)
    assert loaded
    assert not list(folder.iterdir()), "there was nothing in it but what a kill had left"


def test_a_run_folder_is_numbered_and_not_left_for_nothing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError):
        TRAININGS["syncnet"](None)
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs" / "000-gan64").mkdir(parents=True)
    with pytest.raises(DataError):
        TRAININGS["syncnet"](None)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["000-gan64"]


def test_a_run_folder_that_is_a_file_is_one_line(begin, tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(OutputError, match="run cannot be written: file exists"):
        begin(sync_config("syncnet", 100, None, []))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("weights.fine.l1=2", r"'weights.fine': weights are set by level, such as weights.128"),
        ("weights=3", "'weights' must be a table, not 3"),
        ("discriminators.a.base=2", "'discriminators.a': discriminators are set by level"),
    ],
)
def test_levels_that_are_none_are_one_line(change, says):
    with pytest.raises(ConfigError, match=says):
        gan_config("tiny128", 100, None, [change])


def test_a_preset_of_another_network_is_named(tmp_path):
    with pytest.raises(ConfigError, match="tiny128 is not for this kind of network: it has a table 'generator'"):
        sync_config("tiny128", 100, None, [])
    with pytest.raises(ConfigError, match="syncnet is not for this kind of network"):
        gan_config("syncnet", 100, None, [])
    for name in ("tiny128_detail", "quick", "full"):  # some have neither table
        gan_config(name, 100, None, [])
    (tmp_path / "old.toml").write_bytes("# Müller\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="not valid TOML"):
        gan_config(str(tmp_path / "old.toml"), 100, None, [])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("[enforce fail]\nwriting")])
def test_a_full_disk_leaves_the_state_before_and_no_part(error, monkeypatch, tmp_path):
    def full(state, file):
        file.write_bytes(b"half")
        raise error

    task = SimpleNamespace(state=dict)
    loop._save(task, tmp_path / "last.pt", 1, 0.0)
    before = (tmp_path / "last.pt").read_bytes()
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"last\.pt cannot be written"):
        loop._save(task, tmp_path / "last.pt", 2, 0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_folder_whose_name_is_no_text_is_told_before_opencv_dies_of_it():
    with pytest.raises(DataError, match="has a name that is not valid text"):
        read_manifest(Path("m\udcfcller"))
