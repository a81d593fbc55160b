"""Whether lips follow a new voice: every clip is given the sound of another one, and its mouth compared with theirs.

There is no true picture of this face saying that, but the mouth that did say it is known::

    donor      the redrawn mouth beside the one of the clip that the voice came from
    elsewhere  the same mouth beside that of a third clip, which it was not drawn for: what chance would score

A mouth follows the voice where ``donor`` correlates and ``elsewhere`` does not. Openings are measured in eye distances,
so that faces of different size can be compared.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sidgan.config import require
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.evaluation.measures import Opening, Sync
from sidgan.evaluation.reconstruction import donor
from sidgan.evaluation.results import EvalResult, Record
from sidgan.evaluation.subject import BATCH, Subject, beginning, evaluating, generated
from sidgan.nn import Generator, SyncNet

ROWS = ("donor", "elsewhere")
REVOICED = "revoiced"  #: the system's name in records and tables
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
    enough(len(clips))
    records: list[Record] = []
    with evaluating(generator), evaluating(expert):
        for i, clip in enumerate(clips):
            voice, third = others(i, len(clips))
            records += revoice_clip(generator, clip, clips[voice], clips[third], expert)
    return EvalResult({"max_frames": max_frames, "size": data.size}, tuple(records))


def enough(count: int) -> None:
    """Raise a `ConfigError` where there are fewer than three clips."""
    require(count >= 3, f"a new voice needs at least three clips to choose from, not {count}")


def others(index: int, count: int) -> tuple[int, int]:
    """Donor and third clip of the ``index``-th of ``count`` clips, which are at least three."""
    voice = donor(index, count) or 0
    third = (voice + 1) % count
    return voice, third if third != index else (third + 1) % count


@torch.no_grad()
def revoice_clip(
    generator: Generator, clip: PackedClip, voice: PackedClip, third: PackedClip, expert: SyncNet | None,
    mask: str = "query", reference: str = "first",
) -> list[Record]:  # fmt: skip
    """Both rows of one clip; none where the three are too short to be compared."""
    shared = min(len(clip), len(voice), len(third))
    if shared <= SHORTEST:
        return []
    subject = Subject(beginning(clip, shared), reference, mask=mask)
    heard = [beginning(other, shared) for other in (voice, third)]
    true = [Subject(other, score_reference=True).landmarks for other in heard]
    scores = [(Opening(), Sync(expert)) for _ in ROWS]
    dub = generated(generator, subject, heard[0].mels)
    for frames in torch.split(subject.frames, BATCH):
        images = torch.where(subject.masks(frames) > 0, dub(frames), subject.clip.images[frames])
        look = subject.look(images, frames, heard[0].mels)
        for metrics, other, points in zip(scores, heard, true, strict=True):
            for metric in metrics:
                metric.update(replace(look, true_landmarks=points[frames.numpy()], mels=other.mels[frames]))
    return [
        Record(clip.name, row, len(subject.frames), opening.values() | sync.values(), REVOICED)
        for row, (opening, sync) in zip(ROWS, scores, strict=True)
    ]
