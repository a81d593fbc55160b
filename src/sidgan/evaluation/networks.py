"""The two networks of others behind FID, LSE-D and LSE-C: used when asked for, and named for what they are.

A number made with a file that is not the published one, as its digest says, never gets the published name::

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
from sidgan.config import require
from sidgan.errors import CheckpointError
from sidgan.evaluation.measures import ClipMetric, Look, SetMetric
from sidgan.files import digest
from sidgan.metrics.lag import FRAME_SAMPLES
from sidgan.nn import SyncNet2016
from sidgan.types import Float


@dataclass(frozen=True)
class Networks:
    """What was loaded, in one process: further ``sets``, and the ``judge`` of synchronisation, if any."""

    sets: Mapping[str, SetMetric] = field(default_factory=dict)
    judge: SyncNet2016 | None = None

    def clip_metrics(self, samples: Float | None, faces: Tensor | None) -> list[ClipMetric]:
        """Fresh metrics for one clip as dubbed by one row, see `Lag`."""
        return [] if self.judge is None else [Lag(self.judge, samples, faces)]


NONE = Networks()


@dataclass(frozen=True)
class NetworkFiles:
    """Which files to use; small enough to be sent to another process.

    Attributes:
        inception: TorchScript file; a program, so give only one you trust.
        lag_expert: weights of the SyncNet of 2016.
        fid_every: only every n-th judged frame is shown to Inception.

    Raises:
        CheckpointError: a file is not there, or is of another kind.
    """

    inception: Path | None = None
    lag_expert: Path | None = None
    fid_every: int = 1

    def __post_init__(self) -> None:
        require(self.fid_every >= 1, f"fid_every must be 1 or more, not {self.fid_every}")
        for path in (self.inception, self.lag_expert):
            if path is not None and not path.is_file():
                raise CheckpointError(f"no weights file {path}; check the name")
        if self.inception is not None:  # they are loaded where something is judged, perhaps after hours of training
            metrics.require_script(self.inception)
        if self.lag_expert is not None:
            metrics.load_lag_expert(self.lag_expert)

    def or_published(self, progress: Callable[[int, int], None] = lambda done, total: None) -> NetworkFiles:
        """The published file in each place that is empty, downloaded if it is not there.

        Raises:
            DownloadError: it cannot be had; the message says what to do.
        """
        return NetworkFiles(
            self.inception or downloads.fetch(downloads.INCEPTION, progress),
            self.lag_expert or downloads.fetch(downloads.SYNCNET_V2, progress), self.fid_every,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """For ``protocol.json``: digests, and whether they are the published ones."""
        found: dict[str, Any] = {}
        for name, path, known in (
            ("inception", self.inception, downloads.INCEPTION), ("lag_expert", self.lag_expert, downloads.SYNCNET_V2)
        ):  # fmt: skip
            if path is not None:
                sha256 = digest(path)
                found[name] = {"sha256": sha256, "published": sha256 == known.sha256}
        return found | ({"fid_every": self.fid_every} if self.inception is not None else {})

    def load(self, device: torch.device | str = "cpu") -> Networks:
        """Load them.

        Raises:
            CheckpointError: a file holds something else.
        """
        sets = dict[str, SetMetric]()
        if self.inception is not None:
            network = metrics.load_inception(self.inception, device)
            network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))  # one that takes no pictures is told now, and once
            name = "fid" if network.published else "fd_custom"
            sets[name] = SetMetric(lambda look: network(look.images).numpy(), self.fid_every)
        judge = None if self.lag_expert is None else metrics.load_lag_expert(self.lag_expert).to(device)
        return Networks(sets, judge)


class Lag:
    """Mouth and sound in the eyes of the SyncNet of 2016, see `sidgan.metrics.lag_match`; undefined without sound.

    Args:
        judge: from `sidgan.metrics.load_lag_expert`.
        samples: the sound of the judged frames, see `sound_of`.
        faces: (N, 3, 224, 224) uint8 of all frames, as `sidgan.metrics.pipeline_crop` cuts them out of whole frames.
            Without them the crops that are judged are resized (``direct``), which gives other figures.
    """

    def __init__(self, judge: SyncNet2016, samples: Float | None, faces: Tensor | None) -> None:
        self._judge, self._faces = judge, faces
        self._lag = None if samples is None or not len(samples) else metrics.MouthLag(judge, samples)

    def update(self, look: Look) -> None:
        """See the next frames."""
        if self._lag is not None:
            self._lag.update(metrics.direct_crops(look.images) if self._faces is None else self._faces[look.frames])

    def values(self) -> dict[str, float]:
        """Distance, confidence and offset, under the names that the weights allow."""
        kind = "lse" if self._judge.published else "lag"
        match = None if self._lag is None else self._lag.compute()
        found = (math.nan,) * 3 if match is None else (match.distance, match.confidence, float(match.offset))
        return dict(zip((f"{kind}_d", f"{kind}_c", f"{kind}_offset"), found, strict=True))


def sound_of(samples: Float, frames: Tensor) -> Float:
    """Of a clip's sound at 16 kHz, from its frame 0 on, the part under some of its frames (n,), as far as there is any.

    Frames that are not judged are left out of the sound as well: picture and sound would drift apart after them.
    """
    blocks = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return blocks[frames[frames < len(blocks)].numpy()].ravel()
