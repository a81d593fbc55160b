"""The reconstruction protocol: redraw real clips from their own sound, and compare them with the originals (Sec. 4).

Each clip is also dubbed with wrong sounds and by baselines, see `sidgan.evaluation.rows`. Each result is judged as two
systems: ``composite`` is pasted into the true frame inside the hidden box, ``raw`` is the whole crop as drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sidgan.arguments import checked
from sidgan.data.dataset import PackedSet
from sidgan.evaluation.judging import Verdict, judge
from sidgan.evaluation.networks import NONE, Networks
from sidgan.evaluation.results import SYSTEMS, EvalResult
from sidgan.evaluation.rows import ROWS, dubber, heard
from sidgan.evaluation.subject import Mask, Reference, Subject, beginning, evaluating
from sidgan.nn import Generator, SyncNet
from sidgan.settings import require
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
    """Dub each clip of a set with its own sound, and compare the result with the truth.

    Args:
        generator: of any size; its output is scaled to ``data.size``, where it is judged.
        data: the clips, usually of one split.
        expert: sync expert; without one, the sync metrics are undefined.
        reference: the reference frame of a clip: ``first`` as in the paper, ``last``, or a ``pair`` as in dubbing.
        mask: what is hidden: ``query``, the box between the cheeks and below the nose, or ``lower``, the lower half.
        score_reference: judge the reference frame too. It rewards copying, since there the reference is the answer.
        id_every: identity, the slowest metric, is measured on every n-th frame; 0 leaves it out.
        max_frames: longer clips are cut to this length.
        rows: which of `ROWS` to judge; ``swapped`` is skipped for a set of one clip.
        systems: which of `SYSTEMS` to judge.

    Raises:
        ConfigError: a row or system is unknown, or a setting is invalid.
        DataError: the model draws NaN.
    """
    check(reference, mask, id_every, max_frames, rows, systems)
    needed = fewest(reference, score_reference=score_reference)
    settings = {"reference": reference, "mask": mask, "score_reference": score_reference, "id_every": id_every,
                "max_frames": max_frames, "size": data.size}  # fmt: skip
    records = []
    clips = [clip for clip in (beginning(c, max_frames) for c in data.clips) if len(clip) >= needed]
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
    """Raise `ConfigError` naming the first invalid setting."""
    for word, given, known in (("row", rows, ROWS), ("system", systems, SYSTEMS)):
        unknown = sorted(set(given) - set(known))
        require(not unknown, f"unknown {word} '{', '.join(unknown)}'; {word}s: {', '.join(known)}")
    require(reference in ("first", "last", "pair"), f"reference must be first, last or pair, not '{reference}'")
    require(mask in ("query", "lower"), f"mask must be query or lower, not '{mask}'")
    require(id_every >= 0, f"id_every must be 0 or more, not {id_every}")
    require(max_frames is None or max_frames >= 2, f"max_frames must be at least 2, not {max_frames}")


def fewest(reference: str, *, score_reference: bool) -> int:
    """Fewest frames of a clip: one more than there are unscored reference frames, and at least two."""
    return 3 if reference == "pair" and not score_reference else 2


def donor(index: int, count: int) -> int | None:
    """Index of the clip whose voice the ``index``-th of ``count`` clips gets: half the set further on, cyclically."""
    return (index + max(1, count // 2)) % count if count > 1 else None


def possible(rows: Sequence[str], swapped: Tensor | None) -> list[str]:
    """The rows that can be judged: ``swapped`` needs the sound of another clip."""
    return [row for row in rows if row != "swapped" or swapped is not None]


def judge_row(
    subject: Subject, row: str, generator: Generator, expert: SyncNet | None, systems: Sequence[str],
    samples: Float | None = None, networks: Networks = NONE,
) -> list[Verdict]:  # fmt: skip
    """Judge one row of a clip. Silence has no synchronisation, so its sync metrics are undefined."""
    sync_expert = None if row == "silent" else expert
    return judge(
        subject, row, dubber(row, subject, generator), heard(row, subject), systems=systems, expert=sync_expert,
        samples=samples, networks=networks,
    )  # fmt: skip
