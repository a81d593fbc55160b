"""Devices by name, and the precision to use on them."""

from __future__ import annotations

import torch

from sidgan.settings import require


def is_device(name: str) -> bool:
    """Whether a text is the name of a device: ``cpu``, ``cuda`` or ``cuda:N``."""
    kind, _, index = name.partition(":")
    return name in ("cpu", "cuda") or (kind == "cuda" and index.isdecimal())


def require_device(name: str) -> None:
    """Raise `ConfigError` unless a setting is the name of a device, which may belong to another computer."""
    require(is_device(name), f"device must be cpu, cuda or cuda:N, not {name}")


def choose_device(name: str) -> torch.device:
    """The device for ``auto`` (CUDA if available, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``, with N from 0.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    require(is_device(name), f"no device '{name}'; use auto, cpu, cuda or cuda:N")
    kind, _, index = name.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count()
        require(int(index or 0) < count, f"no device '{name}': this computer has {count} CUDA devices; use cpu")
    return torch.device(name)


def choose_precision(device: torch.device) -> str:
    """The fastest precision on a device, by Lightning's name: ``bf16-mixed`` or ``32-true``.

    bf16 needs hardware support. Otherwise it is emulated: on CPUs tens of times slower than fp32, and slower on GPUs
    before Ampere (compute capability 8.0) as well, although torch reports it as supported there.
    """
    if device.type == "cuda":
        native = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()  # torch has no public function for it
    return "bf16-mixed" if native else "32-true"
