"""Overheads of training: a step with data loading over the same step with its batch in memory, for both trainers; the
speed of the loader over that of the step; and the cost of adaptive polyphase sampling over strides.

    python benchmarks/train.py DATA [--rounds 5] [--steps 4] [--gan tiny128] [--syncnet syncnet]

All parts of a round run one after another in one process (A B A B ...); the first round is dropped. The last line is
one JSON object. Absolute times depend on the machine and its load; the ratios are what to quote.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal
from unittest import mock

import numpy as np
import torch

from sidgan import checkpoint
from sidgan.config import SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.nn import SyncNet
from sidgan.train import gan
from sidgan.train.batch import prepare_batch
from sidgan.train.runs import gan_config, launch, sync_config
from sidgan.train.syncnet import SyncTask

LAST = 10**6  #: steps of the run; the last ones are timed, when all levels and losses are in use


def seconds(work: Callable[[], object], times: int) -> float:
    """Wall seconds per call, averaged over several; a GPU is synchronised."""
    begin = time.perf_counter()
    for _ in range(times):
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / times


def generator_parts(task: gan.GanTask) -> dict[str, Callable[[], object]]:
    """A generator's step with data loading, the step alone, and the loading alone."""
    rng = np.random.default_rng(0)

    def load() -> object:
        return prepare_batch(task.train.windows(rng, task.config.batch, 1), rng).to(task.fabric.device)

    resident = load()

    def pure() -> object:
        with (
            mock.patch.object(task.train, "windows", return_value=None),
            mock.patch.object(gan, "prepare_batch", return_value=resident),
        ):
            return task.step(LAST - 1)

    return {"gan_step": lambda: task.step(LAST - 1), "gan_pure": pure, "gan_load": load}


def expert_parts(task: SyncTask) -> dict[str, Callable[[], object]]:
    """The same for an expert's step."""
    rng = np.random.default_rng(0)

    def load() -> tuple[torch.Tensor, torch.Tensor]:
        return task._batch(rng, 0.0, 1.0)

    resident = load()

    def pure() -> object:
        with mock.patch.object(task.batches, "take", return_value=resident):
            return task.step(LAST - 1)

    late = itertools.count(9 * LAST // 10)  # consecutive steps, as batches are loaded ahead
    return {"sync_step": lambda: task.step(next(late)), "sync_pure": pure, "sync_load": load}


def sampling_parts(config: SyncNetConfig, device: torch.device) -> dict[str, Callable[[], object]]:
    """Forward and backward pass of a video branch, with adaptive polyphase sampling and with strides."""
    seen = torch.rand(8, 15, config.face // 2, config.face, device=device)

    def learn(net: SyncNet) -> Callable[[], object]:
        net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return lambda: net.embed_video(seen).sum().backward()

    kinds: tuple[Literal["aps", "vanilla"], ...] = ("aps", "vanilla")
    return {f"video_{kind}": learn(SyncNet(replace(config, kind=kind))) for kind in kinds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of each part in a round")
    parser.add_argument("--gan", default="tiny128")
    parser.add_argument("--syncnet", default="syncnet")
    args = parser.parse_args()
    settings, expert = gan_config(args.gan, LAST, None, []), sync_config(args.syncnet, LAST, None, [])
    fabric = launch("auto", settings.precision)
    data = PackedSet(args.data, ["train"], device=fabric.device)
    parts = (
        generator_parts(gan.GanTask(settings, data, {}, fabric, checkpoint.load_syncnet()))
        | expert_parts(SyncTask(expert, data, {}, fabric))
        | sampling_parts(expert.model, fabric.device)
    )
    rows: list[dict[str, float]] = []
    for turn in range(args.rounds + 1):
        row = {name: seconds(work, args.steps) for name, work in parts.items()}
        print(f"round {turn}{' (dropped)' if turn == 0 else ''}: "
              + "  ".join(f"{k} {1000 * v:.0f} ms" for k, v in row.items()), flush=True)  # fmt: skip
        if turn:
            rows.append(row)
    pairs = {
        "gan step / pure compute": ("gan_step", "gan_pure"), "gan loader / consumption": ("gan_pure", "gan_load"),
        "sync step / pure compute": ("sync_step", "sync_pure"), "sync loader / consumption": ("sync_pure", "sync_load"),
        "APS / strided": ("video_aps", "video_vanilla"),
    }  # fmt: skip
    card: dict[str, object] = {"benchmark": "training"}
    for name, (above, below) in pairs.items():
        ratios = sorted(row[above] / row[below] for row in rows)
        card[name] = [round(r, 3) for r in (statistics.median(ratios), ratios[0], ratios[-1])]
    card |= {"note": "median, smallest, largest; the loader works on one thread of the training process",
             "device": str(fabric.device), "cores": os.cpu_count(), "torch": torch.__version__,
             "python": platform.python_version()}  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
