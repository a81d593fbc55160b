"""Devices by name, and the precision that suits them."""

from __future__ import annotations

import torch

from sidgan.config import require


def choose_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    require(kind in ("cpu", "cuda") and (not index or index.isdigit()), f"no device '{name}'; use auto, cpu or cuda")
    if kind == "cuda":
        count = torch.cuda.device_count()
        require(int(index or 0) < count, f"no device '{name}': this computer has {count} CUDA devices; use cpu")
    return torch.device(name)


def choose_precision(device: torch.device) -> str:
    """The mixed precision that makes training faster on a device, by Lightning's name.

    bf16 needs hardware that multiplies it: on CPUs without it, it is emulated and tens of times slower than fp32.
    """
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"
