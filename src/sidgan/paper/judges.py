"""The losses that Figures 2 and 4 compare, one value per image or window. They run in batches, to limit memory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan import checkpoint
from sidgan.config import SYNC_FRAMES
from sidgan.losses import contextual_loss, perceptual_loss, sync_probability
from sidgan.nn import VGG19, SyncNet, lower_half_windows
from sidgan.paper.footage import MARGIN, SIZE
from sidgan.settings import require
from sidgan.types import Byte, Float

BATCH = 8  #: windows per batch of an expert; VGG19 gets half as many images
CAUTION = "random VGG19: this proves nothing about the paper's claim"
L1, PERCEPTUAL, CONTEXTUAL = "L1", "perceptual", "contextual"
RECONSTRUCTION = (L1, PERCEPTUAL, CONTEXTUAL)  #: in the order in which `Reconstruction` returns them


@dataclass(frozen=True)
class Expert:
    """A sync expert, with the file name that figures show."""

    file: str
    net: SyncNet

    @classmethod
    def load(cls, file: str, device: torch.device) -> Expert:
        """Read weights; ``bundled`` names the expert that comes with the package."""
        return cls(file if file == "bundled" else Path(file).name, checkpoint.load_syncnet(file).to(device))

    @property
    def title(self) -> str:
        """Kind and file, as shown in legends."""
        kind = {"aps": "APS-SyncNet", "vanilla": "vanilla SyncNet"}[self.net.config.kind]
        return f"{kind} ({self.file})"

    @torch.inference_mode()
    def hear(self, *mels: Float) -> Tensor:
        """Embed n mel windows (1, 80, 16) as (n, 512) unit vectors."""
        return self.net.embed_audio(torch.from_numpy(np.stack(mels)).float().to(_device(self.net)))

    @torch.inference_mode()
    def see(self, wide: Byte, shifts: Sequence[int]) -> Tensor:
        """Embed a window of wide crops (5, W, W, 3), shifted by K shifts in px, as (K, 512) unit vectors."""
        images = _tensor(wide, _device(self.net))
        face = self.net.config.face
        return torch.cat([self.net.embed_video(lower_half_windows(b, face)) for b in _shifted(images, shifts, BATCH)])


def sync_losses(seen: Tensor, heard: Tensor) -> Float:
    """(K,) sync losses (Eq. 2) of K video embeddings (K, 512) against one audio embedding (512,)."""
    return -sync_probability(seen @ heard).log().cpu().double().numpy()


class Reconstruction:
    """L1, perceptual and contextual loss of shifted or warped images against the true one (Eq. 3, 4).

    Args:
        vgg: network whose relu5_3 features the last two losses compare.
        size: side to which images are averaged down first, px; the paper has 512.
    """

    def __init__(self, vgg: VGG19, size: int = SIZE) -> None:
        require(size in (128, 256, 512), f"size must be 128, 256 or 512 px, not {size}")
        self.vgg, self.size = vgg, size

    @torch.inference_mode()
    def __call__(self, wide: Byte, truth: Byte, shifts: Sequence[int]) -> Float:
        """(3, K) losses in the order of `RECONSTRUCTION`.

        Args:
            wide: (W, W, 3) uint8, the wide crop to shift. truth: the wide crop of the true image, not shifted.
            shifts: K shifts, px at 512.
        """
        device = self.vgg.mean.device
        (target,) = self._resized(truth, [0], device)
        goal = self.vgg(target)
        columns: list[list[float]] = []
        for images in self._resized(wide, shifts, device):
            for image, feature in zip(images.split(1), self.vgg(images).split(1), strict=True):
                losses = F.l1_loss(image, target), perceptual_loss(feature, goal), contextual_loss(feature, goal)
                columns.append([float(v) for v in losses])
        return np.array(columns).T

    @torch.inference_mode()
    def pace(self) -> float:
        """Measure the seconds that VGG19 takes for one image on this device; nearly all the time of a figure."""
        blank, seconds = torch.zeros(1, 3, self.size, self.size, device=self.vgg.mean.device), list[float]()
        for _ in range(2):  # the first pass is slower
            start = time.perf_counter()
            self.vgg(blank)
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    def _resized(self, wide: Byte, shifts: Sequence[int], device: torch.device) -> Iterator[Tensor]:
        """Yield batches (B, 3, size, size) of the face crop of a wide crop (W, W, 3), shifted by each shift."""
        for batch in _shifted(_tensor(wide[None], device), shifts, BATCH // 2):
            yield F.interpolate(batch[:, 0], (self.size, self.size), mode="area")


def is_random(vgg: VGG19) -> bool:
    """Whether VGG19 has random weights."""
    return vgg.source.startswith("random")


def _device(net: SyncNet) -> torch.device:
    return next(net.parameters()).device


def _tensor(wide: Byte, device: torch.device) -> Tensor:
    """(T, W, W, 3) uint8 -> (T, 3, W, W) in [0, 1] on the device."""
    return torch.from_numpy(np.ascontiguousarray(wide)).to(device).permute(0, 3, 1, 2).contiguous().float() / 255


def _shifted(wide: Tensor, shifts: Sequence[int], batch: int) -> Iterator[Tensor]:
    """Yield batches (B, T, 3, S, S) of the face crops of (T, 3, W, W) wide crops, one for each shift to the right."""
    require(len(wide) in (1, SYNC_FRAMES), f"windows have {SYNC_FRAMES} frames, not {len(wide)}")
    rows = slice(MARGIN, MARGIN + SIZE)
    for i in range(0, len(shifts), batch):
        yield torch.stack([wide[:, :, rows, MARGIN + k : MARGIN + k + SIZE] for k in shifts[i : i + batch]])
