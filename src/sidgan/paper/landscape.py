"""Figure 2: a reconstruction loss and a sync loss against shift and mouth opening, and where both are low."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidgan.config import SYNC_FRAMES
from sidgan.paper.footage import Progress, Source
from sidgan.paper.judges import CONTEXTUAL, L1, RECONSTRUCTION, Expert, Reconstruction, sync_losses
from sidgan.paper.material import Material
from sidgan.paper.numbers import FEASIBLE, Surface, apart, area, compromise, feasible, interval, resampled
from sidgan.paper.shifts import moved
from sidgan.paper.warp import open_mouth
from sidgan.types import Byte, Float

SHIFTS = tuple(range(-24, 25, 4))  #: shifts k, px at 512
OPENINGS = tuple(i / 4 for i in range(-4, 5))  #: mouth openings s; the mouth is 1 + 0.6 s times as high
BOOTSTRAP = 200  #: resamples; fewer than for curves, because each one needs its own surfaces


@dataclass(frozen=True)
class Panel:
    """A reconstruction loss and a sync loss over the same windows.

    Attributes:
        title: heading that names both losses. names: of the reconstruction loss and the sync loss.
        reconstruction, sync: (N, Y, X) losses of N windows; Y runs over `OPENINGS`, X over `SHIFTS`.
        videos: (N,) index of each window's video.
    """

    title: str
    names: tuple[str, str]
    reconstruction: Float
    sync: Float
    videos: Sequence[int]

    def surfaces(self, weights: Float | None = None) -> tuple[Surface, Surface]:
        """Both losses as surfaces: sums over windows with (N,) weights, by default the mean."""
        weights = np.full(len(self.sync), 1 / len(self.sync)) if weights is None else weights
        first, second = (np.tensordot(weights, v, 1) for v in (self.reconstruction, self.sync))
        x, y = np.array(SHIFTS, float), np.array(OPENINGS)
        return Surface.through(x, y, first), Surface.through(x, y, second)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        first, second = self.surfaces()
        best = compromise(first, second)
        draws = resampled(np.eye(len(self.sync)), self.videos)[:BOOTSTRAP]  # (BOOTSTRAP, N) weights of the windows
        samples = [self.surfaces(w) for w in draws]
        areas = interval(np.array([area(feasible(*s)) for s in samples]))
        distances = interval(np.array([apart(*s)["distance"] for s in samples]))
        conflicts = interval(np.array([compromise(*s).conflict for s in samples]))
        return {
            "title": self.title,
            "area": area(feasible(first, second)), "area_interval": areas.tolist(),
            "minima": apart(first, second), "distance_interval": distances.tolist(),
            "conflict": best.conflict, "conflict_interval": conflicts.tolist(),
            "compromise_at": {"shift": best.x, "opening": best.y},
            "losses": [
                _loss(name, surface, values.mean(0))
                for name, surface, values in zip(
                    self.names, (first, second), (self.reconstruction, self.sync), strict=True
                )
            ],
        }  # fmt: skip


def _loss(name: str, surface: Surface, mean: Float) -> dict[str, Any]:
    along_shift, along_opening = mean[OPENINGS.index(0)], mean[:, SHIFTS.index(0)]
    return {
        "name": name, "minimum_at": {"shift": surface.minimum[0], "opening": surface.minimum[1]},
        "range": [float(mean.min()), float(mean.max())],
        "change_with_shift": float(np.ptp(along_shift)), "change_with_opening": float(np.ptp(along_opening)),
        "mean": mean.tolist(),
    }  # fmt: skip


@dataclass(frozen=True)
class Landscape:
    """The content of Figure 2.

    Attributes:
        panels: (a) without and (b) with shift-invariant losses.
        material: what they are computed from.
        replicated: share of shifted crops that cross the video's edge and so repeat its last column.
        example: three face crops (S, S, 3) of one frame, with the mouth opened by s = -1, 0 and 1.
    """

    panels: tuple[Panel, Panel]
    material: Material
    replicated: float
    example: tuple[Byte, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without images."""
        return {
            "figure": 2, "shifts_px_at_512": list(SHIFTS), "openings": list(OPENINGS), **self.material.to_dict(),
            "replicated_mean": self.replicated, "feasible_share_of_range": FEASIBLE, "resamples": BOOTSTRAP,
            "panels": [panel.to_dict() for panel in self.panels],
        }  # fmt: skip


def landscape(
    source: Source, experts: Sequence[Expert], reconstruction: Reconstruction,
    progress: Progress = lambda done, total: None,
) -> Landscape:  # fmt: skip
    """Compute Figure 2; only one window of images is in memory at a time.

    All five frames of a window are warped for the sync loss; the other losses use its middle frame only.

    Args:
        source: supplies the windows.
        experts: the experts for panel (a) and panel (b); a single one is used for both.
        reconstruction: computes L1 for panel (a) and the contextual loss for (b).
        progress: called with the number of windows done and wanted.

    Raises:
        InputError: see `Source.windows`.
    """
    sync: list[Float] = []
    others: list[Float] = []
    replicated: list[float] = []
    videos: list[int] = []
    example: tuple[Byte, ...] = ()
    for window in source.windows():
        audio = [expert.hear(window.mel)[0] for expert in experts]
        middle = SYNC_FRAMES // 2
        rows = []
        for s in OPENINGS:
            wide = np.stack([open_mouth(i, p, s) for i, p in zip(window.wide, window.landmarks, strict=True)])
            losses = [sync_losses(e.see(wide, SHIFTS), a) for e, a in zip(experts, audio, strict=True)]
            rows.append((np.stack(losses), reconstruction(wide[middle], window.wide[middle], SHIFTS)))
        sync.append(np.stack([row for row, _ in rows], 1))  # (experts, Y, X)
        others.append(np.stack([row for _, row in rows], 1))  # (3, Y, X)
        replicated.append(float(window.replicated([k for k in SHIFTS if k]).mean()))
        videos.append(source.videos.index(window.video))
        if not example:
            image, points = window.wide[middle], window.landmarks[middle]
            example = tuple(moved(open_mouth(image, points, s), 0) for s in (-1.0, 0.0, 1.0))
        progress(len(sync), source.count)
    by_expert, by_loss = np.stack(sync, 1), np.stack(others, 1)
    panels = []
    for letter, name, which in (("a", L1, 0), ("b", CONTEXTUAL, -1)):
        names = (name, f"sync, {experts[which].title}")
        values = by_loss[RECONSTRUCTION.index(name)], by_expert[which]
        panels.append(Panel(f"({letter}) {name} and {names[1]}", names, *values, videos))
    material = Material.of(source, reconstruction)
    return Landscape((panels[0], panels[1]), material, float(np.mean(replicated)), example)
