"""Checks of the arguments of metrics: a `MetricError` instead of a meaningless number."""

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
    """Shape as plain integers, for messages."""
    return tuple(int(n) for n in value.shape)


def check_images(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> None:
    """Require two stacks (N, 3, S, S) uint8 of one size and, if given, a mask (N, 1, S, S)."""
    for name, value in (("images", images), ("true images", truth)):
        require(value.ndim == 4 and value.shape[1] == 3, f"{name} must be (N, 3, S, S), not {shape(value)}")
        require(value.dtype == torch.uint8, f"{name} must be uint8 in 0..255, not {value.dtype}")
    require(images.shape == truth.shape, f"images {shape(images)} and true images {shape(truth)} differ in shape")
    if mask is not None:
        expected = (len(images), 1, *shape(images)[2:])
        require(shape(mask) == expected, f"the mask must be {expected}, not {shape(mask)}")


def check_landmarks(points: Array, truth: Array) -> None:
    """Require two stacks (N, 68, 2)."""
    for name, value in (("landmarks", points), ("true landmarks", truth)):
        require(value.ndim == 3 and value.shape[1:] == (68, 2), f"{name} must be (N, 68, 2), not {shape(value)}")
    require(len(points) == len(truth), f"landmarks of {len(points)} frames, but true landmarks of {len(truth)}")


def check_series(values: Array, truth: Array) -> None:
    """Require two series (N,) of finite numbers, of one length."""
    for name, value in (("series", values), ("true series", truth)):
        require(value.ndim == 1, f"the {name} must be (N,), not {shape(value)}")
        require(bool(np.isfinite(value).all()), f"the {name} has values that are not finite; leave out those frames")
    require(len(values) == len(truth), f"the series has {len(values)} values, but the true series {len(truth)}")
