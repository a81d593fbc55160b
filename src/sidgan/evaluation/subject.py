"""A clip to be dubbed and judged: its frames, what they say themselves, and how a generator redraws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan import faces, metrics
from sidgan.data.dataset import PackedClip, box_masks
from sidgan.metrics.lips import LMD_SIZE
from sidgan.nn import Generator
from sidgan.types import Byte, Float

BATCH = 32  #: frames drawn and judged together
Dubber = Callable[[Tensor], Tensor]  #: frame indices (n,) -> whole pictures (n, 3, S, S) uint8


class Subject:
    """A clip to be dubbed, and what its own frames say, found once for all rows.

    Attributes:
        frames: indices of the judged frames, consecutive.
        reference: index of the reference frame, not among them.
        wrong_mels: the clip's sound, half its length later.
    """

    def __init__(self, clip: PackedClip, reference: str, id_every: int) -> None:
        self.clip = clip
        count = len(clip)
        self.reference = 0 if reference == "first" else count - 1
        self.frames = torch.arange(1, count) if reference == "first" else torch.arange(count - 1)
        self.id_frames = set(self.frames[::id_every].tolist()) if id_every else set[int]()
        self.wrong_mels = clip.mels.roll(-(count // 2), 0)
        # Packed landmarks are smoothed over time. Others are found frame by frame, so the true ones must be as well.
        self.guides = clip.landmarks * LMD_SIZE - 0.5
        self.landmarks = np.zeros_like(clip.landmarks)
        self.identities: dict[int, Float] = {}
        for some in torch.split(self.frames, BATCH):
            pictures = judged_size(clip.images[some])
            self.landmarks[some] = self.find_landmarks(pictures, some)
            self.identities |= self.embed(pictures, some)

    @property
    def size(self) -> int:
        """Side of the clip's pictures in px."""
        return int(self.clip.images.shape[-1])

    def masks(self, frames: Tensor) -> Tensor:
        """The hidden boxes of some frames (n, 1, S, S)."""
        return box_masks(self.clip.masks[frames], self.size)

    def find_landmarks(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Landmarks (n, 68, 2) of pictures of these frames, looked for where the true face is."""
        boxes = [faces.box_of(self.guides[i]) for i in frames.tolist()]
        return np.stack([faces.landmarks(p, box) for p, box in zip(pictures, boxes, strict=True)])

    def embed(self, pictures: Sequence[Byte], frames: Tensor) -> dict[int, Float]:
        """Identities of those pictures whose frame is asked for, by frame, under the true landmarks."""
        pairs = zip(frames.tolist(), pictures, strict=True)
        return {i: faces.embed(p, self.guides[i]) for i, p in pairs if i in self.id_frames}


def beginning(clip: PackedClip, count: int | None) -> PackedClip:
    """The first ``count`` frames; all of them for ``None``."""
    return PackedClip(clip.name, clip.images[:count], clip.mels[:count], clip.masks[:count], clip.landmarks[:count])


@contextmanager
def evaluating(network: nn.Module | None) -> Iterator[None]:
    """Eval mode for a while, so that a network in training can be judged in between."""
    training = network is not None and network.training
    if network is not None:
        network.eval()
    try:
        yield
    finally:
        if network is not None:
            network.train(training)


def generated(generator: Generator, subject: Subject, mels: Tensor) -> Dubber:
    """How a generator redraws a clip from mel windows (N, 1, 80, 16): at its own size, scaled to the clip's."""
    size = generator.config.size
    device = next(generator.parameters()).device

    def pictures(frames: Tensor | slice) -> Tensor:
        return scaled(subject.clip.images[frames].to(device).float() / 255, size)

    features = generator.encode_reference(pictures(slice(subject.reference, subject.reference + 1)))

    def draw(frames: Tensor) -> Tensor:
        hidden = box_masks(subject.clip.masks[frames].to(device), size)
        query = pictures(frames) * (1 - hidden)
        drawn = generator.decode(query, features, mels[frames].to(device).float())[size]
        levels = scaled(drawn, subject.size) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).to(subject.clip.images.device)

    return draw


def scaled(images: Tensor, size: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, size, size): averaged down or enlarged bilinearly."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] > size:
        return F.interpolate(images, (size, size), mode="area")
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def judged_size(images: Tensor) -> list[Byte]:
    """Crops (n, 3, S, S) uint8 as n pictures (256, 256, 3) in which landmarks are found."""
    how = cv2.INTER_AREA if images.shape[-1] > LMD_SIZE else cv2.INTER_LINEAR
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    return [np.asarray(cv2.resize(p, (LMD_SIZE, LMD_SIZE), interpolation=how)) for p in pictures]


def opening_values(match: metrics.OpeningMatch) -> dict[str, float]:
    """A comparison of mouth openings as values of a record."""
    moved = bool(match.correlations.any())
    return {
        "opening": match.correlation,
        "opening_lag": float(match.lag) if moved else math.nan,
        "opening_ratio": match.ratio,
    }


def sync_values(match: metrics.SyncMatch | None) -> dict[str, float]:
    """An expert's verdict as values of a record."""
    if match is None:
        return dict.fromkeys(("sync", "sync_offset", "sync_near"), math.nan)
    return {
        "sync": match.probability,
        "sync_offset": float(match.offset),
        "sync_near": float(abs(match.offset) <= 1),
    }
