"""The common part of trainings of one network with one loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from lightning.fabric import Fabric
from torch import Tensor

from sidgan import checkpoint
from sidgan.nn import Listener, OcclusionNet
from sidgan.train.average import average_in, take_back
from sidgan.train.loop import Notes, left_out
from sidgan.train.precision import descend, restore_scaler, scaler_state
from sidgan.train.processes import normalise_together

N = TypeVar("N", Listener, OcclusionNet)


class SingleTask(Notes, Generic[N]):
    """A network, its average and its optimiser; see `sidgan.train.loop.Task`.

    Args:
        decay: weight decay of AdamW.
        ema: decay of the averaged weights, which are evaluated and exported.

    Attributes:
        net: the network, wrapped by Fabric.
        ema: the averaged network.
    """

    def __init__(self, net: N, fabric: Fabric, *, lr: float, decay: float, ema: float) -> None:
        super().__init__()
        self.fabric, self._ema_decay = fabric, ema
        self.ema: N = copy.deepcopy(net).eval().requires_grad_(False).to(fabric.device)
        optimiser = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=decay)
        self.net, self.optimiser = fabric.setup(normalise_together(net, fabric), optimiser)

    def learn(self, index: int, loss: Tensor, rate: float) -> Mapping[str, float]:
        """Make step ``index`` on a loss with learning rate ``rate``; a step that is not finite is undone."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        finite = descend(self.fabric, self.net, self.optimiser, loss)
        if finite:
            average_in(self.ema, self.net.module, index, self._ema_decay)
        else:
            take_back(self.net.module, self.ema)
        return {"loss": loss.item()} | left_out(finite)

    def state(self) -> dict[str, Any]:
        """Weights, their average, the optimiser and the gradient scaler."""
        return {"net": self.net.state_dict(), "ema": self.ema.state_dict(), "optimiser": self.optimiser.state_dict(),
                "precision": scaler_state(self.fabric)}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Restore `state`."""
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        restore_scaler(self.fabric, state.get("precision", {}))  # missing in runs of older versions

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the averaged network."""
        checkpoint.save(path, self.ema, meta)
