"""What `test_processes` runs in two processes: steps on given windows, then short runs."""

import sys
import uuid
from pathlib import Path
from unittest import mock

import torch
from drawn import talking_blob
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sidgan.config import SYNC_FRAMES, SyncNetConfig
from sidgan.data.dataset import PackedSet, stack_windows
from sidgan.nn import SyncNet
from sidgan.settings import from_dict
from sidgan.train import gan, syncnet
from sidgan.train.batch import prepare_batch
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.loop import LoopConfig, run
from sidgan.train.runs import launch
from sidgan.train.syncnet import SyncTask, SyncTrainConfig

#: Of three levels, the last of which joins in on the way.
SMALL = {"size": 32, "base": 8, "cmax": 32, "start": 8, "rgb_levels": [8, 16, 32], "audio_levels": [8],
         "audio_width": 8, "audio_blocks": 0.5}  # fmt: skip


def generator(fabric, data, steps):
    torch.manual_seed(0)
    expert = SyncNet(SyncNetConfig(width=2, audio_width=8, blocks=0.5)).eval()
    config = from_dict(GanTrainConfig, {
        "generator": SMALL, "loop": {"steps": steps}, "batch": 4 * SYNC_FRAMES,
        "grow": [0.0, 0.5], "fade": 0.0, "sync_from": 0.0, "gan_from": 0.0, "audio_lr": 0.1,
        "weights": {32: {"sync": 0.1, "gan": 0.1}, 16: {"sync": 0.1, "frequency": 5.0, "gan": 0.1}},
        "discriminators": {r: {"base": 4, "layers": 2} for r in (16, 32)},
    })  # fmt: skip
    return GanTask(config, data, {"held": data}, fabric, expert)


def steps_on_given_windows(fabric, data):
    """Gradients of a first step, and all weights after a second, on four windows shared out among the processes."""
    task = generator(fabric, data, 10)
    mine = range(fabric.global_rank, 4, fabric.world_size)
    windows = stack_windows([(data.clips[0], 9 * i, [50]) for i in mine], SYNC_FRAMES, 32)
    with (
        mock.patch.object(task.train, "windows", return_value=windows),
        mock.patch.object(gan, "prepare_batch", lambda some, rng, identity: prepare_batch(some, None)),
    ):
        task.step(0)
        nets = (task.net.module, task.critics.module)
        gradients = [p.grad.clone() for net in nets for p in net.parameters() if p.grad is not None]
        task.step(1)
    weights = [p.detach().clone() for net in (*nets, task.ema) for p in net.parameters()]
    return {"gradients": gradients, "weights": weights}


def work(out):
    fabric = launch("cpu", "32-true")
    data = PackedSet.of([talking_blob(32, 60)])
    torch.save(steps_on_given_windows(fabric, data), out / f"{fabric.global_rank}.pt")
    small = LoopConfig(steps=4, log_every=1, eval_every=3, save_every=2, minutes=60.0)
    run(generator(fabric, data, 4), out / "gan", small)
    config = SyncTrainConfig(model=SyncNetConfig(width=2, audio_width=4, blocks=0.0), batch=4, negatives=2,
                             loop=LoopConfig(steps=4))  # fmt: skip
    faces = PackedSet.of([talking_blob(128, 40)])
    with mock.patch.object(syncnet, "CALIBRATION_BATCHES", 2):  # batches: how well it judges is not looked at
        run(SyncTask(config, faces, {"held": faces}, fabric), out / "sync", small)


if __name__ == "__main__":
    # What torchrun --standalone --nproc-per-node 2 does, but the two are forked when all is imported.
    two = LaunchConfig(1, 1, 2, run_id=str(uuid.uuid4()), rdzv_backend="c10d", rdzv_endpoint="localhost:0",
                       max_restarts=0, start_method="fork")  # fmt: skip
    elastic_launch(two, work)(Path(sys.argv[1]))
