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

import zlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sidgan import metrics
from sidgan.config import require
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.data.offset import mouth_opening
from sidgan.evaluation.results import EvalResult, Record
from sidgan.evaluation.subject import (
    BATCH,
    Dubber,
    Subject,
    beginning,
    evaluating,
    generated,
    judged_size,
    opening_values,
    sync_values,
)
from sidgan.nn import Generator, SyncNet

ROWS = ("truth", "model", "wrong", "reference", "random", "average")
PER_FRAME = ("mouth_psnr", "psnr", "ssim", "raw_psnr", "raw_ssim", "lmd", "lmd_c", "id")  #: means over frames


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
    with evaluating(generator), evaluating(expert):
        for whole in data.clips:
            clip = beginning(whole, max_frames)
            if len(clip) < 2:
                continue  # nothing is left beside the reference
            subject = Subject(clip, reference, id_every)
            for row in rows:
                records.append(_judge(subject, row, _dubber(row, subject, generator), expert))
    return EvalResult(settings, tuple(records))


def _dubber(row: str, subject: Subject, generator: Generator) -> Dubber:
    images = subject.clip.images
    if row == "truth":
        return lambda frames: images[frames]
    if row in ("model", "wrong"):
        return generated(generator, subject, subject.clip.mels if row == "model" else subject.wrong_mels)
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


def _judge(subject: Subject, row: str, dub: Dubber, expert: SyncNet | None) -> Record:
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
    values |= opening_values(opening.compute()) | sync_values(sync.compute() if sync else None)
    return Record(clip.name, row, len(subject.frames), values)
