"""One update of a network, also under mixed precision: fp16 scales gradients up, and that scale is a run's state."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.train.processes import agree

LARGEST = 1.0  #: norm that gradients are clipped to


def descend(fabric: Fabric, net: Any, optimiser: Any, loss: Tensor) -> bool:
    """Update a network by the clipped gradients of a loss (); returns whether that was done.

    It is left out in all processes as soon as the loss or a gradient of one of them is infinite or NaN. A finite loss
    may have such gradients, and a single step along them would spoil every weight.
    """
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(loss)
    norm = fabric.clip_gradients(net, optimiser, max_norm=LARGEST, error_if_nonfinite=False)
    finite = agree(fabric, bool(torch.isfinite(loss) & torch.isfinite(cast("Tensor", norm))))
    update(fabric, optimiser, finite)
    return finite


def update(fabric: Fabric, optimiser: Any, finite: bool) -> None:
    """Step, unless the loss or its gradients were not ``finite``.

    A gradient scaler (fp16) must see every step: it skips those with infinite gradients by itself, and then lowers its
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
