"""One line for what cannot be judged, instead of a number that means nothing."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sidgan.errors import MetricError
from sidgan.types import Array


def require(condition: bool, message: str) -> None:
    """Raise `MetricError` unless ``condition`` holds."""
    if not condition:
        raise MetricError(message)


def shape(value: Array | Tensor) -> tuple[int, ...]:
    """As plain numbers, which print well."""
    return tuple(int(n) for n in value.shape)


def pictures(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> None:
    """Two stacks (N, 3, S, S) uint8 of one size and, if given, a mask (N, 1, S, S)."""
    for name, value in (("pictures", images), ("true pictures", truth)):
        require(value.ndim == 4 and value.shape[1] == 3, f"{name} must be (N, 3, S, S), not {shape(value)}")
        require(value.dtype == torch.uint8, f"{name} must be uint8 in 0..255, not {value.dtype}")
    require(images.shape == truth.shape, f"pictures {shape(images)} and true pictures {shape(truth)} differ in shape")
    if mask is not None:
        wanted = (len(images), 1, *shape(images)[2:])
        require(shape(mask) == wanted, f"the mask must be {wanted}, not {shape(mask)}")


def landmarks(points: Array, truth: Array) -> None:
    """Two stacks (N, 68, 2)."""
    for name, value in (("landmarks", points), ("true landmarks", truth)):
        require(value.ndim == 3 and value.shape[1:] == (68, 2), f"{name} must be (N, 68, 2), not {shape(value)}")
    require(len(points) == len(truth), f"landmarks of {len(points)} frames, true ones of {len(truth)}")


def series(values: Array, truth: Array) -> None:
    """Two series (N,) of finite numbers, of one length."""
    for name, value in (("series", values), ("true series", truth)):
        require(value.ndim == 1, f"the {name} must be (N,), not {shape(value)}")
        require(bool(np.isfinite(value).all()), f"the {name} has values that are not finite; leave those frames out")
    require(len(values) == len(truth), f"the series has {len(values)} values, the true one {len(truth)}")
