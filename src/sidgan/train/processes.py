"""Several processes that train one network together, as ``torchrun`` starts them: one for each GPU (in tests, on CPUs).

Each draws its own share of every batch, gradients are averaged (DDP), and all take the same step. What a step draws
depends on the seed, the step and the process alone, so a run may go on with another number of processes::

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

from sidgan.config import require

N = TypeVar("N", bound=nn.Module)


def topology(where: torch.device) -> dict[str, Any]:
    """Arguments of a Fabric for the processes there are: one, or what torchrun's environment says.

    Raises:
        ConfigError: one GPU is named for several processes.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return {"accelerator": where.type, "devices": 1 if where.index is None else [where.index]}
    require(where.index is None, f"each process chooses its own GPU: give --device {where.type}, not {where}")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", str(world)))
    # Levels that are not switched on yet get no gradient, nor does a frozen audio encoder.
    strategy = DDPStrategy(find_unused_parameters=True, process_group_backend="gloo" if where.type == "cpu" else None)
    return {"accelerator": where.type, "devices": local, "num_nodes": world // local, "strategy": strategy}


def share(fabric: Fabric, batch: int, unit: int = 1) -> int:
    """How much of a batch one process draws.

    Raises:
        ConfigError: it is no multiple of ``unit`` (the frames of a window).
    """
    world = fabric.world_size
    unit *= world
    require(batch % unit == 0, f"batch must be a multiple of {unit} for {world} process(es), not {batch}")
    return batch // world


def step_rng(seed: int, index: int, fabric: Fabric) -> np.random.Generator:
    """Random numbers of one step of this process."""
    return np.random.default_rng((seed, index, fabric.global_rank))


def agree(fabric: Fabric, flag: bool) -> bool:
    """Whether a flag is set in all processes. They must decide alike, or their weights part."""
    if fabric.world_size == 1:
        return flag
    count = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return int(count) == fabric.world_size  # type: ignore[arg-type]


def normalise_together(net: N, fabric: Fabric) -> N:
    """Take the statistics of batch normalisation over all processes; torch can do that on GPUs only."""
    if fabric.world_size == 1 or fabric.device.type != "cuda":
        return net
    return cast("N", nn.SyncBatchNorm.convert_sync_batchnorm(net))


def normalise_alone(net: N) -> N:
    """Undo `normalise_together`, in place: what one process does with a network must not wait for the others."""
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.SyncBatchNorm):
                norm = nn.BatchNorm2d(child.num_features, child.eps, child.momentum).to(child.weight.device)
                norm.load_state_dict(child.state_dict())
                setattr(parent, name, norm.train(child.training))
    return net
