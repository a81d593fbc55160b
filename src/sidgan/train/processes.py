"""Distributed training: several processes, as started by ``torchrun``, one for each GPU (in tests, on CPUs).

Each process draws its share of every batch, gradients are averaged (DDP), and all make the same update. The random
numbers of a step depend only on the seed, the step and the process, so a run can be resumed with another number of
processes::

    torchrun --nproc-per-node 8 -m -- sidgan train gan DATA --config full --expert FILE
"""

from __future__ import annotations

import os
from typing import Any, TypeVar, cast

import numpy as np
import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import nn

from sidgan.settings import require

N = TypeVar("N", bound=nn.Module)


def topology(where: torch.device) -> dict[str, Any]:
    """Arguments of `Fabric` for one process, or for those that torchrun's environment variables describe.

    Raises:
        ConfigError: ``where`` names one GPU, but there are several processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return {"accelerator": where.type, "devices": 1 if where.index is None else [where.index]}
    require(where.index is None, f"each process chooses its own GPU: give --device {where.type}, not {where}")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    # Levels that are not active yet get no gradient, nor does a frozen audio encoder.
    strategy = DDPStrategy(find_unused_parameters=True, process_group_backend="gloo" if where.type == "cpu" else None)
    return {"accelerator": where.type, "devices": local, "num_nodes": world // local, "strategy": strategy}


def share(fabric: Fabric, batch: int, unit: int = 1) -> int:
    """The part of a batch that one process draws.

    Raises:
        ConfigError: ``batch`` is not a multiple of ``unit`` (the frames of a window) times the number of processes.
    """
    world = fabric.world_size
    unit *= world
    require(batch % unit == 0, f"batch must be a multiple of {unit} for {world} process(es), not {batch}")
    return batch // world


def step_rng(seed: int, index: int, fabric: Fabric) -> np.random.Generator:
    """The random generator of this process for one step."""
    return np.random.default_rng((seed, index, fabric.global_rank))


def agree(fabric: Fabric, flag: bool) -> bool:
    """Whether a flag is set in all processes. They must decide alike, or their weights diverge."""
    if fabric.world_size == 1:
        return flag
    count = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return int(count) == fabric.world_size  # type: ignore[arg-type]


def normalise_together(net: N, fabric: Fabric) -> N:
    """Synchronise batch normalisation over all processes; torch supports this on GPUs only."""
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return net
    return cast("N", nn.SyncBatchNorm.convert_sync_batchnorm(net))


def normalise_alone(net: N) -> N:
    """Undo `normalise_together`, in place, so that one process can use a network without waiting for the others."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.SyncBatchNorm):
                norm = nn.BatchNorm2d(child.num_features, child.eps, child.momentum).to(child.weight.device)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm.train(child.training))
    return net
