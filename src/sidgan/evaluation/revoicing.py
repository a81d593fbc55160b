"""Whether lips follow a new voice: every clip is given the sound of another one, and its mouth compared with theirs.

There is no true picture of this face saying that, but the mouth that did say it is known::

    donor      the redrawn mouth beside the one of the clip that the voice came from
    elsewhere  the same mouth beside that of a third clip, which it was not drawn for: what chance would score

A mouth follows the voice where ``donor`` correlates and ``elsewhere`` does not. Openings are measured in eye distances,
so that faces of different size can be compared.
"""

from __future__ import annotations

import numpy as np
import torch

from sidgan import metrics
from sidgan.config import require
from sidgan.data.dataset import PackedSet
from sidgan.data.offset import mouth_opening
from sidgan.evaluation.results import EvalResult, Record
from sidgan.evaluation.subject import (
    BATCH,
    Subject,
    beginning,
    evaluating,
    generated,
    judged_size,
    opening_values,
    sync_values,
)
from sidgan.nn import Generator, SyncNet
from sidgan.types import Float

ROWS = ("donor", "elsewhere")
SHORTEST = 25  #: frames two clips must share; correlations of less say little


@torch.no_grad()
def revoice(
    generator: Generator, data: PackedSet, *, expert: SyncNet | None = None, max_frames: int | None = None
) -> EvalResult:
    """Dub every clip of a set with the sound of the one half the set further on; the next one is the third.

    Args:
        generator: any size.
        data: at least three clips, usually of one split. The first frame of each is its reference.
        expert: judges synchronisation with either sound; without one those columns are undefined.
        max_frames: only the beginning of longer clips is used.

    Raises:
        ConfigError: fewer than three clips.
    """
    clips = [beginning(clip, max_frames) for clip in data.clips]
    require(len(clips) >= 3, f"a new voice needs at least three clips to choose from, not {len(clips)}")
    records = []
    with evaluating(generator), evaluating(expert):
        openings = [_openings(Subject(clip, "first", 0)) for clip in clips]
        for i, clip in enumerate(clips):
            donor = (i + len(clips) // 2) % len(clips)
            third = (donor + 1) % len(clips) if (donor + 1) % len(clips) != i else (donor + 2) % len(clips)
            shared = min(len(clip), len(clips[donor]), len(clips[third]))
            if shared <= SHORTEST:
                continue
            subject = Subject(beginning(clip, shared), "first", 0)
            syncs = {row: metrics.MouthSync(expert) if expert else None for row in ROWS}
            dub = generated(generator, subject, clips[donor].mels)
            opening = metrics.MouthOpening(), metrics.MouthOpening()
            for frames in torch.split(subject.frames, BATCH):
                truth = subject.clip.images[frames]
                images = torch.where(subject.masks(frames) > 0, dub(frames), truth)
                drawn = mouth_opening(subject.find_landmarks(judged_size(images), frames))
                for row, other, match in zip(ROWS, (donor, third), opening, strict=True):
                    match.update(drawn, openings[other][frames])
                    sync = syncs[row]
                    if sync is not None:
                        sync.update(images, clips[other].mels[frames])
            for row, match in zip(ROWS, opening, strict=True):
                sync = syncs[row]
                values = opening_values(match.compute()) | sync_values(sync.compute() if sync else None)
                records.append(Record(clip.name, row, len(subject.frames), values))
    return EvalResult({"max_frames": max_frames, "size": data.size}, tuple(records))


def _openings(subject: Subject) -> Float:
    """(N,) of the true mouth, by frame; the reference frame is not measured and stays 0."""
    openings = np.zeros(len(subject.clip))
    openings[subject.frames] = mouth_opening(subject.landmarks[subject.frames])
    return openings
