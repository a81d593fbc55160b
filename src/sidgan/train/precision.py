"""Updates under mixed precision. In fp16 gradients are scaled up, or they vanish; the scale is a run's state."""

from __future__ import annotations

from typing import Any

from lightning.fabric import Fabric


def update(fabric: Fabric, optimiser: Any, finite: bool) -> None:
    """Step, unless the loss was not ``finite``.

    A gradient scaler (fp16) must see every step: it leaves out those with infinite gradients itself, and lowers the
    scale.
    """
    if finite or getattr(fabric.strategy.precision, "scaler", None) is not None:
        optimiser.step()


def scaler_state(fabric: Fabric) -> dict[str, Any]:
    """What the precision keeps between steps: the scaler's values in fp16, nothing otherwise."""
    return dict(fabric.strategy.precision.state_dict())


def restore_scaler(fabric: Fabric, state: dict[str, Any]) -> None:
    """Go on from `scaler_state`."""
    if state:
        fabric.strategy.precision.load_state_dict(state)
