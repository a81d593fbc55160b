"""How far a mouth's movements are from its sound, as the published judge sees them (the paper's LSE-D and LSE-C).

The definition is that of the programs behind the published figures (Chung & Zisserman's, and Wav2Lip's evaluation),
oddities included. **Only numbers made with the published weights may be called LSE-D and LSE-C** (``published`` of the
network says whether they are), so the names here are neutral.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan import downloads
from sidgan.audio import SAMPLE_RATE
from sidgan.errors import CheckpointError
from sidgan.files import digest
from sidgan.metrics.checks import require, shape
from sidgan.metrics.mfcc import mfcc
from sidgan.nn import SyncNet2016
from sidgan.nn.syncnet2016 import COLUMNS, FACE, FRAMES
from sidgan.types import Float

REACH = 15  #: frames searched to either side
SHORTEST = 10  #: windows; clips with fewer are not judged
FRAME_SAMPLES = SAMPLE_RATE // 25  #: the judge sees 25 frames a second
FRAME_COLUMNS = 4  #: columns of cepstra for each frame
BATCH = 20  #: windows embedded together


class LagMatch(NamedTuple):
    """A judge's verdict on a clip.

    Attributes:
        distance: mean distance of mouth and sound at the best offset; LSE-D if the weights are the published ones.
            Lower is better.
        confidence: the median over offsets less that; LSE-C likewise. Higher is better.
        offset: frames by which the picture lags the sound, as in `sidgan.metrics.SyncMatch`; 0 is in sync.
        distances: (31,) mean distance at each offset, from 15 down to -15: mouth i beside sound i - 15 ... i + 15.
    """

    distance: float
    confidence: float
    offset: int
    distances: Tensor


def lag_match(seen: Tensor, heard: Tensor) -> LagMatch | None:
    """Compare the windows of a clip with its sound, as far as 15 frames to either side.

    Beyond both ends the sound's features are zeros, as in the published programs: in short clips these take part in
    most offsets, and even features that are all alike get a confidence from them.

    Args:
        seen: (N, D) features of consecutive windows.
        heard: (N, D) features of the sound under each.

    Returns:
        The verdict; ``None`` for fewer than 10 windows.

    Raises:
        MetricError: shapes that do not belong together, or values that are not finite.
    """
    require(seen.ndim == 2 and seen.shape == heard.shape,
            f"features must be two stacks (N, D), not {shape(seen)} and {shape(heard)}")  # fmt: skip
    require(bool(torch.isfinite(seen).all() and torch.isfinite(heard).all()), "features are not finite")
    if len(seen) < SHORTEST:
        return None
    mouths, sounds = seen.double(), F.pad(heard.double(), (0, 0, REACH, REACH))
    distances = torch.stack([
        F.pairwise_distance(mouths, sounds[k : k + len(mouths)]).mean() for k in range(2 * REACH + 1)
    ])  # fmt: skip
    best = int(distances.argmin())
    lowest = float(distances[best])
    return LagMatch(lowest, float(distances.median()) - lowest, REACH - best, distances)


class MouthLag:
    """Accumulates `lag_match` over consecutive pieces of one clip; windows may span pieces.

    Args:
        judge: from `load_lag_expert`.
        samples: the clip's whole sound, (n,) float in [-1, 1] at 16 kHz, beginning with its first frame.
    """

    def __init__(self, judge: SyncNet2016, samples: Float) -> None:
        self.judge = judge
        self._cepstra = torch.from_numpy(mfcc(samples).T).float()
        self._with_sound = len(samples) // FRAME_SAMPLES  # frames
        self._frames = 0
        self._pending = torch.empty(0, 3, FACE, FACE, dtype=torch.uint8)
        self._seen: list[Tensor] = []

    @torch.no_grad()
    def update(self, faces: Tensor) -> None:
        """Add the next frames: (n, 3, 224, 224) uint8 RGB at 25 frames a second (`direct_crops`, `pipeline_crop`)."""
        require(faces.ndim == 4 and shape(faces)[1:] == (3, FACE, FACE) and faces.dtype == torch.uint8,
                f"faces must be (n, 3, {FACE}, {FACE}) uint8, not {shape(faces)} {faces.dtype}")  # fmt: skip
        self._frames += len(faces)
        faces = torch.cat([self._pending, faces.cpu()])
        count = len(faces) - FRAMES + 1
        device = next(self.judge.parameters()).device
        for start in range(0, max(0, count), BATCH):
            index = torch.arange(start, min(start + BATCH, count))[:, None] + torch.arange(FRAMES)
            windows = faces[index].flip(2).transpose(1, 2).to(device).float()  # blue first, time after colour
            self._seen.append(self.judge.embed_video(windows).cpu())
        self._pending = faces[max(0, count) :]

    @torch.no_grad()
    def compute(self) -> LagMatch | None:
        """The verdict on everything so far; ``None`` for fewer than 15 frames that have both picture and sound."""
        count = min(self._frames, self._with_sound) - FRAMES
        if count < SHORTEST:
            return None
        columns = FRAME_COLUMNS * torch.arange(count)[:, None] + torch.arange(COLUMNS)
        sounds = self._cepstra[:, columns].transpose(0, 1)[:, None].to(next(self.judge.parameters()).device)
        heard = torch.cat([self.judge.embed_audio(some).cpu() for some in torch.split(sounds, BATCH)])
        return lag_match(torch.cat(self._seen)[:count], heard)


def load_lag_expert(path: Path | None = None) -> SyncNet2016:
    """The published judge, on the CPU.

    Args:
        path: its weights, ``syncnet_v2.model``; without one it is downloaded. Nothing in the file is executed. Other
            weights of the same network are taken too, and the result's ``published`` is false.

    Raises:
        DownloadError: it cannot be downloaded.
        CheckpointError: no such file, or not weights of this network.
    """
    file = downloads.fetch(downloads.SYNCNET_V2) if path is None else path
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name")
    sha256 = digest(file)
    try:
        with warnings.catch_warnings(action="ignore"):  # of a program in place of weights, which is not run either
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds for files that are none of its own, and says how to trust them
        raise CheckpointError(f"{file} cannot be read as weights; give the file as it was published") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds no weights; give the file as it was published")
    judge = SyncNet2016(state)
    judge.sha256, judge.published = sha256, sha256 == downloads.SYNCNET_V2.sha256
    return judge
