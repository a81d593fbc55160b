"""Whether a mouth belongs to a sound, in the eyes of an expert (in place of LSE-D and LSE-C of Tables 1 and 2).

The published LSE needs the weights of one particular expert. This is the same question put to one of our own, so its
numbers compare systems judged by the same expert, and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from sidgan.config import SYNC_FRAMES
from sidgan.nn import SyncNet, lower_half_windows

REACH = 10  #: frames searched to either side for the best offset


class SyncMatch(NamedTuple):
    """An expert's verdict on a clip.

    Attributes:
        probability: that picture and sound belong together, (1 + cosine) / 2 (Eq. 2), mean over windows.
        offset: frames by which the picture lags the sound, where the mean cosine is highest; 0 is in sync.
        cosines: mean cosine at each searched offset, the middle one at 0.
    """

    probability: float
    offset: int
    cosines: Tensor


def sync_match(seen: Tensor, heard: Tensor) -> SyncMatch:
    """Compare the windows of a clip with its sound.

    Offsets are searched as far as half of the windows still have a partner: fewer would compare too little.

    Args:
        seen: (N, 512) unit vectors of consecutive windows, N > 0.
        heard: (N, 512) unit vectors of the sound that belongs to each.
    """
    count = len(seen)
    reach = min(REACH, count // 2)
    cosines = torch.stack([_mean_cosine(seen, heard, lag) for lag in range(-reach, reach + 1)])
    probability = (1 + float(cosines[reach])) / 2
    return SyncMatch(probability, int(cosines.argmax()) - reach, cosines)


def _mean_cosine(seen: Tensor, heard: Tensor, lag: int) -> Tensor:
    """Of window i with the sound of window i - lag."""
    count = len(seen)
    a = seen[max(0, lag) : count + min(0, lag)]
    b = heard[max(0, -lag) : count + min(0, -lag)]
    return (a.double() * b.double()).sum(1).mean()


class MouthSync:
    """Accumulates `sync_match` over consecutive pieces of one clip; windows may span pieces.

    Args:
        expert: in eval mode.
    """

    def __init__(self, expert: SyncNet) -> None:
        self.expert = expert
        self._faces: list[Tensor] = []  # the frames that the next windows begin with
        self._mels: list[Tensor] = []
        self._seen: list[Tensor] = []
        self._heard: list[Tensor] = []

    @torch.no_grad()
    def update(self, faces: Tensor, mels: Tensor) -> None:
        """Add the next frames: crops (n, 3, S, S) uint8 and the sound of each, (n, 1, 80, 28)."""
        faces, mels = torch.cat([*self._faces, faces]), torch.cat([*self._mels, mels])
        count = len(faces) - SYNC_FRAMES + 1
        if count > 0:
            device = next(self.expert.parameters()).device
            index = torch.arange(count)[:, None] + torch.arange(SYNC_FRAMES)
            windows = faces[index.to(faces.device)].to(device).float() / 255
            sounds = mels[SYNC_FRAMES // 2 :][:count].to(device).float()  # the sound of a window's middle frame
            self._seen.append(self.expert.embed_video(lower_half_windows(windows, self.expert.config.face)).cpu())
            self._heard.append(self.expert.embed_audio(sounds).cpu())
        self._faces, self._mels = [faces[max(0, count) :]], [mels[max(0, count) :]]

    def compute(self) -> SyncMatch | None:
        """The verdict on everything so far; ``None`` if that is less than five frames."""
        return sync_match(torch.cat(self._seen), torch.cat(self._heard)) if self._seen else None
