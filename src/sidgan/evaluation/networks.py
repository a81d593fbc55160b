"""The two published networks behind FID, LSE-D and LSE-C, which are optional.

If the digest of a file is not that of the published one, its metrics get other names, never the published ones::

                     published file                custom file
    Inception        fid                           fd_custom
    SyncNet of 2016  lse_d, lse_c, lse_offset      lag_d, lag_c, lag_offset
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sidgan import downloads, metrics
from sidgan.errors import CheckpointError
from sidgan.evaluation.measures import ClipMetric, FrameBatch, SetMetric
from sidgan.files import digest
from sidgan.metrics.lag import FRAME_SAMPLES
from sidgan.nn import SyncNet2016
from sidgan.settings import require
from sidgan.types import Float


@dataclass(frozen=True)
class Networks:
    """The loaded networks of one process: set metrics with Inception, and the SyncNet of 2016, if any."""

    sets: Mapping[str, SetMetric] = field(default_factory=dict)
    lag_expert: SyncNet2016 | None = None

    def clip_metrics(self, samples: Float | None, faces: Tensor | None) -> list[ClipMetric]:
        """New metrics for one clip and row, see `Lag`."""
        return [] if self.lag_expert is None else [Lag(self.lag_expert, samples, faces)]


NONE = Networks()


@dataclass(frozen=True)
class NetworkFiles:
    """Files of the networks; picklable, to be sent to worker processes.

    Attributes:
        inception: TorchScript file; this is executable code, so use only files that you trust.
        lag_expert: weights of the SyncNet of 2016.
        fid_every: FID uses only every n-th judged frame.

    Raises:
        CheckpointError: a file does not exist, or is of another type.
    """

    inception: Path | None = None
    lag_expert: Path | None = None
    fid_every: int = 1

    def __post_init__(self) -> None:
        require(self.fid_every >= 1, f"fid_every must be 1 or more, not {self.fid_every}")
        for path in (self.inception, self.lag_expert):
            if path is not None and not path.is_file():
                raise CheckpointError(f"no weights file {path}; check the name")
        if self.inception is not None:  # fail early: files are loaded only when clips are judged
            metrics.require_script(self.inception)
        if self.lag_expert is not None:
            metrics.load_lag_expert(self.lag_expert)

    def or_published(self, progress: Callable[[int, int], None] = lambda done, total: None) -> NetworkFiles:
        """These files, with the published ones in place of those not given; downloaded if necessary.

        Raises:
            DownloadError: a file cannot be downloaded; the message says what to do.
        """
        return NetworkFiles(
            self.inception or downloads.fetch(downloads.INCEPTION, progress),
            self.lag_expert or downloads.fetch(downloads.SYNCNET_V2, progress), self.fid_every,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """The entry in ``protocol.json``: digests, and whether they are those of the published files."""
        found: dict[str, Any] = {}
        for name, path, known in (
            ("inception", self.inception, downloads.INCEPTION), ("lag_expert", self.lag_expert, downloads.SYNCNET_V2)
        ):  # fmt: skip
            if path is not None:
                sha256 = digest(path)
                found[name] = {"sha256": sha256, "published": sha256 == known.sha256}
        return found | ({"fid_every": self.fid_every} if self.inception is not None else {})

    def load(self, device: torch.device | str = "cpu") -> Networks:
        """Load the networks.

        Raises:
            CheckpointError: a file does not hold the expected network.
        """
        sets = dict[str, SetMetric]()
        if self.inception is not None:
            network = metrics.load_inception(self.inception, device)
            network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))  # fail early if it does not accept images
            name = "fid" if network.published else "fd_custom"
            sets[name] = SetMetric(lambda batch: network(batch.images).numpy(), self.fid_every)
        lag_expert = None if self.lag_expert is None else metrics.load_lag_expert(self.lag_expert).to(device)
        return Networks(sets, lag_expert)


class Lag:
    """Synchronisation by the SyncNet of 2016, see `sidgan.metrics.lag_match`; NaN without sound.

    Args:
        expert: from `sidgan.metrics.load_lag_expert`.
        samples: sound of the judged frames, see `sound_of`.
        faces: (N, 3, 224, 224) uint8 of all frames, cropped from whole frames by `sidgan.metrics.pipeline_crop`.
            Without them, the judged crops are resized (`sidgan.metrics.direct_crops`), which gives other figures.
    """

    def __init__(self, expert: SyncNet2016, samples: Float | None, faces: Tensor | None) -> None:
        self._expert, self._faces = expert, faces
        self._lag = None if samples is None or not len(samples) else metrics.MouthLag(expert, samples)

    def update(self, batch: FrameBatch) -> None:
        """Add the next frames."""
        if self._lag is not None:
            self._lag.update(metrics.direct_crops(batch.images) if self._faces is None else self._faces[batch.frames])

    def values(self) -> dict[str, float]:
        """Distance, confidence and offset, named LSE only with the published weights."""
        kind = "lse" if self._expert.published else "lag"
        match = None if self._lag is None else self._lag.compute()
        values = (math.nan,) * 3 if match is None else (match.distance, match.confidence, float(match.offset))
        return dict(zip((f"{kind}_d", f"{kind}_c", f"{kind}_offset"), values, strict=True))


def sound_of(samples: Float, frames: Tensor) -> Float:
    """The sound under some frames of a clip, 640 samples each; frames beyond the end of the sound are left out.

    Removing the sound of frames that are not judged keeps video and sound in sync after them.

    Args:
        samples: sound of the clip at 16 kHz, from its frame 0 on.
        frames: (n,) indices of frames.
    """
    blocks = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return blocks[frames[frames < len(blocks)].numpy()].ravel()
