"""Who prepares the clips makes no difference to what is prepared."""

import importlib.util
import os
import socket
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_files import contents
from marked import films
from small import save_networks

from sidgan import dubbing, media
from sidgan.data.packing import PrepareConfig
from sidgan.data.prepare import prepare
from sidgan.dubbing import segments
from sidgan.dubbing.settings import Settings
from sidgan.errors import InputError, OutputError, SidganError
from sidgan.executors import AHEAD, _cluster, in_order, local, on_ray
from sidgan.jobs import Job, run_all
from sidgan.synth import Person, Scene, random_line

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed: sidgan[ray]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two people, a clip without a face, and a broken one."""
    folder = tmp_path_factory.mktemp("footage")
    for seed in (3, 4):
        scene = Scene(Person.random(seed), random_line(np.random.default_rng(seed), 1.4), size=(160, 160))
        media.write_clip(folder / f"talk{seed}.mp4", (shot.image for shot in scene), Fraction(25), scene.audio(16000),
                         16000)  # fmt: skip
    media.write_clip(folder / "nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 30, Fraction(25),
                     np.zeros(19200, np.float32), 16000)  # fmt: skip
    (folder / "broken.mp4").write_bytes((folder / "talk3.mp4").read_bytes()[:3000])
    return folder


# ------------------------------------------------------------------------------------------------------------- local


def test_results_keep_their_order_and_few_jobs_are_out():
    out = []

    def submit(job):
        out.append(job)
        return job

    def result(handle):
        assert len(out) - handle <= 4, "no more than four are out"
        return 10 * handle

    results = in_order(submit, result, iter(range(20)), lambda: 4)
    assert next(results) == 0
    assert out == [0, 1, 2, 3], "the rest waits"
    assert list(results) == [10 * i for i in range(1, 20)]


def test_processes_prepare_what_one_prepares(folder, tmp_path):
    config = PrepareConfig(size=64)
    prepare(folder, tmp_path / "one", config)
    prepare(folder, tmp_path / "two", config, executor=local(2))
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_without_ray_it_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SidganError, match=r"pip install 'sidgan\[ray\]'"):
        on_ray("local", tmp_path)


# --------------------------------------------------------------------------------------------------------------- ray


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine, for all tests: starting them takes seconds."""
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'sidgan[ray]'")
    with _cluster(ray, "local", 2):
        yield


def test_a_cluster_prepares_what_one_process_prepares(folder, tmp_path, monkeypatch, cluster):
    monkeypatch.chdir(folder.parent)
    relative = Path(folder.name)  # in messages too it must stay as the user gave it
    config, steps = PrepareConfig(size=64), []
    here = prepare(relative, tmp_path / "here", config)
    there = prepare(relative, tmp_path / "there", config, executor=on_ray("local", tmp_path / "there"),
                    progress=lambda done, total: steps.append((done, total)))  # fmt: skip
    assert here == there
    assert contents(tmp_path / "here") == contents(tmp_path / "there"), "byte for byte, and nothing else is left there"
    assert steps == [(i, 4) for i in range(1, 5)]


def test_lost_jobs_are_done_again(tmp_path, cluster):
    lives = tmp_path / "lives"
    lives.mkdir()

    def dies_once(job):
        mark = lives / str(job)
        if job in (1, 5) and not mark.exists():
            mark.touch()
            os._exit(1)
        return job, os.getpid()

    results = list(on_ray("local", tmp_path)(dies_once, range(3 * AHEAD)))
    assert [job for job, _ in results] == list(range(3 * AHEAD))
    assert sorted(p.name for p in lives.iterdir()) == ["1", "5"]
    assert len({pid for _, pid in results}) > 1, "more than one worker works"


def test_errors_come_back_as_they_are(tmp_path, cluster):
    def fails(job):
        raise OutputError(f"job {job}: disk full; free some space")

    with pytest.raises(OutputError, match=r"^job 0: disk full; free some space$"):
        list(on_ray("local", tmp_path)(fails, range(3)))
    with pytest.raises(AttributeError):
        list(on_ray("local", tmp_path)(lambda job: job.missing, range(3)))


def test_a_machine_that_does_not_share_the_folder_is_named(tmp_path, cluster):
    def elsewhere(job):
        for path in tmp_path.glob(".*.shared"):
            path.unlink()
        return job

    with pytest.raises(InputError, match=r"does not see .* file system that all machines share"):
        list(on_ray("local", tmp_path)(elsewhere, range(20)))
    assert not list(tmp_path.iterdir()), "no trace is left"


@pytest.fixture(scope="module")
def dub(tmp_path_factory):
    """What a dub of 32 frames is made of, and the bytes that one process makes of it in one segment after the other."""
    folder = films(tmp_path_factory.mktemp("dub"))
    model, _ = save_networks(folder, 64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LENGTH", 8)
        report = sidgan_dub(folder, "one.mp4", model)
    assert report.dubbed > 20
    return folder, model, (folder / "one.mp4").read_bytes()


def sidgan_dub(folder, name, model, **how):
    return dubbing.dub(folder / "film.mp4", folder / "voice.wav", folder / name, model=model, device="cpu", **how)


def test_a_cluster_draws_the_bytes_of_one_process(dub, monkeypatch, cluster):
    folder, model, bytes_of_one = dub
    monkeypatch.setattr(segments, "LENGTH", 8)  # the cluster's processes are told which frames, not how many in each
    sidgan_dub(folder, "there.mp4", model, ray="local")
    assert (folder / "there.mp4").read_bytes() == bytes_of_one
    assert not list(folder.glob(".*"))


def test_a_cluster_does_a_list(dub, cluster):
    folder, model, _ = dub
    like = Job(folder / "film.mp4", folder / "voice.wav", folder / "a.mp4", model=str(model), device="cpu")
    wanted = [replace(like, video=folder / "none.mp4"), replace(like, out=folder / "b.mp4")]
    failed, done = run_all(wanted, on_ray("local", folder))
    assert (failed.done, done.done) == (False, True)
    assert "no such file" in failed.line
    assert len(list(media.read_frames(media.probe(folder / "b.mp4")))) == 32


def test_a_machine_of_another_kind_is_refused(dub):
    setup = SimpleNamespace(
        here={"processors": 0}, threads=torch.get_num_threads(), scheme=SimpleNamespace(folder=dub[0]),
        settings=Settings(device="cpu"),
    )  # fmt: skip
    with pytest.raises(SidganError, match="differs from the machine that started this dub in processors"):
        segments._make_elsewhere(setup, segments.Part(0, 0, 8))


def sidgan(*arguments):
    command = [sys.executable, "-m", "sidgan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_the_command_joins_a_cluster(folder, tmp_path, cluster):
    import ray

    prepare(folder, tmp_path / "here", PrepareConfig(size=64))
    address = ray.get_runtime_context().gcs_address
    done = sidgan("prepare", folder, tmp_path / "there", "--size", 64, "--ray", address)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr  # the broken clip; Ray itself is silent
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


@needs_ray
def test_no_cluster_is_one_line(folder, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        done = sidgan("prepare", folder, tmp_path / "out", "--ray", address)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert f"no Ray cluster at '{address}'" in done.stderr
    assert not list(tmp_path.iterdir())
