"""Training in two processes is training in one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn import talking_blob
from lightning.fabric import Fabric
from two_processes import generator, steps_on_given_windows

from sidgan.config import SYNC_FRAMES
from sidgan.data.dataset import PackedSet
from sidgan.errors import ConfigError
from sidgan.train.loop import LoopConfig, run
from sidgan.train.processes import share

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two processes leave in a folder."""
    folder = tmp_path_factory.mktemp("runs")
    env = {k: v for k, v in os.environ.items() if k not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    path = filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run([sys.executable, str(HERE / "two_processes.py"), str(folder)], env=env, capture_output=True,
                          text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def alone():
    return Fabric(accelerator="cpu", devices=1)


def test_two_processes_find_the_gradients_of_one(runs):
    one = steps_on_given_windows(alone(), PackedSet.of([talking_blob(32, 60)]))
    first, second = (torch.load(runs / name) for name in ("0.pt", "1.pt"))
    assert len(one["gradients"]) == len(first["gradients"]) > 50
    for a, b in zip(one["gradients"], first["gradients"], strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5 * float(a.abs().max()) + 1e-9)
    assert all(torch.equal(a, b) for a, b in zip(first["weights"], second["weights"], strict=True))
    for a, b in zip(one["weights"], first["weights"], strict=True):
        assert float((a - b).abs().mean()) < 1e-5


@pytest.mark.parametrize("kind", ["gan", "sync"])
def test_one_process_writes_for_both(kind, runs):
    lines = [json.loads(line) for line in (runs / kind / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if not any(k.startswith("val_") for k in line)] == [1, 2, 3, 4]
    assert not list((runs / kind).glob(".*part"))


def test_a_run_of_two_goes_on_in_one(runs):
    task = generator(alone(), PackedSet.of([talking_blob(32, 60)]), 4)
    said = []
    assert run(task, runs / "gan", LoopConfig(steps=5, eval_every=99), said.append)
    assert said[0].endswith("resumed at step 4 of 5 on cpu")


def test_a_batch_that_cannot_be_shared_out_is_refused():
    with pytest.raises(ConfigError, match="multiple of 5 for 1"):
        share(alone(), 12, SYNC_FRAMES)
