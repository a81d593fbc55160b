"""The reconstruction protocol: let the generator redraw real clips from their own sound, and compare (Sec. 4).

Every clip is also judged as dubbed by others, so that a figure can be read: a generator has learnt something only
where it beats those that do not listen (``reference``, ``random``) and itself with the wrong sound.

    truth      the clip itself: what the best possible dubber would score
    model      the generator with the right sound
    wrong      the generator with the clip's own sound, half the clip later
    reference  the reference frame's mouth, in every frame
    random     the mouth of another frame of the clip, drawn anew for each frame
    average    the clip's average mouth. It knows the answers: a landmark for PSNR, not a bar to pass

All of them are pasted into the true frames inside the hidden box, and those are judged; columns that begin with
``raw_`` judge the whole picture as it was drawn.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan import faces, metrics
from sidgan.config import require
from sidgan.data.dataset import PackedClip, PackedSet, box_masks
from sidgan.data.offset import mouth_opening
from sidgan.metrics.lips import LMD_SIZE
from sidgan.nn import Generator, SyncNet
from sidgan.types import Byte, Float

BATCH = 32  #: frames drawn and judged together
RESAMPLES = 2000  #: bootstrap resamples behind an interval
ROWS = ("truth", "model", "wrong", "reference", "random", "average")
PER_FRAME = ("mouth_psnr", "psnr", "ssim", "raw_psnr", "raw_ssim", "lmd", "lmd_c", "id")  #: means over frames

#: Metric -> (heading, decimals), in the table's order.
COLUMNS = {
    "mouth_psnr": ("mouth dB", 2),  # PSNR inside the hidden box
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 3),
    "raw_psnr": ("raw dB", 2),
    "raw_ssim": ("raw SSIM", 3),
    "lmd": ("LMD px", 2),
    "lmd_c": ("LMD-c px", 2),
    "id": ("ID", 3),
    "opening": ("opening r", 2),  # correlation of the mouth's opening with the true one
    "opening_lag": ("lag", 1),  # frames, where that correlation is highest
    "opening_ratio": ("size", 2),  # how far it opens, relative to the true one
    "sync": ("sync p", 3),  # expert's probability, against the sound it was drawn from
    "sync_offset": ("offset", 1),  # frames by which the picture lags, in the expert's eyes
    "sync_near": ("off<=1", 2),  # share of clips with such an offset of at most one frame
}


@dataclass(frozen=True)
class Record:
    """One clip as dubbed by one row: the number of judged ``frames`` and ``values`` by metric, NaN where undefined."""

    clip: str
    row: str
    frames: int
    values: dict[str, float]


class Interval(NamedTuple):
    """A mean over clips and its 95 % bootstrap interval, NaN where there are fewer than two clips."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class EvalResult:
    """What `evaluate` found: its ``settings`` and a record for each clip and row."""

    settings: dict[str, Any]
    records: tuple[Record, ...]

    @cached_property
    def means(self) -> dict[str, dict[str, Interval]]:
        """Row -> metric -> mean over clips; every clip counts the same, however long."""
        rows = dict.fromkeys(record.row for record in self.records)
        return {
            row: {
                metric: bootstrap([r.values[metric] for r in self.records if r.row == row])
                for metric in COLUMNS
            }
            for row in rows
        }  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values; undefined figures are ``None``."""
        means = {row: {k: v._asdict() for k, v in values.items()} for row, values in self.means.items()}
        plain = {"settings": self.settings, "means": means, "clips": [asdict(record) for record in self.records]}
        return dict(_without_nan(plain))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def bootstrap(values: Sequence[float]) -> Interval:
    """Mean of the values that are defined, and its 95 % percentile interval; always the same for the same values."""
    known = np.array([v for v in values if not math.isnan(v)])
    if len(known) < 2:
        return Interval(float(known[0]) if len(known) else math.nan, math.nan, math.nan)
    picks = np.random.default_rng(0).integers(len(known), size=(RESAMPLES, len(known)))
    low, high = np.quantile(known[picks].mean(1), [0.025, 0.975])
    return Interval(math.fsum(known) / len(known), float(low), float(high))


def table(results: Mapping[str, EvalResult]) -> str:
    """Aligned text: a block for each result under its name, with means and half the width of their 95 % intervals.

    Columns without a single figure (no expert given, no identities asked for) are left out.
    """
    blocks = []
    for name, result in results.items():
        shown = [k for k in COLUMNS if any(not math.isnan(row[k].mean) for row in result.means.values())]
        clips = len({record.clip for record in result.records})
        head = [f"{name} ({clips} clip{'s' * (clips != 1)})", *(COLUMNS[k][0] for k in shown)]
        lines = [head] + [
            [row, *(_cell(values[k], COLUMNS[k][1]) for k in shown)] for row, values in result.means.items()
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        blocks.append(
            "\n".join(
                "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
                for line in lines
            )
        )
    return "\n\n".join(blocks)


def _cell(figure: Interval, decimals: int) -> str:
    if math.isnan(figure.mean):
        return "-"
    if math.isnan(figure.low):
        return f"{figure.mean:.{decimals}f}"
    return f"{figure.mean:.{decimals}f} ±{(figure.high - figure.low) / 2:.{decimals}f}"


# ---------------------------------------------------------------------------------------------------------- protocol


@torch.no_grad()
def evaluate(
    generator: Generator,
    data: PackedSet,
    *,
    expert: SyncNet | None = None,
    reference: Literal["first", "last"] = "first",
    id_every: int = 5,
    max_frames: int | None = None,
    rows: Sequence[str] = ROWS,
) -> EvalResult:
    """Dub every clip of a set with its own sound and measure how far the result is from the truth.

    The reference frame itself is not judged: there the reference *is* the answer.

    Args:
        generator: any size; pictures are scaled to it and its pictures back to ``data.size``, where they are judged.
        data: the clips, usually of one split.
        expert: judges synchronisation; without one those columns are undefined.
        reference: which frame of a clip shows the generator the person; the paper takes the first.
        id_every: identity, the slowest metric, is measured on every n-th frame; 0 leaves it out.
        max_frames: only the beginning of longer clips is used.
        rows: which of `ROWS` to compute.

    Raises:
        ConfigError: an unknown row, or an impossible number.
    """
    unknown = sorted(set(rows) - set(ROWS))
    require(not unknown, f"unknown row '{', '.join(unknown)}'; rows: {', '.join(ROWS)}")
    require(reference in ("first", "last"), f"reference must be first or last, not '{reference}'")
    require(id_every >= 0, f"id_every must be 0 or more, not {id_every}")
    require(max_frames is None or max_frames >= 2, f"max_frames must be at least 2, not {max_frames}")
    settings = {"reference": reference, "id_every": id_every, "max_frames": max_frames, "size": data.size}
    records = []
    with _evaluating(generator), _evaluating(expert):
        for whole in data.clips:
            clip = _beginning(whole, max_frames)
            if len(clip) < 2:
                continue  # nothing is left beside the reference
            subject = _Subject(clip, reference, id_every)
            for row in rows:
                records.append(_judge(subject, row, _dubber(row, subject, generator), expert))
    return EvalResult(settings, tuple(records))


@contextmanager
def _evaluating(network: nn.Module | None) -> Iterator[None]:
    """Eval mode for a while, so that a network in training can be judged in between."""
    training = network is not None and network.training
    if network is not None:
        network.eval()
    try:
        yield
    finally:
        if network is not None:
            network.train(training)


def _beginning(clip: PackedClip, count: int | None) -> PackedClip:
    return PackedClip(clip.name, clip.images[:count], clip.mels[:count], clip.masks[:count], clip.landmarks[:count])


class _Subject:
    """A clip to be dubbed, and what its own frames say, found once for all rows.

    Attributes:
        frames: indices of the judged frames, consecutive.
        reference: index of the reference frame, not among them.
        wrong_mels: the clip's sound, half its length later.
    """

    def __init__(self, clip: PackedClip, reference: str, id_every: int) -> None:
        self.clip = clip
        count = len(clip)
        self.reference = 0 if reference == "first" else count - 1
        self.frames = torch.arange(1, count) if reference == "first" else torch.arange(count - 1)
        self.id_frames = set(self.frames[::id_every].tolist()) if id_every else set[int]()
        self.wrong_mels = clip.mels.roll(-(count // 2), 0)
        # Packed landmarks are smoothed over time. Others are found frame by frame, so the true ones must be as well.
        self.guides = clip.landmarks * LMD_SIZE - 0.5
        self.landmarks = np.zeros_like(clip.landmarks)
        self.identities: dict[int, Float] = {}
        for some in torch.split(self.frames, BATCH):
            pictures = judged_size(clip.images[some])
            self.landmarks[some] = self.find_landmarks(pictures, some)
            self.identities |= self.embed(pictures, some)

    @property
    def size(self) -> int:
        return int(self.clip.images.shape[-1])

    def masks(self, frames: Tensor) -> Tensor:
        """The hidden boxes of some frames (n, 1, S, S)."""
        return box_masks(self.clip.masks[frames], self.size)

    def find_landmarks(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Landmarks (n, 68, 2) of pictures of these frames, looked for where the true face is."""
        boxes = [faces.box_of(self.guides[i]) for i in frames.tolist()]
        return np.stack([faces.landmarks(p, box) for p, box in zip(pictures, boxes, strict=True)])

    def embed(self, pictures: Sequence[Byte], frames: Tensor) -> dict[int, Float]:
        """Identities of those pictures whose frame is asked for, by frame, under the true landmarks."""
        pairs = zip(frames.tolist(), pictures, strict=True)
        return {i: faces.embed(p, self.guides[i]) for i, p in pairs if i in self.id_frames}


def judged_size(images: Tensor) -> list[Byte]:
    """Crops (n, 3, S, S) uint8 as n pictures (256, 256, 3) in which landmarks are found."""
    how = cv2.INTER_AREA if images.shape[-1] > LMD_SIZE else cv2.INTER_LINEAR
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    return [np.asarray(cv2.resize(p, (LMD_SIZE, LMD_SIZE), interpolation=how)) for p in pictures]


# ----------------------------------------------------------------------------------------------------------- dubbers

Dubber = Callable[[Tensor], Tensor]  #: frame indices (n,) -> whole pictures (n, 3, S, S) uint8


def _dubber(row: str, subject: _Subject, generator: Generator) -> Dubber:
    images = subject.clip.images
    if row == "truth":
        return lambda frames: images[frames]
    if row in ("model", "wrong"):
        return _generated(generator, subject, subject.clip.mels if row == "model" else subject.wrong_mels)
    if row == "reference":
        return lambda frames: images[subject.reference].expand(len(frames), -1, -1, -1)
    if row == "random":
        others = _other_frames(subject.clip)
        return lambda frames: images[others[frames]]
    total = torch.stack([part.sum(0, dtype=torch.int64) for part in torch.split(images, BATCH)]).sum(0)
    average = (total.double() / len(images)).round().to(torch.uint8)
    return lambda frames: average.expand(len(frames), -1, -1, -1)


def _other_frames(clip: PackedClip) -> Tensor:
    """For each frame another one; the clip's name decides, so that other clips in the set change nothing."""
    count = len(clip)
    steps = np.random.default_rng(zlib.crc32(clip.name.encode())).integers(1, count, size=count)
    return torch.from_numpy((np.arange(count) + steps) % count)


def _generated(generator: Generator, subject: _Subject, mels: Tensor) -> Dubber:
    size = generator.config.size
    device = next(generator.parameters()).device

    def pictures(frames: Tensor | slice) -> Tensor:
        return scaled(subject.clip.images[frames].to(device).float() / 255, size)

    features = generator.encode_reference(pictures(slice(subject.reference, subject.reference + 1)))

    def draw(frames: Tensor) -> Tensor:
        hidden = box_masks(subject.clip.masks[frames].to(device), size)
        query = pictures(frames) * (1 - hidden)
        drawn = generator.decode(query, features, mels[frames].to(device).float())[size]
        levels = scaled(drawn, subject.size) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).to(subject.clip.images.device)

    return draw


def scaled(images: Tensor, size: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, size, size): averaged down or enlarged bilinearly."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] > size:
        return F.interpolate(images, (size, size), mode="area")
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


# ----------------------------------------------------------------------------------------------------------- judging


def _judge(subject: _Subject, row: str, dub: Dubber, expert: SyncNet | None) -> Record:
    clip = subject.clip
    means = {name: metrics.FrameMean() for name in PER_FRAME}
    opening = metrics.MouthOpening()
    sync = metrics.MouthSync(expert) if expert is not None else None
    heard = subject.wrong_mels if row == "wrong" else clip.mels
    for frames in torch.split(subject.frames, BATCH):
        truth, masks = clip.images[frames], subject.masks(frames)
        raw = dub(frames)
        images = torch.where(masks > 0, raw, truth)
        means["mouth_psnr"].update(metrics.psnr(images, truth, masks))
        means["psnr"].update(metrics.psnr(images, truth))
        means["ssim"].update(metrics.ssim(images, truth))
        means["raw_psnr"].update(metrics.psnr(raw, truth))
        means["raw_ssim"].update(metrics.ssim(raw, truth))
        pictures = judged_size(images)
        points, true_points = subject.find_landmarks(pictures, frames), subject.landmarks[frames]
        means["lmd"].update(metrics.lmd(points, true_points))
        means["lmd_c"].update(metrics.lmd_centred(points, true_points))
        opening.update(mouth_opening(points), mouth_opening(true_points))
        for frame, identity in subject.embed(pictures, frames).items():
            means["id"].update(metrics.identity_distance(identity[None], subject.identities[frame][None]))
        if sync is not None:
            sync.update(images, heard[frames])
    values = {name: mean.compute() for name, mean in means.items()}
    values |= _opening_values(opening.compute()) | _sync_values(sync.compute() if sync else None)
    return Record(clip.name, row, len(subject.frames), values)


def _opening_values(match: metrics.OpeningMatch) -> dict[str, float]:
    moved = bool(match.correlations.any())
    return {
        "opening": match.correlation,
        "opening_lag": float(match.lag) if moved else math.nan,
        "opening_ratio": match.ratio,
    }


def _sync_values(match: metrics.SyncMatch | None) -> dict[str, float]:
    if match is None:
        return dict.fromkeys(("sync", "sync_offset", "sync_near"), math.nan)
    return {
        "sync": match.probability,
        "sync_offset": float(match.offset),
        "sync_near": float(abs(match.offset) <= 1),
    }
