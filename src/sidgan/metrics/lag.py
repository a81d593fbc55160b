"""Synchronisation of mouth and sound by the published SyncNet of 2016 (the paper's LSE-D and LSE-C).

The definition follows the programs behind the published figures (Chung & Zisserman's, and Wav2Lip's evaluation),
including their peculiarities. **Only numbers from the published weights may be called LSE-D and LSE-C** (see
``published`` of the network), so the names here are neutral.
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

REACH = 15  #: largest offset that is tried in either direction, frames
MIN_WINDOWS = 10  #: clips with fewer windows get no result
FRAME_SAMPLES = SAMPLE_RATE // 25  #: audio samples per frame at 25 fps
FRAME_COLUMNS = 4  #: columns of MFCCs per frame
BATCH = 20  #: windows per forward pass


class LagMatch(NamedTuple):
    """Synchronisation of a clip.

    Attributes:
        distance: mean distance of mouth and sound features at the best offset; LSE-D with the published weights.
            Lower is better.
        confidence: the median distance over all offsets minus ``distance``; LSE-C likewise. Higher is better.
        offset: frames by which the video lags the sound, as in `sidgan.metrics.SyncMatch`; 0 is in sync.
        distances: (31,) mean distance at each offset, from 15 down to -15: mouth i against sound i - 15 ... i + 15.
    """

    distance: float
    confidence: float
    offset: int
    distances: Tensor


def lag_match(seen: Tensor, heard: Tensor) -> LagMatch | None:
    """Compare the windows of a clip with its sound at offsets of up to 15 frames in either direction.

    The sound features are padded with zeros at both ends, as in the published programs. In short clips, most offsets
    include these zeros, so even constant features get a confidence above 0.

    Args:
        seen: (N, D) video features of consecutive windows.
        heard: (N, D) sound features of the same windows.

    Returns:
        The match, or ``None`` for fewer than 10 windows.

    Raises:
        MetricError: the shapes do not match, or values are not finite.
    """
    require(seen.ndim == 2 and seen.shape == heard.shape,
            f"features must be two stacks (N, D), not {shape(seen)} and {shape(heard)}")  # fmt: skip
    require(bool(torch.isfinite(seen).all() and torch.isfinite(heard).all()), "features are not finite")
    if len(seen) < MIN_WINDOWS:
        return None
    mouths, sounds = seen.double(), F.pad(heard.double(), (0, 0, REACH, REACH))
    distances = torch.stack([
        F.pairwise_distance(mouths, sounds[k : k + len(mouths)]).mean() for k in range(2 * REACH + 1)
    ])  # fmt: skip
    best = int(distances.argmin())
    lowest = float(distances[best])
    return LagMatch(lowest, float(distances.median()) - lowest, REACH - best, distances)


class MouthLag:
    """Accumulates `lag_match` over consecutive parts of one clip; windows may span two parts.

    Args:
        judge: the network, from `load_lag_expert`.
        samples: sound of the whole clip from its first frame on, (n,) float in [-1, 1] at 16 kHz.
    """

    def __init__(self, judge: SyncNet2016, samples: Float) -> None:
        self.judge = judge
        self._cepstra = torch.from_numpy(mfcc(samples).T).float()
        self._sound_frames = len(samples) // FRAME_SAMPLES
        self._frames = 0
        self._pending = torch.empty(0, 3, FACE, FACE, dtype=torch.uint8)  # last frames, with which later windows begin
        self._seen: list[Tensor] = []

    @torch.no_grad()
    def update(self, faces: Tensor) -> None:
        """Add the next frames: (n, 3, 224, 224) uint8 RGB at 25 fps (`direct_crops`, `pipeline_crop`)."""
        require(faces.ndim == 4 and shape(faces)[1:] == (3, FACE, FACE) and faces.dtype == torch.uint8,
                f"faces must be (n, 3, {FACE}, {FACE}) uint8, not {shape(faces)} {faces.dtype}")  # fmt: skip
        self._frames += len(faces)
        faces = torch.cat([self._pending, faces.cpu()])
        count = len(faces) - FRAMES + 1
        device = next(self.judge.parameters()).device
        for start in range(0, max(0, count), BATCH):
            index = torch.arange(start, min(start + BATCH, count))[:, None] + torch.arange(FRAMES)
            windows = faces[index].flip(2).transpose(1, 2).to(device).float()  # BGR, (n, 3, 5, 224, 224)
            self._seen.append(self.judge.embed_video(windows).cpu())
        self._pending = faces[max(0, count) :]

    @torch.no_grad()
    def compute(self) -> LagMatch | None:
        """The match of all frames so far; ``None`` for fewer than 15 frames that have both video and sound."""
        count = min(self._frames, self._sound_frames) - FRAMES
        if count < MIN_WINDOWS:
            return None
        columns = FRAME_COLUMNS * torch.arange(count)[:, None] + torch.arange(COLUMNS)
        sounds = self._cepstra[:, columns].transpose(0, 1)[:, None].to(next(self.judge.parameters()).device)
        heard = torch.cat([self.judge.embed_audio(batch).cpu() for batch in torch.split(sounds, BATCH)])
        return lag_match(torch.cat(self._seen)[:count], heard)


def load_lag_expert(path: Path | None = None) -> SyncNet2016:
    """Load the SyncNet of 2016 on the CPU.

    Args:
        path: weights file; by default the published ``syncnet_v2.model``, downloaded if necessary. No code of the file
            is executed. Other weights of the same network are accepted; then ``published`` of the result is false.

    Raises:
        DownloadError: the file cannot be downloaded.
        CheckpointError: the file does not exist, or holds no weights of this network.
    """
    file = downloads.fetch(downloads.SYNCNET_V2) if path is None else path
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name")
    sha256 = digest(file)
    try:
        with warnings.catch_warnings(action="ignore"):  # warns of TorchScript files, which are refused
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # torch raises many types for foreign files, and advises to load them unsafely
        raise CheckpointError(f"{file} cannot be read as weights; give the file as it was published") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{file} holds no weights; give the file as it was published")
    judge = SyncNet2016(state)
    judge.sha256, judge.published = sha256, sha256 == downloads.SYNCNET_V2.sha256
    return judge
