"""Weights on disk: one safetensors file holds the tensors and, as metadata, everything needed to rebuild the network.

Nothing in such a file is executed. Weights may be stored as fp16 and are loaded as fp32. A generator that was adapted
to a person is stored as *changes*: the tensors that differ from those of its *base*, another such file, and the base's
digest. It is loaded like any other, as long as the base can be found.

Equal tensors and metadata give equal bytes. The metadata of a training run include its duration, so the files of two
identical runs differ; `digest` compares their tensors only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import nn

from sidgan import downloads
from sidgan.arguments import checked
from sidgan.config import CriticsConfig, GeneratorConfig, ListenerConfig, OcclusionConfig, SyncNetConfig
from sidgan.errors import CheckpointError, ConfigError
from sidgan.files import ending, finished, require_weights, weights_at, writing
from sidgan.nn import VGG19, AudioEncoder, Generator, Listener, OcclusionNet, SyncNet
from sidgan.nn.baselines import Critics, build
from sidgan.settings import from_dict, to_dict

FORMAT = "sidgan-1"
N = TypeVar("N", bound=nn.Module)

#: Network class -> its kind in files, its configuration class, and its constructor (`build` makes all generators).
_KINDS: dict[type[nn.Module], tuple[str, type[Any], Callable[[Any], nn.Module]]] = {
    Generator: ("generator", GeneratorConfig, build),
    SyncNet: ("syncnet", SyncNetConfig, SyncNet),
    Listener: ("listener", ListenerConfig, Listener),
    OcclusionNet: ("occlusion", OcclusionConfig, OcclusionNet),
    Critics: ("critics", CriticsConfig, Critics),
}
Network = Generator | SyncNet | Listener | OcclusionNet | Critics


def save(
    path: Path, network: Network, meta: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write a network with its configuration.

    Args:
        path: ends in ``.safetensors``; appears only when complete.
        meta: JSON-able values to store with it (training data, duration, quality). ``lively`` becomes a generator's
            `Generator.lively` when it is loaded.
        half: store floating-point tensors as fp16.

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, network, {k: _stored(v, half) for k, v in network.state_dict().items()}, meta, {})


def save_changes(
    path: Path, network: Generator, base: Path | str = "bundled", meta: Mapping[str, Any] | None = None
) -> None:
    """Write, as fp16, only the tensors in which a generator differs from the weights it was trained from.

    Args:
        path: ends in ``.safetensors``; appears only when complete.
        base: ``bundled`` or the weights file. If that holds changes itself, the result refers to its base.
        meta: JSON-able values to store with it.

    Raises:
        OutputError: it cannot be written.
        CheckpointError: ``base`` is no generator of the same shape.
    """
    root = base_file(base)
    stored, before, after = _tensors(root), load_generator(root).state_dict(), network.state_dict()
    if {k: v.shape for k, v in before.items()} != {k: v.shape for k, v in after.items()}:
        raise CheckpointError(f"{root} does not have the shape of this network; give the weights it was trained from")
    changed = {k: _stored(v, half=True) for k, v in after.items() if not torch.equal(v.cpu(), before[k].to(v.dtype))}
    inside = bundled("generator") == root
    near = "" if inside else _near(root.resolve(), path.resolve().parent)
    name = "bundled" if inside else root.name
    own = {} if network.lively == 1 else {"lively": network.lively}
    of = {"name": name, "near": near, "digest": digest(stored)}
    _write(path, network, changed, own | dict(meta or {}), {"base": json.dumps(of)})


def _near(file: Path, folder: Path) -> str:
    """Relative path from a folder to a file, as absolute paths are private; empty if they are on different drives."""
    try:
        return os.path.relpath(file, folder)
    except ValueError:
        return ""


def base_file(path: Path | str) -> Path:
    """The file that holds a complete generator: ``path`` itself, or the base of the changes in it.

    Raises:
        CheckpointError: not a weights file of this package, or its base is not there.
    """
    file = file_of(path)
    header = read_meta(file)
    return _base_of(file, header["base"])[0] if "base" in header else file


def _write(
    path: Path, network: Network, tensors: dict[str, torch.Tensor], meta: Mapping[str, Any] | None,
    more: Mapping[str, str],
) -> None:  # fmt: skip
    """Write a file whose bytes depend on its contents only; safetensors itself writes metadata in a random order."""
    kind = next(name for one, (name, *_) in _KINDS.items() if isinstance(network, one))
    metadata = {
        "format": FORMAT, "kind": kind, "config": json.dumps(to_dict(network.config)),
        "meta": json.dumps(dict(meta or {}), sort_keys=True), **more,
    }  # fmt: skip
    written = serialised(tensors, metadata)
    size = int.from_bytes(written[:8], "little")
    header = json.dumps(json.loads(written[8 : 8 + size]) | {"__metadata__": metadata}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors are aligned to 8 bytes
    with finished(path) as part, writing(path), part.open("wb") as file:
        file.writelines((len(header).to_bytes(8, "little"), header, memoryview(written)[8 + size :]))


def _stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    tensor = tensor.detach().cpu().contiguous()
    return tensor.half() if half and tensor.is_floating_point() else tensor


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of the tensors' names, types, shapes and values, independent of a file's metadata."""
    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].cpu().contiguous()
        sha256.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha256.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()


def bundled(kind: str) -> Path:
    """Path of the weights that come with the package: ``generator``, its ``critics``, ``syncnet`` or ``occlusion``."""
    return Path(str(resources.files("sidgan") / "weights" / f"{kind}.safetensors"))


def read_meta(path: Path) -> dict[str, Any]:
    """The metadata of a weights file: ``kind``, ``config`` and ``meta``; no tensor is read.

    A file of changes also has ``base``: ``name``, relative path ``near`` and ``digest`` of the weights it refers to.

    Raises:
        CheckpointError: not a weights file of this package.
    """
    require_weights(path)
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        if ending(path) == ".onnx":
            text = f"{path} is an exported model, which can only dub; give the weights file it was exported from"
            raise CheckpointError(text) from None
        raise CheckpointError(f"{path} is not a safetensors file, or is damaged ({error})") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} was not written by sidgan; give a file from 'sidgan train' or the bundled one")
    try:
        return _parsed(header)
    except (KeyError, ValueError, TypeError, AttributeError):
        text = f"{path} is damaged: its metadata cannot be read; download or create it again"
        raise CheckpointError(text) from None


def _parsed(header: Mapping[str, str]) -> dict[str, Any]:
    """A file's metadata as values; raises one of several built-in errors where `_write` did not write them."""
    found: dict[str, Any] = {"kind": header["kind"]}
    found |= {key: dict(json.loads(header[key])) for key in ("config", "meta")}
    if "base" in header:
        base = json.loads(header["base"])
        found["base"] = {key: "" + base[key] for key in ("name", "near", "digest")}  # a TypeError if not text
    return found


@checked
def load_generator(path: Path | str = "bundled") -> Generator:
    """A generator in eval mode, fp32, on the CPU. ``bundled`` names the one that comes with the package."""
    return _load(path, Generator)


@checked
def load_syncnet(path: Path | str = "bundled") -> SyncNet:
    """A sync expert in eval mode, fp32, on the CPU. ``bundled`` names the one that comes with the package."""
    return _load(path, SyncNet)


def load_listener(path: Path | str) -> Listener:
    """A listener in eval mode, fp32, on the CPU."""
    return _load(path, Listener)


def load_occlusion(path: Path | str = "bundled") -> OcclusionNet:
    """An occlusion network in eval mode, fp32, on the CPU. ``bundled`` names the one that comes with the package."""
    return _load(path, OcclusionNet)


def save_critics(
    weights: Path, critics: Critics, meta: Mapping[str, Any] | None = None, *, half: bool = False
) -> None:
    """Write the critics that a generator was trained against beside its weights, with the digest of the weights.

    Args:
        weights: the generator's file, already written.
        meta, half: as for `save`.

    Raises:
        OutputError: it cannot be written.
    """
    save(critics_file(weights), critics, {**(meta or {}), "of": digest(_tensors(weights))}, half=half)


def load_critics(
    path: Path | str = "bundled", say: Callable[[str], None] = lambda line: None
) -> Critics | None:
    """The critics that a generator was trained against, in eval mode, fp32, on the CPU; ``None`` if none are stored.

    Two generators in one folder would share the file of critics, so critics with the digest of other weights are not
    used. Critics without a digest are taken for the generator's.

    Args:
        path: the generator's weights, or changes to such weights.
        say: called with one line if the critics belong to other weights.
    """
    weights = base_file(path)
    file = critics_file(weights)
    if not file.is_file():
        return None
    critics = _load(file, Critics)
    of = read_meta(file)["meta"].get("of")
    if of is not None and of != digest(_tensors(weights)):
        say(f"the {file.name} beside {weights.name} belongs to other weights and was not used; keep each generator "
            "in a folder with its own critics")  # fmt: skip
        return None
    return critics


def critics_file(path: Path) -> Path:
    """The file of the critics that belong to a generator's weights file, in the same folder."""
    return path.with_name("critics.safetensors")


def load_vgg(source: Path | str = "published") -> VGG19:
    """VGG19 with published or random weights.

    Args:
        source: a published file (.pth or .safetensors), a name of `sidgan.downloads.VGGS` (downloaded once), or
            ``random`` (seeded).

    Raises:
        CheckpointError: the file is missing or holds something else.
        DownloadError: a published file cannot be downloaded.
    """
    if source == "random":
        return VGG19()
    downloads.require_vgg(source)
    known = downloads.VGGS.get(str(source))
    file = Path(source) if known is None else downloads.fetch(known)
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # both readers raise errors of many kinds for files of other formats
        raise CheckpointError(f"{file} cannot be read as weights of VGG19; fetch it again") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} does not hold the weights of VGG19")
    vgg = VGG19(state)
    if known is None:
        vgg.source = f"weights of {file.name}"
    return vgg


def load_ears(path: Path | str) -> AudioEncoder:
    """The audio encoder of a generator, expert or listener; ``bundled`` names the bundled generator's.

    Raises:
        CheckpointError: not a weights file of this package, or a generator with another kind of audio encoder.
    """
    kind = read_meta(file_of(path))["kind"]
    if kind == "generator":
        ears = load_generator(path).ears
        if ears is None:
            raise CheckpointError(f"{path} holds a generator whose audio encoder cannot be used in other networks")
        return ears
    return load_listener(path).audio if kind == "listener" else load_syncnet(path).audio


def _load(path: Path | str, network: type[N]) -> N:
    kind, config_type, make = _KINDS[network]
    file = file_of(path, kind)
    header = read_meta(file)
    if header["kind"] != kind:
        raise CheckpointError(f"{file} holds a {header['kind']}, not a {kind}")
    state = _tensors(file)
    if "base" in header:
        state = _base_of(file, header["base"])[1] | state
    try:
        model = cast("N", make(from_dict(config_type, header["config"])))
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
        if isinstance(model, Generator):
            model.lively = float(header["meta"].get("lively", 1))
    except (ConfigError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{file} does not fit this version of sidgan ({reason})") from None
    return model.eval()


def file_of(path: Path | str, kind: str = "generator") -> Path:
    """The weights file that a user names by its path, by the folder of its run, or as ``bundled``."""
    return bundled(kind) if str(path) == "bundled" else weights_at(path)


def file_of_kind(path: Path | str, kind: str) -> Path:
    """The given weights file, or the bundled one; raises `SidganError` if it does not hold weights of this kind."""
    file = file_of(path, kind)
    found = read_meta(file)["kind"]
    if found != kind:
        raise CheckpointError(f"{file} holds a {found}, not a {kind}; give another")
    return file


def _tensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(file, "pt") as tensors:
            return {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118  not a dict
    except SafetensorError as error:
        raise CheckpointError(f"{file} does not fit this version of sidgan ({error})") from None


def _base_of(file: Path, base: Mapping[str, str]) -> tuple[Path, dict[str, torch.Tensor]]:
    """The weights file that a file of changes refers to, and its tensors.

    It is the bundled one, or is searched at its path relative to ``file``, then in the same folder.

    Raises:
        CheckpointError: no file with the base's digest is there.
    """
    name, short = base["name"], base["digest"][:12]
    if name == "bundled":
        candidates = [bundled("generator")]
    else:
        candidates = list(dict.fromkeys([file.resolve().parent / base["near"], file.resolve().parent / name]))
    found = [candidate for candidate in candidates if candidate.is_file()]
    for candidate in found:
        with suppress(CheckpointError):  # another kind of file of that name
            tensors = _tensors(candidate)
            if digest(tensors) == base["digest"]:
                return candidate, tensors
    what = f"{file} holds the changes that adaptation made to other weights ({name}, digest {short}...)"
    if name == "bundled":
        raise CheckpointError(f"{what}, bundled with another version of sidgan; use that version or adapt again")
    if found:
        raise CheckpointError(f"{what}, and {found[0]} is not those weights; put the right file there or adapt again")
    raise CheckpointError(f"{what}, which are missing; put {name} beside it")
