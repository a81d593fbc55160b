"""Weights on disk: one safetensors file holds the tensors and, as metadata, everything needed to rebuild the network.

Nothing in such a file is executed. Weights may be stored as fp16 and are loaded as fp32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from sidgan.config import GeneratorConfig, SyncNetConfig, from_dict, to_dict
from sidgan.errors import CheckpointError, ConfigError
from sidgan.files import finished, writing
from sidgan.nn import Generator, SyncNet

FORMAT = "sidgan-1"
N = TypeVar("N", bound=nn.Module)

_KINDS: dict[type[nn.Module], tuple[str, type[Any]]] = {
    Generator: ("generator", GeneratorConfig),
    SyncNet: ("syncnet", SyncNetConfig),
}


def save(
    path: Path, network: Generator | SyncNet, meta: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write a network with its configuration.

    Args:
        path: ends in ``.safetensors``; appears only when complete.
        meta: plain values to keep with it (what it was trained on, for how long, how good).
        half: store floating-point tensors as fp16.

    Raises:
        OutputError: it cannot be written.
    """
    kind, _ = _KINDS[type(network)]
    tensors = {k: _stored(v, half) for k, v in network.state_dict().items()}
    header = {
        "format": FORMAT, "kind": kind, "config": json.dumps(to_dict(network.config)),
        "meta": json.dumps(dict(meta or {})),
    }  # fmt: skip
    with finished(path, SafetensorError) as part, writing(path, SafetensorError):
        save_file(tensors, part, metadata=header)


def _stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def bundled(kind: str) -> Path:
    """Path of the weights that come with the package: ``generator`` or ``syncnet``."""
    return Path(str(resources.files("sidgan") / "weights" / f"{kind}.safetensors"))


def read_meta(path: Path) -> dict[str, Any]:
    """What a weights file says about itself: ``kind``, ``config`` and ``meta``; no tensor is read.

    Raises:
        CheckpointError: not a weights file of this package.
    """
    if not path.is_file():
        raise CheckpointError(f"no weights file {path}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged ({error})") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} was not written by sidgan; give a file from 'sidgan train' or the bundled one")
    return {"kind": header["kind"], "config": json.loads(header["config"]), "meta": json.loads(header["meta"])}


def load_generator(path: Path | str = "bundled") -> Generator:
    """A generator in eval mode, fp32, on the CPU. ``bundled`` names the one that comes with the package."""
    return _load(path, Generator)


def load_syncnet(path: Path | str = "bundled") -> SyncNet:
    """A sync expert in eval mode, fp32, on the CPU. ``bundled`` names the one that comes with the package."""
    return _load(path, SyncNet)


def _load(path: Path | str, network: type[N]) -> N:
    kind, config_type = _KINDS[network]
    file = bundled(kind) if str(path) == "bundled" else Path(path)
    header = read_meta(file)
    if header["kind"] != kind:
        raise CheckpointError(f"{file} holds a {header['kind']}, not a {kind}")
    try:
        model = network(from_dict(config_type, header["config"]))
        with safe_open(file, "pt") as tensors:
            state = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  not a dict
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (ConfigError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file} does not fit this version of sidgan ({reason})") from None
    return model.eval()
