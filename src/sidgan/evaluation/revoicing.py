"""Whether lips follow a new voice: each clip is dubbed with the sound of another clip, its *donor*.

No ground truth exists of this face saying these words, but the movement of the donor's mouth is known. Rows::

    donor      the dubbed mouth, compared with the mouth of the donor
    elsewhere  the dubbed mouth, compared with the mouth of a third clip: the chance level

The mouth follows the voice if ``donor`` correlates and ``elsewhere`` does not. Openings are measured in eye distances,
so that faces of different size can be compared.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from sidgan.data.dataset import PackedClip
from sidgan.evaluation.measures import Opening, Sync
from sidgan.evaluation.reconstruction import donor
from sidgan.evaluation.results import Record
from sidgan.evaluation.subject import BATCH, Subject, beginning, generated
from sidgan.nn import Generator, SyncNet
from sidgan.settings import require

ROWS = ("donor", "elsewhere")
REVOICED = "revoiced"  #: the system's name in records and tables
SHORTEST = 25  #: frames; the three clips must all be longer, since correlations over fewer frames mean little


def enough(count: int) -> None:
    """Raise `ConfigError` if there are fewer than three clips."""
    require(count >= 3, f"a new voice needs at least three clips to choose from, not {count}")


def others(index: int, count: int) -> tuple[int, int]:
    """Indices of donor and third clip for the ``index``-th of ``count`` >= 3 clips.

    The donor is half the set further on, the third clip the one after that.
    """
    voice = donor(index, count) or 0
    third = (voice + 1) % count
    return voice, third if third != index else (third + 1) % count


@torch.no_grad()
def revoice_clip(
    generator: Generator, clip: PackedClip, voice: PackedClip, third: PackedClip, expert: SyncNet | None,
    mask: str = "query", reference: str = "first",
) -> list[Record]:  # fmt: skip
    """Dub a clip with the sound of another, ``voice``.

    Args:
        generator: in eval mode, of any size.
        expert: sync expert, applied with both sounds; without one, the sync metrics are undefined.
        mask, reference: see `sidgan.evaluation.Settings`.

    Returns:
        Records of both rows; none if one of the three clips is not longer than `SHORTEST`.
    """
    shared = min(len(clip), len(voice), len(third))
    if shared <= SHORTEST:
        return []
    subject = Subject(beginning(clip, shared), reference, mask=mask)
    heard = [beginning(other, shared) for other in (voice, third)]
    true_landmarks = [Subject(other, score_reference=True).landmarks for other in heard]
    scores = [(Opening(), Sync(expert)) for _ in ROWS]
    dub = generated(generator, subject, heard[0].mels)
    for frames in torch.split(subject.frames, BATCH):
        images = torch.where(subject.masks(frames) > 0, dub(frames), subject.clip.images[frames])
        batch = subject.batch(images, frames, heard[0].mels)
        for metrics, other, points in zip(scores, heard, true_landmarks, strict=True):
            for metric in metrics:
                metric.update(replace(batch, true_landmarks=points[frames.numpy()], mels=other.mels[frames]))
    return [
        Record(clip.name, row, len(subject.frames), opening.values() | sync.values(), REVOICED)
        for row, (opening, sync) in zip(ROWS, scores, strict=True)
    ]
