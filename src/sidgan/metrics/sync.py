"""Synchronisation of mouth and sound by a sync expert of this project (for LSE-D and LSE-C of Tables 1 and 2).

The published LSE needs the weights of one particular network. This metric answers the same question with any sync
expert; its values are comparable only between systems that were evaluated with the same expert.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sidgan.config import SYNC_FRAMES
from sidgan.nn import SyncNet, lower_half_windows

REACH = 10  #: largest offset that is tried in either direction, frames


class SyncMatch(NamedTuple):
    """Synchronisation of a clip.

    Attributes:
        probability: that video and sound are in sync, (1 + cosine) / 2 (Eq. 2), mean over windows.
        offset: frames by which the video lags the sound: where the mean cosine is highest; 0 is in sync.
        cosines: (2 R + 1,) mean cosine similarity at each offset from -R to R, R <= 10.
    """

    probability: float
    offset: int
    cosines: Tensor


def sync_match(seen: Tensor, heard: Tensor) -> SyncMatch:
    """Compare the windows of a clip with its sound.

    In short clips, only offsets at which at least half of the windows overlap are tried.

    Args:
        seen: (N, 512) video embeddings of consecutive windows, unit vectors, N > 0.
        heard: (N, 512) sound embeddings of the same windows, unit vectors.
    """
    count = len(seen)
    reach = min(REACH, count // 2)
    cosines = torch.stack([_mean_cosine(seen, heard, lag) for lag in range(-reach, reach + 1)])
    probability = (1 + float(cosines[reach])) / 2
    return SyncMatch(probability, int(cosines.argmax()) - reach, cosines)


def _mean_cosine(seen: Tensor, heard: Tensor, lag: int) -> Tensor:
    """Mean cosine similarity of video window i and sound window i - lag."""
    count = len(seen)
    a = seen[max(0, lag) : count + min(0, lag)]
    b = heard[max(0, -lag) : count + min(0, -lag)]
    return (a.double() * b.double()).sum(1).mean()


class MouthSync:
    """Accumulates `sync_match` over consecutive parts of one clip; windows may span two parts.

    Args:
        expert: sync expert in eval mode.
    """

    def __init__(self, expert: SyncNet) -> None:
        self.expert = expert
        self._faces: list[Tensor] = []  # last frames, with which later windows begin
        self._mels: list[Tensor] = []
        self._seen: list[Tensor] = []
        self._heard: list[Tensor] = []

    @torch.no_grad()
    def update(self, faces: Tensor, mels: Tensor) -> None:
        """Add the next frames: crops (n, 3, S, S) uint8 and their mel windows (n, 1, 80, 28)."""
        faces, mels = torch.cat([*self._faces, faces]), torch.cat([*self._mels, mels])
        count = len(faces) - SYNC_FRAMES + 1
        if count > 0:
            device = next(self.expert.parameters()).device
            index = torch.arange(count)[:, None] + torch.arange(SYNC_FRAMES)
            windows = faces[index.to(faces.device)].to(device).float() / 255
            sounds = mels[SYNC_FRAMES // 2 :][:count].to(device).float()  # the sound of the middle frame of each window
            self._seen.append(self.expert.embed_video(lower_half_windows(windows, self.expert.config.face)).cpu())
            self._heard.append(self.expert.embed_audio(sounds).cpu())
        self._faces, self._mels = [faces[max(0, count) :]], [mels[max(0, count) :]]

    def compute(self) -> SyncMatch | None:
        """The match of all frames so far; ``None`` for fewer than five."""
        return sync_match(torch.cat(self._seen), torch.cat(self._heard)) if self._seen else None
