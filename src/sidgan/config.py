"""Settings of networks and losses, written beside every run as JSON, and the constants that networks share.

`sidgan.settings` reads and checks them.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from sidgan.settings import require, require_between, to_dict

AUDIO_FEATURES = 512  #: channels of the audio embedding f_A, whatever the width of the encoder (Sec. 3.1)
MEL_BANDS = 80  #: rows of a mel window (Sec. 3.4)
MEL_STEPS = 16  #: columns of a mel window: 0.2 s
MEL_MARGIN = 6  #: additional columns on each side of the windows that data and dubbing provide: 0.35 s in all
MEL_HOP = 3  #: columns from one window to the next, for generators with ``audio_context``
FPS = 25  #: frames per second of the faces that networks are trained and judged with, whatever their video's rate
SYNC_FRAMES = 5  #: frames of a sync window: 0.2 s at 25 fps (Eq. 2)


@dataclass(frozen=True)
class SyncNetConfig:
    """An audio-visual synchronisation expert (Sec. 3.3.1).

    Attributes:
        kind: ``aps`` (stride-1 convolutions + adaptive polyphase sampling, circular padding, global pooling)
            or ``vanilla`` (strided convolutions, zero padding, flattened head).
        face: side in px of the square face crop, 96 or 128; the expert's input is its lower half, (face / 2, face).
        width: channels of the first video block; the paper-size network has 32.
        audio_width: channels of the first audio block; the paper-size network has 32.
        blocks: residual units after each downsampling, as a fraction of the paper-size network's (video: 2, 3, 2, 2).
        lpf: taps of the binomial low-pass filter before polyphase sampling: 1 (none, as in the paper) or 3.
        aps_audio: where the audio branch uses adaptive polyphase sampling: ``none``, ``freq`` (mel axis only) or
            ``full``.
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
    """A phoneme classifier, whose audio encoder an expert or a generator can take over.

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
    """A network that segments what covers a face.

    Attributes:
        width: channels at full resolution, a multiple of 8; coarser levels have two, three and four times as many.
    """

    width: int = 16

    def __post_init__(self) -> None:
        require(self.width >= 8 and self.width % 8 == 0, f"width must be a multiple of 8, not {self.width}")


@dataclass(frozen=True)
class GeneratorConfig:
    """The pyramid generator with its encoders (Sec. 3.1, 3.2), or one of the systems it is compared with (Sec. 4).

    Attributes:
        kind: ``sidgan``, or one of `sidgan.nn.baselines`: ``lipgan``, ``wav2lip``, ``wav2lip384`` (the same network
            for larger faces), ``pcavs``. For these only ``size``, ``base``, ``cmax``, ``start`` (side of the coarsest
            map) and ``audio_width`` can be set.
        size: side S of query, reference and finest output in px.
        base: channels at resolution ``size``; doubled with every halving up to ``cmax``.
        cmax: largest number of channels.
        start: resolution of the first block, whose input is the query resized to it.
        rgb_levels: resolutions at which an RGB block makes an output, coarse to fine; the last is ``size``.
        rgb: ``direct``: every output is generated from the features alone. ``laplacian``: each adds detail to the
            coarser output, enlarged (the alternative that Sec. 3.2 rejects, as it cannot undo errors of the coarser
            output). ``copying``: each pixel is a mix, in learnt shares, of a generated colour, the reference's and the
            query's.
        trunk: size of an inner network (the trunk), whose encoders are given pictures reduced to this size. Each level
            above it encodes the larger pictures with a single layer and corrects the ``copying`` output of the level
            below, enlarged. These corrections start at zero, so a larger generator continues from the weights of a
            smaller one. 0, as in the paper: no trunk, the encoders begin at ``size``.
        warp_levels: resolutions whose blocks predict how the reference is warped to fit the query and the sound; the
            blocks after them, and ``copying`` outputs, use the warped reference. Empty in the paper.
        audio_levels: resolutions of the blocks that take the audio feature.
        audio_inject: ``adain`` (scale and shift after normalisation) or ``concat`` (tiled and concatenated).
        audio_width: channels of the audio encoder's first block, the ``audio_width`` of the SyncNet it is taken over
            from.
        audio_blocks: the ``blocks`` of that SyncNet.
        aps_audio: the ``aps_audio`` of that SyncNet.
        audio_context: number of neighbouring windows of 0.2 s, 37.5 ms apart, on each side of the frame's own: 0 (the
            paper) to 2. Their features are averaged with learnt weights.
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
        rising = all(a < b for a, b in pairwise(self.rgb_levels))
        require(rising, f"rgb_levels must rise, coarse to fine, not {self.rgb_levels}")
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
            require(self.base <= self.cmax, f"base must be at most cmax, which is {self.cmax}, not {self.base}")
        fits = self.kind != "pcavs" or self.cmax % 16 == 0  # for the grouped convolutions of its ResNeXt
        require(fits, f"cmax of a pcavs generator must be a multiple of 16, not {self.cmax}")

    @property
    def sees_mouth(self) -> bool:
        """Whether queries are shown unmasked; true for PC-AVS, which only takes the pose from them."""
        return self.kind == "pcavs"

    @property
    def base_size(self) -> int:
        """Side at which the encoders begin: the trunk's, or ``size``."""
        return self.trunk or self.size

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides in px of the pictures that the generator accepts: all levels from the trunk on, else ``size``."""
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
        """Number of reference pictures per person in training: at most two if the generator warps them, else one."""
        return 2 if self.warp_levels else 1

    @property
    def dub_references(self) -> int:
        """The same in dubs: lips closed, open and shut if the generator warps its references, else one."""
        return 3 if self.warp_levels else 1

    def channels(self, level: int) -> int:
        """Width of the encoder maps and of the generator block at one resolution."""
        return min(self.cmax, self.base * (self.size // level))


@dataclass(frozen=True)
class DiscriminatorConfig:
    """A discriminator for one level (Sec. 3.4).

    Attributes:
        base, cmax: channels of its first layer, and the largest number of channels.
        layers: convolutions of stride 2, each of which halves the resolution.
        kind: ``patch``, the paper's, or that of a compared system (`sidgan.nn.baselines.critics`): ``sound`` (LipGAN:
            do face and sound match), ``half`` (Wav2Lip: is the lower half real), ``scales`` (PC-AVS: patches at full
            and at half resolution). The kind also selects the loss.
        sees: input of a ``patch`` discriminator: ``face``, the whole picture, or ``detail``, the fine detail of its
            lower half, where the mouth is. Faces that are mostly copied differ from real ones in little else, which
            takes a discriminator of whole faces very long to learn.
    """

    base: int = 64
    cmax: int = 512
    layers: int = 3
    kind: Literal["patch", "sound", "half", "scales"] = "patch"
    sees: Literal["face", "detail"] = "face"

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "base", "cmax")
        require_between(self, 0, math.inf, "layers")

    def fits(self, size: int) -> bool:
        """Whether something is left of pictures of ``size`` px after all layers."""
        if self.kind == "half":
            return self.layers > 0 and size >> self.layers > 0
        if self.kind == "sound":
            return size > 1 << self.layers  # instance normalisation needs more than one position
        seen = size // 2 if self.kind == "scales" or self.sees == "detail" else size
        return seen >> self.layers > 2  # two more layers, of stride 1, take a pixel each


@dataclass(frozen=True)
class CriticsConfig:
    """The discriminators that a generator was trained against, by level."""

    levels: dict[int, DiscriminatorConfig]


@dataclass(frozen=True)
class LossWeights:
    """Weights of Eq. 4 at one level; the paper gives none.

    Attributes:
        l1: alpha.
        mouth: weight of L1 inside the query mask, relative to outside. 1 is the paper's plain L1, as in the presets
            ``paper`` and (except at its finest level) ``full``; small generators learn faster with more.
        lips: additional weight of L1 on the lips, which depend most on the voice but are a small part of the mask; the
            weight there is 1 + (mouth - 1) (1 + lips). 0: the same as in the mask; -1: the same as outside the mask.
        features: beta, of the contextual loss (or the loss that `GanTrainConfig.features` names instead).
        frequency: gamma, of the focal frequency loss, whose values are about fifty times smaller than those of L1.
        gan: mu, of the adversarial loss.
        sync: lambda, of the sync loss.
        content: of PC-AVS's contrastive loss between audio features and lip features.
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
