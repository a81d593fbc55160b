"""One update of a network, also in mixed precision: in fp16, the gradient scale is part of the state of a run."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.train.processes import agree

#: ``auto``, or one of Lightning's names. In the mixed ones, weights stay in fp32.
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]

MAX_GRAD_NORM = 1.0  #: gradients are clipped to this norm


def descend(fabric: Fabric, net: Any, optimiser: Any, loss: Tensor) -> bool:
    """Update a network by the clipped gradients of a scalar loss; returns whether the update was made.

    All processes skip it if the loss or a gradient of any of them is infinite or NaN. A finite loss may have such
    gradients, and a single step along them would spoil every weight.
    """
    optimiser.zero_grad(set_to_none=True)
    fabric.backward(loss)
    norm = fabric.clip_gradients(net, optimiser, max_norm=MAX_GRAD_NORM, error_if_nonfinite=False)
    finite = agree(fabric, bool(torch.isfinite(loss) & torch.isfinite(cast("Tensor", norm))))
    update(fabric, optimiser, finite)
    return finite


def update(fabric: Fabric, optimiser: Any, finite: bool) -> None:
    """Make the optimiser step if the loss and its gradients are ``finite``.

    A gradient scaler (fp16) must be called in any case: it skips steps with infinite gradients itself, and then lowers
    its scale.
    """
    if not finite:
        optimiser.zero_grad(set_to_none=True)  # a scaler would step if only the loss is not finite
    if finite or getattr(fabric.strategy.precision, "scaler", None) is not None:
        optimiser.step()


def scaler_state(fabric: Fabric) -> dict[str, Any]:
    """The state of the gradient scaler (fp16); empty in other precisions."""
    return dict(fabric.strategy.precision.state_dict())


def restore_scaler(fabric: Fabric, state: dict[str, Any]) -> None:
    """Restore `scaler_state`."""
    if state:
        fabric.strategy.precision.load_state_dict(state)
