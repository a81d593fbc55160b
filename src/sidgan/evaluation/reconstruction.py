"""The reconstruction protocol: let the generator redraw real clips from their own sound, and compare (Sec. 4).

Every clip is also judged as dubbed by others, see `sidgan.evaluation.rows`. Each is judged twice: ``composite`` is
pasted into the true frames inside the hidden box, ``raw`` is the whole picture as it was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sidgan.arguments import checked
from sidgan.config import require
from sidgan.data.dataset import PackedSet
from sidgan.evaluation.judging import Verdict, judge
from sidgan.evaluation.networks import NONE, Networks
from sidgan.evaluation.results import SYSTEMS, EvalResult
from sidgan.evaluation.rows import ROWS, dubber, heard
from sidgan.evaluation.subject import Mask, Reference, Subject, beginning, evaluating
from sidgan.nn import Generator, SyncNet
from sidgan.types import Float


@torch.no_grad()
@checked
def evaluate(
    generator: Generator,
    data: PackedSet,
    *,
    expert: SyncNet | None = None,
    reference: Reference = "first",
    mask: Mask = "query",
    score_reference: bool = False,
    id_every: int = 5,
    max_frames: int | None = None,
    rows: Sequence[str] = ROWS,
    systems: Sequence[str] = SYSTEMS,
) -> EvalResult:
    """Dub every clip of a set with its own sound and measure how far the result is from the truth.

    Args:
        generator: any size; pictures are scaled to it and its pictures back to ``data.size``, where they are judged.
        data: the clips, usually of one split.
        expert: judges synchronisation; without one those columns are undefined.
        reference: which frame of a clip shows the generator the person; the paper takes the first, dubbing a ``pair``.
        mask: what is hidden: the box between the cheeks below the nose, or the lower half of the crop.
        score_reference: judge the reference frame too. There the reference is the answer: it flatters copying.
        id_every: identity, the slowest metric, is measured on every n-th frame; 0 leaves it out.
        max_frames: only the beginning of longer clips is used.
        rows: which of `ROWS` to compute; ``swapped`` is left out of a set of one clip.
        systems: which of `SYSTEMS` to judge.

    Raises:
        ConfigError: an unknown row or system, or an impossible number.
        DataError: the model draws NaN.
    """
    check(reference, mask, id_every, max_frames, rows, systems)
    few = fewest(reference, score_reference=score_reference)
    settings = {"reference": reference, "mask": mask, "score_reference": score_reference, "id_every": id_every,
                "max_frames": max_frames, "size": data.size}  # fmt: skip
    records = []
    clips = [clip for clip in (beginning(c, max_frames) for c in data.clips) if len(clip) >= few]
    with evaluating(generator), evaluating(expert):
        for i, clip in enumerate(clips):
            other = donor(i, len(clips))
            subject = Subject(clip, reference, id_every, mask=mask, score_reference=score_reference,
                              swapped=None if other is None else clips[other].mels)  # fmt: skip
            for row in possible(rows, subject.swapped):
                records += [v.record for v in judge_row(subject, row, generator, expert, systems)]
    return EvalResult(settings, tuple(records))


def check(
    reference: str, mask: str, id_every: int, max_frames: int | None, rows: Sequence[str], systems: Sequence[str]
) -> None:
    """Raise a `ConfigError` that names the setting which cannot be."""
    for word, given, known in (("row", rows, ROWS), ("system", systems, SYSTEMS)):
        unknown = sorted(set(given) - set(known))
        require(not unknown, f"unknown {word} '{', '.join(unknown)}'; {word}s: {', '.join(known)}")
    require(reference in ("first", "last", "pair"), f"reference must be first, last or pair, not '{reference}'")
    require(mask in ("query", "lower"), f"mask must be query or lower, not '{mask}'")
    require(id_every >= 0, f"id_every must be 0 or more, not {id_every}")
    require(max_frames is None or max_frames >= 2, f"max_frames must be at least 2, not {max_frames}")


def fewest(reference: str, *, score_reference: bool) -> int:
    """Frames that a clip must have: one to be judged beside those that show the person, and at least two."""
    return 3 if reference == "pair" and not score_reference else 2


def donor(index: int, count: int) -> int | None:
    """Whose voice the ``index``-th of ``count`` clips is given: that of the one half the set further on."""
    return (index + max(1, count // 2)) % count if count > 1 else None


def possible(rows: Sequence[str], swapped: Tensor | None) -> list[str]:
    """The rows for which there is a sound."""
    return [row for row in rows if row != "swapped" or swapped is not None]


def judge_row(
    subject: Subject, row: str, generator: Generator, expert: SyncNet | None, systems: Sequence[str],
    samples: Float | None = None, networks: Networks = NONE,
) -> list[Verdict]:  # fmt: skip
    """One clip as dubbed by one row; with silence there is nothing to be in sync with."""
    judges = None if row == "silent" else expert
    return judge(
        subject, row, dubber(row, subject, generator), heard(row, subject), systems=systems, expert=judges,
        samples=samples, networks=networks,
    )  # fmt: skip
