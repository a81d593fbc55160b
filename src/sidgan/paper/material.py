"""What Figures 2 and 4 are computed from, which both state beside their results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sidgan.config import SYNC_FRAMES
from sidgan.errors import counted
from sidgan.paper.footage import Source
from sidgan.paper.judges import CAUTION, Reconstruction, is_random
from sidgan.paper.numbers import LEVEL


@dataclass(frozen=True)
class Material:
    """The windows of a figure, and how they were compared.

    Attributes:
        videos: file -> number of windows. skipped: file -> reason.
        seed: of the choice of windows. size: side at which images were compared, px.
        vgg: source of the VGG19 weights. caution: a warning to the reader, or ``None``.
    """

    videos: dict[str, int]
    skipped: dict[str, str]
    seed: int
    size: int
    vgg: str
    caution: str | None

    @classmethod
    def of(cls, source: Source, reconstruction: Reconstruction) -> Material:
        """That of a figure whose windows have all been drawn from ``source``."""
        vgg = reconstruction.vgg
        caution = CAUTION if is_random(vgg) else None
        return cls(source.used, source.skipped, source.seed, reconstruction.size, vgg.source, caution)

    @property
    def unit(self) -> str:
        """What bootstrap intervals resample, see `sidgan.paper.numbers.resampled`."""
        return "videos" if len(self.videos) > 1 else "windows"

    @property
    def counts(self) -> tuple[str, str]:
        """The numbers of windows and of videos, in words."""
        return counted(sum(self.videos.values()), "window"), counted(len(self.videos), "video")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = asdict(self)
        return {
            "windows": sum(self.videos.values()), "picture_px": values.pop("size"), **values,
            "frames_per_window": SYNC_FRAMES, "reconstruction_frames": 1, "interval_percent": LEVEL,
            "resampled_over": self.unit,
        }  # fmt: skip
