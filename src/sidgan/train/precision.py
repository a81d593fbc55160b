"""Updates, also under mixed precision. In fp16 gradients are scaled up, or they vanish; the scale is a run's state."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.train.processes import agree

LARGEST = 1.0  #: norm that gradients are clipped to


def clipped(fabric: Fabric, net: Any, optimiser: Any, loss: Tensor) -> bool:
    """Clip the gradients of a network; whether they and their loss are numbers, in all processes.

    The gradient of a finite loss may be infinite or no number, and one step along it makes all weights so.
    """
    norm = fabric.clip_gradients(net, optimiser, max_norm=LARGEST, error_if_nonfinite=False)
    return agree(fabric, bool(torch.isfinite(loss) & torch.isfinite(cast("Tensor", norm))))


def update(fabric: Fabric, optimiser: Any, finite: bool) -> None:
    """Step, unless loss or gradients were not ``finite``, as `clipped` says.

    A gradient scaler (fp16) must see every step: it leaves out those with infinite gradients itself, and lowers the
    scale.
    """
    if not finite:
        optimiser.zero_grad(set_to_none=True)  # a scaler would step where the loss alone is at fault
    if finite or getattr(fabric.strategy.precision, "scaler", None) is not None:
        optimiser.step()


def scaler_state(fabric: Fabric) -> dict[str, Any]:
    """What the precision keeps between steps: the scaler's values in fp16, nothing otherwise."""
    return dict(fabric.strategy.precision.state_dict())


def restore_scaler(fabric: Fabric, state: dict[str, Any]) -> None:
    """Go on from `scaler_state`."""
    if state:
        fabric.strategy.precision.load_state_dict(state)
