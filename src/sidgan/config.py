"""Settings of the networks and of training: frozen dataclasses, read from TOML and written beside every run as JSON.

Every field says its unit or range. Unknown keys are errors that name the nearest known one; nothing is ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from sidgan.errors import ConfigError

C = TypeVar("C")

AUDIO_FEATURES = 512  #: channels of the audio embedding f_A, whatever the width of the encoder (Sec. 3.1)
MEL_BANDS = 80  #: rows of a mel window (Sec. 3.4)
MEL_STEPS = 16  #: columns of a mel window: 0.2 s
MEL_MARGIN = 6  #: columns on each side of it that data and dubbing hand out too: 0.35 s in all
MEL_HOP = 3  #: columns from one window to the next where a generator listens to several
FPS = 25  #: frames a second of faces that networks are trained on and judged with, whatever their video's rate
SYNC_FRAMES = 5  #: frames of a sync window: 0.2 s at 25 fps (Eq. 2)


@dataclass(frozen=True)
class SyncNetConfig:
    """An audio-visual synchronisation expert (Sec. 3.3.1).

    Attributes:
        kind: ``aps`` (stride-1 convolutions + adaptive polyphase sampling, circular padding, global pooling)
            or ``vanilla`` (strided convolutions, zero padding, flattened head).
        face: side in px of the square face the expert looks at; it sees the lower half, (face / 2, face).
        width: channels of the first video block; the paper-size network has 32.
        audio_width: channels of the first audio block; the paper-size network has 32.
        blocks: residual blocks after each downsampling, as a fraction of the paper-size network's (2, 3, 2, 2).
        lpf: taps of the binomial low-pass before polyphase sampling: 1 (none, the paper) or 3.
        aps_audio: where the audio branch samples adaptively: ``none``, ``freq`` (mel axis only) or ``full``.
    """

    kind: Literal["aps", "vanilla"] = "aps"
    face: int = 128
    width: int = 32
    audio_width: int = 32
    blocks: float = 1.0
    lpf: Literal[1, 3] = 1
    aps_audio: Literal["none", "freq", "full"] = "none"

    def __post_init__(self) -> None:
        require(self.face in (96, 128), f"face must be 96 or 128 px, not {self.face}")
        require_between(self, 1, math.inf, "width", "audio_width")
        require_between(self, 0, math.inf, "blocks")


@dataclass(frozen=True)
class ListenerConfig:
    """A network that tells speech sounds apart, whose audio encoder an expert or a generator takes over.

    Attributes:
        audio_width, blocks, aps_audio: of that encoder, as in `SyncNetConfig`.
    """

    audio_width: int = 32
    blocks: float = 1.0
    aps_audio: Literal["none", "freq", "full"] = "none"

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "audio_width")
        require_between(self, 0, math.inf, "blocks")


@dataclass(frozen=True)
class OcclusionConfig:
    """A network that sees what lies before a face.

    Attributes:
        width: channels at full resolution; coarser levels have two, three and four times as many.
    """

    width: int = 16

    def __post_init__(self) -> None:
        require(self.width >= 8 and self.width % 8 == 0, f"width must be a multiple of 8, not {self.width}")


@dataclass(frozen=True)
class GeneratorConfig:
    """The pyramid generator with its encoders (Sec. 3.1, 3.2), or one of the systems it is compared with (Sec. 4).

    Attributes:
        kind: ``sidgan``, or one of `sidgan.nn.baselines`: ``lipgan``, ``wav2lip``, ``wav2lip384`` (the same network,
            made for larger faces), ``pcavs``. These have ``size``, ``base``, ``cmax``, ``start``, the side of the
            coarsest map, and ``audio_width``; they have no choice in the rest.
        size: side S of query, reference and finest output in px.
        base: channels at resolution ``size``; doubled with every halving up to ``cmax``.
        cmax: most channels anywhere.
        start: resolution of the first block, whose input is the query resized to it.
        rgb_levels: resolutions at which an RGB block makes an output, coarse to fine; the last is ``size``.
        rgb: ``direct``: every output is drawn anew from the features. ``laplacian``: each adds detail to the coarser
            output, enlarged (the alternative that Sec. 3.2 rejects, as it cannot undo what is wrong there).
            ``copying``: each pixel is a mix of three, in learnt shares: drawn anew, the reference's and the query's.
        trunk: size of the network within, whose encoders begin there and see pictures reduced to it; the levels above
            look at the larger pictures each with a layer of its own, and correct the trunk's ``copying`` output,
            enlarged. They begin with no correction, so a larger generator goes on where a smaller one was. 0, as in
            the paper: the encoders begin at ``size``.
        warp_levels: resolutions whose blocks say how the reference moves to fit the query and the sound; the blocks
            after them see it moved, and so does ``copying``. None in the paper.
        audio_levels: resolutions of the blocks that take the audio feature.
        audio_inject: ``adain`` (scale and shift after normalisation) or ``concat`` (tiled and concatenated).
        audio_width: first width of the audio encoder, which comes out of a SyncNet of the same ``audio_width``.
        audio_blocks: the ``blocks`` fraction of that SyncNet.
        aps_audio: the ``aps_audio`` of that SyncNet.
        audio_context: windows of 0.2 s that are heard on each side of the frame's own, 37.5 ms apart: 0, the paper, to
            2. Their features are mixed in learnt shares.
    """

    kind: Literal["sidgan", "lipgan", "wav2lip", "wav2lip384", "pcavs"] = "sidgan"
    size: int = 512
    base: int = 32
    cmax: int = 512
    start: int = 16
    rgb_levels: tuple[int, ...] = (128, 256, 512)
    rgb: Literal["direct", "laplacian", "copying"] = "direct"
    trunk: int = 0
    warp_levels: tuple[int, ...] = ()
    audio_levels: tuple[int, ...] = (16, 32, 64)
    audio_inject: Literal["adain", "concat"] = "adain"
    audio_width: int = 32
    audio_blocks: float = 1.0
    aps_audio: Literal["none", "freq", "full"] = "none"
    audio_context: int = 0

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "size", "base", "cmax", "start", "audio_width")
        require_between(self, 0, math.inf, "audio_blocks")
        require_between(self, 0, MEL_MARGIN // MEL_HOP, "audio_context")
        levels = self.levels
        require(levels[-1] == self.size, f"size {self.size} must be start {self.start} times a power of two")
        require(bool(self.rgb_levels) and self.rgb_levels[-1] == self.size, f"rgb_levels must end with {self.size}")
        fine = [r for r in levels if r >= (self.trunk or self.size)]
        require(self.trunk in (0, *levels[:-1]), f"trunk must be 0 or a level below {self.size}, not {self.trunk}")
        require(self.rgb == "copying" or not self.trunk, "trunk needs rgb = 'copying'; set that, or trunk = 0")
        require(set(fine) <= set(self.rgb_levels), f"every level from the trunk on needs an output: add {fine}")
        unknown = (set(self.rgb_levels) | set(self.audio_levels) | set(self.warp_levels)) - set(levels)
        require(not unknown, f"levels {sorted(unknown)} are not among the block resolutions {levels}")
        if self.kind != "sidgan":
            plain = GeneratorConfig(
                size=self.size, base=self.base, cmax=self.cmax, start=self.start, rgb_levels=(self.size,),
                audio_levels=(), audio_width=self.audio_width,
            )  # fmt: skip
            wanted = to_dict(plain) | {"kind": self.kind}
            other = [f"{name} = {json.dumps(wanted[name])}" for name, v in to_dict(self).items() if v != wanted[name]]
            require(not other, f"for a {self.kind} generator, set {', '.join(other)}")

    @property
    def sees_mouth(self) -> bool:
        """Whether queries are shown unmasked, as PC-AVS takes nothing but the pose from them."""
        return self.kind == "pcavs"

    @property
    def base_size(self) -> int:
        """Side at which the encoders begin: the trunk's, or ``size``."""
        return self.trunk or self.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the pictures that the generator can be shown: from the trunk on all levels, else ``size``."""
        return tuple(r for r in self.levels if r >= self.base_size)

    @property
    def levels(self) -> tuple[int, ...]:
        """Block resolutions, coarse to fine: start, 2 start, ..., size."""
        sizes = [self.start]
        while sizes[-1] < self.size:
            sizes.append(sizes[-1] * 2)
        return tuple(sizes)

    @property
    def references(self) -> int:
        """Pictures of a person that serve the generator best: a pair where it moves them, else one."""
        return 2 if self.warp_levels else 1

    def channels(self, level: int) -> int:
        """Width of the encoder maps and of the generator block at one resolution."""
        return min(self.cmax, self.base * (self.size // level))


@dataclass(frozen=True)
class DiscriminatorConfig:
    """A discriminator for one level (Sec. 3.4).

    Attributes:
        base, cmax: channels of its first layer, and at most.
        layers: convolutions that halve the picture.
        kind: ``patch``, the paper's, or that of a compared system (`sidgan.nn.baselines.critics`): ``sound`` (LipGAN:
            do face and sound belong together), ``half`` (Wav2Lip: is the lower half real), ``scales`` (PC-AVS: patches
            of the picture and of its half). The kind decides the loss as well.
        sees: of patches: ``face``, the whole picture; or ``detail``, what is fine in its lower half, where the mouth
            is. Faces that are mostly copied differ from true ones in little else, which a critic of faces finds only
            after very long.
    """

    base: int = 64
    cmax: int = 512
    layers: int = 3
    kind: Literal["patch", "sound", "half", "scales"] = "patch"
    sees: Literal["face", "detail"] = "face"


@dataclass(frozen=True)
class CriticsConfig:
    """The discriminators that a generator was trained against, by level."""

    levels: dict[int, DiscriminatorConfig]


@dataclass(frozen=True)
class LossWeights:
    """Weights of Eq. 4 at one level; the paper gives none.

    Attributes:
        l1: alpha.
        mouth: how often L1 counts inside the query mask, where it counts once outside. 1 is the paper's plain L1, as in
            the presets ``paper`` and, but for its finest level, ``full``; small generators learn sooner with more.
        lips: how much more it counts on the lips, which are what the voice decides about but only a fraction of the
            mask: 1 + (mouth - 1) (1 + lips) times. 0 is no more than the mask, -1 no more than the rest of the face.
        features: beta, of the contextual loss (or what `GanTrainConfig.features` names in its place).
        frequency: gamma, of the focal frequency loss. It is some fifty times smaller than L1.
        gan: mu.
        sync: lambda.
        content: of the contrastive loss between what PC-AVS hears and what it reads from lips.
    """

    l1: float = 1.0
    features: float = 0.0
    frequency: float = 0.0
    gan: float = 0.0
    sync: float = 0.0
    mouth: float = 5.0
    lips: float = 0.0
    content: float = 0.0

    def __post_init__(self) -> None:
        require_between(self, 0, math.inf, "l1", "features", "frequency", "gan", "sync", "content")
        require_between(self, -1, math.inf, "lips")
        require(self.mouth > 0, f"mouth must be more than 0, not {self.mouth}")
        require(self.mouth > 1 or self.lips <= 0, f"lips = {self.lips:g} has no effect with mouth = "
                f"{self.mouth:g}; set mouth to more than 1, or lips to 0")  # fmt: skip


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with ``message`` unless ``condition``."""
    if not condition:
        raise ConfigError(message)


def require_between(config: Any, low: float, high: float, *names: str) -> None:
    """Raise `ConfigError` unless these fields of a config are ``low`` to ``high``; what is ``None`` is left out."""
    limits = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
    for name in names:
        value = getattr(config, name)
        require(value is None or low <= value <= high, f"{name} must be {limits}, not {value}")


def require_same(found: Any, wanted: Any) -> None:
    """Raise `ConfigError`, which names the fields that differ, unless two configs of one type are equal."""
    differ = [f.name for f in dataclasses.fields(wanted) if getattr(found, f.name) != getattr(wanted, f.name)]
    text = ", ".join(f"{name} is {getattr(found, name)}, not {getattr(wanted, name)}" for name in differ)
    require(not differ, f"the weights to start from do not fit the settings: {text}")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON-able values."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_dict(kind: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Build a config of type ``kind``; nested dataclasses come from nested tables.

    Raises:
        ConfigError: unknown key (the nearest known one is named) or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key '{where}{key}'; {meant(key, sorted(known))}")
        arguments[key] = _convert(hints[key], value, f"{where}{key}")
    return kind(**arguments)


def meant(name: str, known: Sequence[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or which there are."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_dict(typing.cast("type[Any]", hint), value, f"{where}.")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kinds = [a for a in args if a is not type(None)]
        kind = next((a for a in kinds if isinstance(a, type) and isinstance(value, a)), kinds[0])
        return _convert(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], v, where) for v in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        require(value in args, f"'{where}' must be one of {', '.join(map(str, args))}, not {value!r}")
        return value
    if hint is int and isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    containers = {tuple: "a list", dict: "a table", Mapping: "a table"}
    name = "a table" if dataclasses.is_dataclass(hint) else containers.get(origin) or getattr(hint, "__name__", hint)
    raise ConfigError(f"'{where}' must be {name}, not {value!r}")


def read_toml(path_or_name: str | Path, builds_on_it: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a TOML file, or a preset that comes with the package, by its bare name (``tiny128``).

    A ``base = "other"`` line reads that preset first and changes only what the file says.

    Args:
        path_or_name: with the ending ``.toml`` a file, else a preset.
        builds_on_it: what was read on the way here, from ``base`` to ``base``.

    Raises:
        ConfigError: there is no such file or preset, it is not TOML, or its ``base`` leads back to it or is no text.
    """
    path = Path(path_or_name)
    if path.suffix != ".toml":
        preset = resources.files("sidgan") / "configs" / f"{path}.toml"
        if not preset.is_file():
            near = meant(str(path_or_name), presets())
            raise ConfigError(f"no preset '{path_or_name}' (a file of settings must end in .toml); {near}")
        data = preset.read_bytes()
    elif path.is_file():
        data = path.read_bytes()
    else:
        raise ConfigError(f"no config file {path}")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # neither TOML, nor even text
        raise ConfigError(f"{path_or_name}: not valid TOML ({error})") from None
    base = values.pop("base", None)
    if base is None:
        return values
    require(isinstance(base, str), f"'base' of {path_or_name} must be the name of a preset or TOML file, not {base!r}")
    chain = (*builds_on_it, str(path_or_name))
    require(base not in chain, f"'base' of {path_or_name} refers back to itself through {base}; name another preset")
    return merge(read_toml(base, chain), values)


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("sidgan") / "configs"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``change``, table by table."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def override(values: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply ``--set a.b=value`` assignments; values are read as TOML, bare words as text."""
    result = dict(values)
    for assignment in assignments:
        key, sep, text = assignment.partition("=")
        require(bool(sep) and bool(key), f"--set must be key=value, not '{assignment}'")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        change: dict[str, Any] = {key.split(".")[-1]: value}
        for part in reversed(key.split(".")[:-1]):
            change = {part: change}
        result = merge(result, change)
    return result


__all__ = [
    "AUDIO_FEATURES", "FPS", "MEL_BANDS", "MEL_STEPS", "SYNC_FRAMES", "DiscriminatorConfig", "GeneratorConfig",
    "LossWeights", "SyncNetConfig", "from_dict", "meant", "merge", "override", "presets", "read_toml", "require",
    "require_between", "require_same", "to_dict",
]  # fmt: skip
