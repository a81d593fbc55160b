"""Converts weights published by the authors of compared systems to files of this package.

The system and its size are recognised by the names and shapes of the tensors. Nothing in a file is executed. Wav2Lip
and LipGAN use BGR images; the channels of their first and last convolutions are reversed, so that the converted
networks take and return RGB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sidgan import checkpoint
from sidgan.config import GeneratorConfig
from sidgan.errors import CheckpointError, ConfigError, SidganError
from sidgan.files import check_target, digest
from sidgan.nn import count_parameters
from sidgan.nn.baselines import PCAVS, Baseline, LipGAN, Wav2Lip
from sidgan.nn.baselines.pcavs import POSE
from sidgan.settings import require

#: System -> terms of use of its weights, as their authors state them.
TERMS = {
    "wav2lip": "for personal, research and non-commercial purposes only (Wav2Lip's README)",
    "lipgan": "code MIT, but weights for non-commercial purposes only (LipGAN's README)",
    "pcavs": "CC BY 4.0 (PC-AVS's LICENSE); trained on VoxCeleb2, whose videos are for research",
}
REVERSED = [2, 1, 0]  #: channel order that turns BGR into RGB


class Converted(NamedTuple):
    """A network with published weights."""

    network: Baseline
    system: str  #: key of `TERMS`
    whole: bool  #: whether all weights are published; otherwise the rest is random and must be trained


def convert(file: Path, out: Path) -> str:
    """Convert published weights.

    Args:
        file: ``wav2lip_gan.pth`` or ``wav2lip.pth`` of Wav2Lip; ``lipgan_residual_mel.h5`` of LipGAN;
            ``latest_net_G.pth`` of PC-AVS, of which only the synthesis network is used: its encoders expect another
            spectrogram, so the encoders here are random and must be trained.
        out: ends in ``.safetensors``; appears only when complete.

    Returns:
        One line about what was written, and its terms of use.

    Raises:
        CheckpointError: not one of these files.
        SidganError: Keras weights, but h5py is not installed.
        OutputError: ``out`` cannot be written.
    """
    require(out.suffix == ".safetensors", f"{out} must end in .safetensors")
    check_target(out)
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name")
    try:
        made = _keras(file) if file.suffix in (".h5", ".hdf5") else _torch(file)
    except (ConfigError, KeyError, IndexError, ValueError) as error:  # a known system, but of other names or shapes
        raise CheckpointError(f"{file} holds weights of an unknown network ({error})") from None
    terms, config = TERMS[made.system], made.network.config
    checkpoint.save(out, made.network, {"published_as": file.name, "sha256": digest(file), "terms": terms})
    line = (f"{out}: {config.kind}, {config.size} px, {count_parameters(made.network) / 1e6:.1f} million weights; "
            f"{terms}")  # fmt: skip
    if made.whole:
        return line
    return f"{line}. Only what draws came with {file.name}: train the rest with sidgan train gan --start {out}"


def _torch(file: Path) -> Converted:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch raises errors of many kinds, whose texts advise to load untrusted files unsafely
        raise CheckpointError(f"{file} cannot be read as weights; give the file as it was published") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    state = {str(k).removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}
    if "face_encoder_blocks.0.0.conv_block.0.weight" in state and "output_block.1.weight" in state:
        return _wav2lip(file, state)
    if "to_rgb1.conv.weight" in state:
        return _pcavs(file, state)
    raise CheckpointError(f"{file} is neither a generator of Wav2Lip (wav2lip_gan.pth) nor of PC-AVS "
                          "(latest_net_G.pth)")  # fmt: skip


def _wav2lip(file: Path, state: dict[str, Tensor]) -> Converted:
    last = max(int(k.split(".")[1]) for k in state if k.startswith("face_encoder_blocks."))
    cmax, _, start, _ = state[f"face_encoder_blocks.{last}.0.conv_block.0.weight"].shape
    size = start << (last - 1)
    network = Wav2Lip(GeneratorConfig(
        kind="wav2lip" if size <= 96 else "wav2lip384", size=size, start=start, cmax=cmax, rgb_levels=(size,),
        base=len(state["face_encoder_blocks.0.0.conv_block.0.weight"]), audio_levels=(),
        audio_width=len(state["audio_encoder.0.conv_block.0.weight"]),
    ))  # fmt: skip
    for name, axis in (("face_encoder_blocks.0.0.conv_block.0.weight", 1), ("output_block.1.weight", 0),
                       ("output_block.1.bias", 0)):  # fmt: skip
        state[name] = _rgb(state[name], axis)
    _fill(file, "Wav2Lip", network, state)
    return Converted(network, "wav2lip", True)


def _pcavs(file: Path, state: dict[str, Tensor]) -> Converted:
    _, channels, start, _ = state["input.input"].shape
    doublings = len([k for k in state if re.fullmatch(r"to_rgbs\.\d+\.bias", k)])
    size, code = start << doublings, state["conv1.conv.modulation.weight"].shape[1]
    finest = state[f"to_rgbs.{doublings - 1}.conv.weight"].shape[2] if doublings else channels
    require(code == 5 * channels and channels > POSE, f"codes of {code} numbers for {channels} channels")
    network = PCAVS(GeneratorConfig(kind="pcavs", size=size, start=start, base=finest, cmax=channels,
                                    rgb_levels=(size,), audio_levels=()))  # fmt: skip
    # Convolution weights have a leading batch axis; the mapping network and kernels of fixed filters are not used here.
    synthesis = {k: v[0] if re.search(r"conv\.weight$", k) else v for k, v in state.items()
                 if not k.startswith("style.") and not k.endswith(".kernel")}  # fmt: skip
    _fill(file, "PC-AVS", network.synthesis, synthesis)
    return Converted(network, "pcavs", False)


def _fill(file: Path, system: str, network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights whose names are those of ``network``.

    Raises:
        CheckpointError: a name is missing or unknown, or a shape differs.
    """
    own = {k: v for k, v in network.state_dict().items() if k != "usual"}
    wrong = [k for k, v in own.items() if k not in state or state[k].shape != v.shape]
    wrong = [k for k in wrong if not k.endswith("num_batches_tracked")] + sorted(state.keys() - own.keys())
    if wrong:
        raise CheckpointError(f"{file} is from another version of {system}: '{wrong[0]}' is missing, unknown or has "
                              "another shape")  # fmt: skip
    network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, strict=False)


# --------------------------------------------------------------------------------------------------------- Keras

Layer = dict[str, Tensor]  #: a layer's arrays by name


def _keras(file: Path) -> Converted:
    plain, transposed, norms = _layers(file)
    audio = [i for i, layer in enumerate(plain) if layer["kernel"].shape[2] == 1]  # mel windows have one channel
    if not (transposed and audio and plain[0]["kernel"].shape[2] == 6):
        raise CheckpointError(f"{file} holds no generator of LipGAN, such as lipgan_residual_mel.h5")
    start = transposed[0]["kernel"].shape[0]
    size = start << (len(transposed) - 1)
    network = LipGAN(GeneratorConfig(
        kind="lipgan", size=size, start=start, base=plain[0]["kernel"].shape[3], rgb_levels=(size,), audio_levels=(),
        cmax=plain[audio[0] - 1]["kernel"].shape[3], audio_width=plain[audio[0]]["kernel"].shape[3],
    ))  # fmt: skip
    plain[0]["kernel"] = _rgb(plain[0]["kernel"], 2)
    plain[-1] = {"kernel": _rgb(plain[-1]["kernel"], 3), "bias": _rgb(plain[-1]["bias"], 0)}
    groups: tuple[tuple[type[nn.Module], list[Layer], dict[str, str]], ...] = (
        (nn.Conv2d, plain, {"weight": "kernel", "bias": "bias"}),
        (nn.ConvTranspose2d, transposed, {"weight": "kernel", "bias": "bias"}),
        (nn.BatchNorm2d, norms, {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean",
                                 "running_var": "moving_variance"}),
    )  # fmt: skip
    for kind, layers, names in groups:
        modules = [m for m in network.modules() if isinstance(m, kind)]
        _fill_keras(file, modules, layers, names)
    return Converted(network, "lipgan", True)


def _fill_keras(
    file: Path, modules: Sequence[nn.Module], layers: Sequence[Layer], names: Mapping[str, str]
) -> None:
    """Load layers in the order in which they were created; Keras kernels are (rows, columns, inputs, outputs)."""
    found = [{torch_name: layer[keras_name] for torch_name, keras_name in names.items()} for layer in layers]
    found = [{k: v.permute(3, 2, 0, 1) if v.dim() == 4 else v for k, v in one.items()} for one in found]
    shapes = [{k: module.state_dict()[k].shape for k in names} for module in modules]
    if [{k: v.shape for k, v in one.items()} for one in found] != shapes:
        raise CheckpointError(f"{file} is of LipGAN, but not its residual network for mel spectrograms; that is "
                              "lipgan_residual_mel.h5")  # fmt: skip
    for module, one in zip(modules, found, strict=True):
        module.load_state_dict(one, strict=False)


def _layers(file: Path) -> tuple[list[Layer], list[Layer], list[Layer]]:
    """Convolutions, transposed convolutions and normalisations, each in the order of the numbers in their names."""
    try:
        import h5py
    except ImportError:
        raise SidganError("weights of Keras need h5py; run: pip install 'sidgan[keras]'") from None
    layers: dict[str, Layer] = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not path.startswith("optimizer_weights"):
            layer, _, name = path.rpartition("/")
            layers.setdefault(layer, {})[name.partition(":")[0]] = torch.from_numpy(item[()]).float()

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except (OSError, TypeError) as error:
        raise CheckpointError(f"{file} cannot be read as weights of Keras ({error})") from None

    def numbered(prefix: str, part: str) -> list[Layer]:
        named = {path.rpartition("/")[2]: layer for path, layer in layers.items() if part in layer}
        matches = {name: re.fullmatch(prefix + r"(?:_(\d+))?", name) for name in named}
        return [named[name] for _, name in sorted((int(m[1] or 0), name) for name, m in matches.items() if m)]

    kinds = (("conv2d", "kernel"), ("conv2d_transpose", "kernel"), ("batch_normalization", "gamma"))
    plain, transposed, norms = (numbered(*kind) for kind in kinds)
    return plain, transposed, norms


def _rgb(weights: Tensor, axis: int) -> Tensor:
    """Reverse the colour channels on ``axis``, from BGR to RGB; there are 3 of one image or 6 of two."""
    order = torch.tensor([i + 3 * k for k in range(weights.shape[axis] // 3) for i in REVERSED])
    return weights.index_select(axis, order)
