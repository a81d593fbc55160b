"""The audio-visual synchronisation experts, which judge whether a mouth and a sound belong together (Sec. 3.3.1).

There are two kinds::

    vanilla  strided convolutions, zero padding, a last kernel as large as the remaining feature map
    aps      stride-1 convolutions + adaptive polyphase sampling, circular padding, mean over positions

The embedding of the second does not change when the face shifts by a pixel, so it can serve as a loss.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import AUDIO_FEATURES, MEL_STEPS, SYNC_FRAMES, SyncNetConfig
from sidgan.errors import ConfigError
from sidgan.nn.layers import AdaptivePolyphase, ConvUnit

AudioSampling = Literal["none", "freq", "full"]


class Stage(NamedTuple):
    """One row of an encoder: a convolution that downsamples, then residual units at the new size."""

    multiple: int  #: channels, in units of the encoder's width
    kernel: int
    stride: tuple[int, int]  #: (rows, columns)
    residuals: int  #: in the paper-size network


AUDIO_STAGES = (Stage(1, 3, (1, 1), 2), Stage(2, 3, (3, 1), 2), Stage(4, 3, (3, 3), 2), Stage(8, 3, (3, 2), 2))
VIDEO_STAGES = (
    Stage(1, 7, (1, 1), 0),
    Stage(2, 5, (1, 2), 2),  # the lower half of a face is twice as wide as high; this makes it square
    Stage(4, 3, (2, 2), 3),
    Stage(8, 3, (2, 2), 2),
    Stage(16, 3, (2, 2), 2),
    Stage(16, 3, (2, 2), 0),
)


class AudioEncoder(nn.Module):
    """Mel windows to the audio feature f_A, an embedding for the sync expert and an input of the generator (Sec. 3.1).

    Args:
        width: channels of the first stage, 32 at paper size; all others scale with it. f_A always has 512 values.
        blocks: fraction of the paper's residual units to keep.
        sampling: ``none``: strides only. ``freq``: strides along the mel axis become adaptive polyphase sampling,
            strides in time stay. ``full``: both do; the feature then jumps when the sound shifts by a fraction of a
            frame, and a generator trained with it jitters.
    """

    def __init__(self, width: int = 32, blocks: float = 1.0, sampling: AudioSampling = "none") -> None:
        super().__init__()
        self.settings = (width, blocks, sampling)
        units: list[nn.Module] = []
        channels = 1
        for stage in AUDIO_STAGES:
            outputs = width * stage.multiple
            stride, adaptive = _split(stage.stride, sampling)
            units.append(ConvUnit(channels, outputs, stage.kernel, stride, stage.kernel // 2, sampling=adaptive))
            units += [ConvUnit(outputs, outputs, 3, padding=1, residual=True) for _ in _residuals(stage, blocks)]
            channels = outputs
        self.units = nn.Sequential(*units, ConvUnit(channels, 2 * channels, 3))  # 3x3 left: no padding makes it 1x1
        self.head = nn.Conv2d(2 * channels, AUDIO_FEATURES, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, 1, 80, 16) log-mel in [-4, 4] to f_A (B, 512), not normalised; wider windows are cropped to 16."""
        return self.head(self.units(middle(mel, MEL_STEPS))).flatten(1)

    def take_over(self, other: AudioEncoder) -> None:
        """Copy the weights of another encoder (Sec. 3.1).

        Raises:
            ConfigError: its width, depth or sampling differ.
        """
        if self.settings != other.settings:
            raise ConfigError(
                f"audio_width, blocks and aps_audio are {self.settings} here, but {other.settings} in the encoder "
                "to take over; make them equal"
            )
        self.load_state_dict(other.state_dict())


def middle(mel: Tensor, steps: int) -> Tensor:
    """The middle columns of mel windows (..., columns).

    Raises:
        ValueError: they have fewer columns, or the surplus is odd.
    """
    surplus = mel.shape[-1] - steps
    if surplus < 0 or surplus % 2:
        raise ValueError(f"{steps} columns cannot be the middle of {mel.shape[-1]}")
    return mel[..., surplus // 2 : surplus // 2 + steps]


class VideoEncoder(nn.Module):
    """Five lower half faces to one embedding; see `lower_half_windows` for the input.

    There is no activation after the last layer: with one, all embeddings would start in the same orthant, where the
    cosines of all pairs are near 1 and matching pairs cannot be distinguished from others.
    """

    def __init__(self, config: SyncNetConfig) -> None:
        super().__init__()
        self.size = (config.face // 2, config.face)
        aps = config.kind == "aps"
        units: list[nn.Module] = []
        channels = 3 * SYNC_FRAMES
        for stage in VIDEO_STAGES:
            outputs = config.width * stage.multiple
            adaptive = AdaptivePolyphase(stage.stride, config.lpf) if aps and stage.stride != (1, 1) else None
            stride = (1, 1) if aps else stage.stride
            # The published vanilla network pads its 5x5 layer by 1 only; polyphase sampling needs "same" padding.
            padding = stage.kernel // 2 if aps or stage.kernel != 5 else 1
            units.append(
                ConvUnit(channels, outputs, stage.kernel, stride, padding, circular=aps, sampling=adaptive),
            )
            units += [
                ConvUnit(outputs, outputs, 3, padding=1, circular=aps, residual=True)
                for _ in _residuals(stage, config.blocks)
            ]
            channels = outputs
        if aps:
            units.append(ConvUnit(channels, channels, 3, padding=1, circular=True))
        else:
            units.append(ConvUnit(channels, channels, config.face // 32))  # the kernel covers all 3x3 or 4x4 positions
        self.units = nn.Sequential(*units)
        self.head = nn.Conv2d(channels, AUDIO_FEATURES, 1)

    def forward(self, video: Tensor) -> Tensor:
        """Map (B, 15, face / 2, face) in [0, 1] to (B, 512), not normalised.

        Raises:
            ValueError: another size; strides might not divide it, and shift-invariance would silently be lost.
        """
        if tuple(video.shape[2:]) != self.size:
            raise ValueError(f"this expert sees windows of {self.size} px, not {tuple(video.shape[2:])}")
        # The mean over positions makes shift equivariance shift invariance. The vanilla network has one position.
        return self.head(self.units(video).mean((2, 3), keepdim=True)).flatten(1)


class SyncNet(nn.Module):
    """A sync expert: the cosine similarity between the embeddings of mouth and sound.

    Attributes:
        audio: its `AudioEncoder`, whose weights a generator of the same ``audio_width`` takes over.
        video: its `VideoEncoder`.
    """

    def __init__(self, config: SyncNetConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.audio_width, config.blocks, config.aps_audio)
        self.video = VideoEncoder(config)

    def embed_video(self, video: Tensor) -> Tensor:
        """Unit vectors (B, 512), float32, of windows (B, 15, face / 2, face)."""
        return F.normalize(self.video(video).float(), dim=1)

    def embed_audio(self, mel: Tensor) -> Tensor:
        """Unit vectors (B, 512), float32, of mel windows (B, 1, 80, 16)."""
        return F.normalize(self.audio(mel).float(), dim=1)

    def forward(self, video: Tensor, mel: Tensor) -> Tensor:
        """Cosine (B,) in [-1, 1], float32, of windows (B, 15, face / 2, face) and (B, 1, 80, 16)."""
        return (self.embed_video(video) * self.embed_audio(mel)).sum(1)


def lower_half_windows(faces: Tensor, face: int = 128) -> Tensor:
    """The expert's input from five face crops of any resolution (Eq. 2).

    Larger crops are averaged down. Where ``face`` divides S this is a mean over blocks, so that a shift by whole
    blocks stays a shift by whole pixels, and patterns finer than a block cannot influence the expert. Smaller crops
    are enlarged bilinearly.

    Args:
        faces: (B, 5, 3, S, S) in [0, 1].
        face: the expert's ``config.face``, px.

    Returns:
        (B, 15, face / 2, face): rows from the middle down; channels R0, G0, B0, R1, ...
    """
    return at_expert_size(faces.flatten(1, 2)[:, :, faces.shape[-2] // 2 :], face)


def at_expert_size(halves: Tensor, face: int) -> Tensor:
    """Resize lower halves (B, 15, S / 2, S) of face crops to the expert's input size: (B, 15, face / 2, face)."""
    size = halves.shape[-1]
    if size == face:
        return halves
    if size > face:
        return F.interpolate(halves, (face // 2, face), mode="area")
    return F.interpolate(halves, (face // 2, face), mode="bilinear", align_corners=False)


def _residuals(stage: Stage, blocks: float) -> range:
    return range(round(stage.residuals * blocks))


def _split(stride: tuple[int, int], sampling: AudioSampling) -> tuple[tuple[int, int], AdaptivePolyphase | None]:
    """Divide a stride between the convolution and the adaptive sampling that follows it."""
    rows, columns = stride
    if sampling == "none" or stride == (1, 1):
        return stride, None
    if sampling == "freq":
        return (1, columns), AdaptivePolyphase((rows, 1))
    return (1, 1), AdaptivePolyphase(stride)
