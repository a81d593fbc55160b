"""The losses that the figures compare, each as one number per picture or window. Batches bound the memory."""

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
from sidgan.config import SYNC_FRAMES, require
from sidgan.losses import contextual_loss, perceptual_loss, sync_probability
from sidgan.nn import VGG19, SyncNet, lower_half_windows
from sidgan.paper.footage import MARGIN, SIZE
from sidgan.types import Byte, Float

BATCH = 8  #: windows that an expert sees at a time; VGG sees half as many pictures
CAUTION = "random VGG19: this proves nothing about the paper's claim"
L1, PERCEPTUAL, CONTEXTUAL = "L1", "perceptual", "contextual"
RECONSTRUCTION = (L1, PERCEPTUAL, CONTEXTUAL)


@dataclass(frozen=True)
class Expert:
    """A sync expert with its name in figures."""

    file: str
    net: SyncNet

    @classmethod
    def load(cls, file: str, device: torch.device) -> Expert:
        """Read weights; ``bundled`` names the expert that comes with the package."""
        return cls(file if file == "bundled" else Path(file).name, checkpoint.load_syncnet(file).to(device))

    @property
    def title(self) -> str:
        """What it is, short: kind and file."""
        kind = {"aps": "APS-SyncNet", "vanilla": "vanilla SyncNet"}[self.net.config.kind]
        return f"{kind} ({self.file})"

    @torch.inference_mode()
    def hear(self, *mels: Float) -> Tensor:
        """(n, 512) unit vectors of n mel windows (1, 80, 16)."""
        return self.net.embed_audio(torch.from_numpy(np.stack(mels)).float().to(_device(self.net)))

    @torch.inference_mode()
    def see(self, wide: Byte, shifts: Sequence[int]) -> Tensor:
        """(K, 512) unit vectors of a wide window (5, W, W, 3), one for each shift of the rectangle."""
        pictures = _tensor(wide, _device(self.net))
        face = self.net.config.face
        return torch.cat([self.net.embed_video(lower_half_windows(b, face)) for b in _views(pictures, shifts, BATCH)])


def sync_losses(seen: Tensor, heard: Tensor) -> Float:
    """(K,) sync loss (Eq. 2) of each of (K, 512) seen against one (512,) heard."""
    return -sync_probability(seen @ heard).log().cpu().double().numpy()


class Reconstruction:
    """L1, perceptual and contextual loss of moved or warped pictures against the true one (Eq. 3, 4).

    Args:
        vgg: whose relu5_3 features the last two compare.
        size: side to which pictures are averaged down before, px; 512 is the paper's.
    """

    def __init__(self, vgg: VGG19, size: int = SIZE) -> None:
        require(size in (128, 256, 512), f"size must be 128, 256 or 512 px, not {size}")
        self.vgg, self.size = vgg, size

    @torch.inference_mode()
    def __call__(self, wide: Byte, truth: Byte, shifts: Sequence[int]) -> Float:
        """(3, K) losses in the order of `RECONSTRUCTION`.

        Args:
            wide: (W, W, 3) uint8, the picture whose rectangle moves. truth: the same shape, whose rectangle stays.
            shifts: K px at 512.
        """
        device = self.vgg.mean.device
        (still,) = self._pictures(truth, [0], device)
        goal = self.vgg(still)
        columns: list[list[float]] = []
        for images in self._pictures(wide, shifts, device):
            for image, feature in zip(images.split(1), self.vgg(images).split(1), strict=True):
                losses = F.l1_loss(image, still), perceptual_loss(feature, goal), contextual_loss(feature, goal)
                columns.append([float(v) for v in losses])
        return np.array(columns).T

    @torch.inference_mode()
    def pace(self) -> float:
        """Seconds in which VGG19 looks at one picture here, where nearly all the time of a figure goes; measured."""
        blank, took = torch.zeros(1, 3, self.size, self.size, device=self.vgg.mean.device), list[float]()
        for _ in range(2):  # the first looks take longer
            start = time.perf_counter()
            self.vgg(blank)
            took.append(time.perf_counter() - start)
        return min(took)

    def _pictures(self, wide: Byte, shifts: Sequence[int], device: torch.device) -> Iterator[Tensor]:
        for batch in _views(_tensor(wide[None], device), shifts, BATCH // 2):
            yield F.interpolate(batch[:, 0], (self.size, self.size), mode="area")


def is_random(vgg: VGG19) -> bool:
    """Whether its features were never trained."""
    return vgg.source.startswith("random")


def _device(net: SyncNet) -> torch.device:
    return next(net.parameters()).device


def _tensor(wide: Byte, device: torch.device) -> Tensor:
    """(T, W, W, 3) uint8 -> (T, 3, W, W) in [0, 1] on the device."""
    return torch.from_numpy(np.ascontiguousarray(wide)).to(device).permute(0, 3, 1, 2).contiguous().float() / 255


def _views(wide: Tensor, shifts: Sequence[int], batch: int) -> Iterator[Tensor]:
    """(B, T, 3, S, S) in [0, 1]: the face crop of a wide one, its rectangle moved to the right by each shift."""
    require(len(wide) in (1, SYNC_FRAMES), f"windows have {SYNC_FRAMES} frames, not {len(wide)}")
    rows = slice(MARGIN, MARGIN + SIZE)
    for i in range(0, len(shifts), batch):
        yield torch.stack([wide[:, :, rows, MARGIN + k : MARGIN + k + SIZE] for k in shifts[i : i + batch]])
