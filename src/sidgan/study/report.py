"""Table 3: mean ratings of each method, with confidence intervals, agreement, and everything that was left out.

A *block* is what one viewer rated for one clip. It counts only if it is complete: *all* methods, *all* three questions.
Incomplete blocks are named and left out, so that a half-finished session favours no method.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidgan.errors import InputError, counted, some
from sidgan.evaluation.results import RESAMPLES, Interval, cell, without_nan
from sidgan.paper.published import QUESTIONS, STUDY, known_as
from sidgan.paper.tables import HERE, THERE, Line, Table
from sidgan.study.agreement import krippendorff
from sidgan.study.answers import Rating
from sidgan.study.build import Study
from sidgan.types import Float

HEADS = {"sync": "Sync ↑", "visual": "Visual ↑", "overall": "Overall ↑"}
RELIABLE, TENTATIVE = 0.8, 0.667  #: Krippendorff's thresholds, see `sidgan.study.agreement`


@dataclass(frozen=True)
class StudyResult:
    """The result of a study.

    Attributes:
        study: the study.
        viewers: names of the viewers with at least one complete block.
        blocks: number of complete blocks.
        begun: number of blocks with at least one answer.
        scores: (viewers, clips, methods, questions) 1 to 5, NaN where a block is missing or incomplete.
        means: method -> question -> mean rating with its 95 % confidence interval.
        agreement: question -> Krippendorff's alpha.
        notes: lines about what was left out.
    """

    study: Study
    viewers: tuple[str, ...]
    blocks: int
    begun: int
    scores: Float
    means: dict[str, dict[str, Interval]]
    agreement: dict[str, float]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; NaN becomes ``None``."""
        return {
            "table": 3, "study": self.study.id, "version": self.study.version, "clips": len(self.study.clips),
            "viewers": len(self.viewers), "blocks": self.blocks, "blocks_begun": self.begun,
            "means": without_nan(self.means), "krippendorff_alpha_ordinal": without_nan(self.agreement),
            "paper": STUDY, "notes": list(self.notes),
        }  # fmt: skip


def report(study: Study, ratings: Sequence[Rating], names: Mapping[int, str]) -> StudyResult:
    """Evaluate the ratings of a study.

    Args:
        study: the study.
        ratings: all answers.
        names: viewer number -> name.

    Raises:
        InputError: there is no complete block.
    """
    numbers = sorted(names)
    scores = np.full((len(numbers), len(study.clips), len(study.methods), len(QUESTIONS)), np.nan)
    for r in ratings:
        scores[numbers.index(r.viewer), r.clip, r.method, QUESTIONS.index(r.question)] = r.score
    given = ~np.isnan(scores)
    begun, complete = given.any((2, 3)), given.all((2, 3))
    notes = [line for v, number in enumerate(numbers)
             for line in _left_out(study, names[number], begun[v], complete[v])]  # fmt: skip
    if not complete.any():
        raise InputError(f"nobody has rated all {len(study.methods)} versions of a clip yet"
                         f"{' (' + notes[0] + ')' if notes else ''}; rate them on the page of sidgan study serve, "
                         "then ask again")  # fmt: skip
    scores[~complete] = np.nan
    counted_viewers = complete.any(1)
    scores = scores[counted_viewers]
    means = _means(study, scores)
    units = {q: scores[..., i].reshape(len(scores), -1) for i, q in enumerate(QUESTIONS)}
    viewers = tuple(names[n] for n, counts in zip(numbers, counted_viewers, strict=True) if counts)
    agreement = {q: krippendorff(table) for q, table in units.items()}
    return StudyResult(study, viewers, int(complete.sum()), int(begun.sum()), scores, means, agreement, tuple(notes))


def _left_out(study: Study, name: str, begun: Float, complete: Float) -> list[str]:
    """Lines about the unfinished clips of one viewer, from two (clips,) boolean arrays."""
    unfinished = [study.clips[c] for c in np.flatnonzero(begun & ~complete)]
    lines = []
    if unfinished:
        lines.append(f"left out: {name} has not finished {some(unfinished)}")
    missing = int((~begun).sum())
    if missing:
        lines.append(f"{name} has not started {missing} of {counted(len(study.clips), 'clip')}")
    return lines


def _means(study: Study, scores: Float) -> dict[str, dict[str, Interval]]:
    """Means over all blocks, with 95 % intervals from a bootstrap that resamples both viewers and clips."""
    viewers, clips = scores.shape[:2]
    rng = np.random.default_rng(0)
    by_viewer = rng.multinomial(viewers, np.full(viewers, 1 / viewers), RESAMPLES)
    by_clip = rng.multinomial(clips, np.full(clips, 1 / clips), RESAMPLES)
    complete = ~np.isnan(scores[:, :, 0, 0])
    counts = np.einsum("rv,rc,vc->r", by_viewer, by_clip, complete.astype(float))
    means: dict[str, dict[str, Interval]] = {}
    for m, method in enumerate(study.methods):
        for q, question in enumerate(QUESTIONS):
            values = np.nan_to_num(scores[:, :, m, q])
            sums = np.einsum("rv,rc,vc->r", by_viewer, by_clip, values)
            samples = sums[counts > 0] / counts[counts > 0]
            mean = float(values[complete].mean())
            low, high = np.quantile(samples, [0.025, 0.975]) if complete.sum() > 1 else (math.nan, math.nan)
            means.setdefault(method, {})[question] = Interval(mean, float(low), float(high))
    return means


def as_table(result: StudyResult) -> Table:
    """Table 3, with the paper's values beside those of this study."""
    lines, known = list[Line](), list(STUDY)
    order = [*known, *(m for m in result.means if known_as(m, known) is None)]
    best: set[tuple[int, int]] = set()
    low = {q: min(values[q].mean for values in result.means.values()) for q in QUESTIONS}
    top = {q: max(values[q].mean for values in result.means.values()) for q in QUESTIONS}
    for method in order:
        own = next((m for m in result.means if (known_as(m, known) or m) == method), None)
        if own is not None:
            values = result.means[own]
            best |= {(len(lines), j) for j, q in enumerate(QUESTIONS) if values[q].mean == top[q] > low[q]}
            lines.append(Line(method, HERE, tuple(cell(values[q], 2) for q in QUESTIONS)))
        if method in known:
            lines.append(Line(method, THERE, tuple(f"{STUDY[method][q]:.2f}" for q in QUESTIONS)))
    agreement = ", ".join(f"{q} {_rated(a)}" for q, a in result.agreement.items())
    notes = (
        f"±: half a 95 % bootstrap interval over viewers and clips; {result.blocks} of {result.begun} begun blocks "
        "(one viewer, one clip, all versions) are complete and count",
        f"agreement of viewers, Krippendorff's alpha for ordinal data: {agreement}",
        *result.notes,
    )
    title = (f"Table 3, user study ({counted(len(result.study.clips), 'clip')}, "
             f"{counted(len(result.viewers), 'viewer')} here; "
             "the paper: 22 clips of HDTF, 10 viewers)")  # fmt: skip
    return Table(title, tuple(HEADS[q] for q in QUESTIONS), tuple(lines), frozenset(best), notes)


def _rated(alpha: float) -> str:
    if math.isnan(alpha):
        return "undefined (one viewer, or one score only)"
    return f"{alpha:.2f} ({'reliable' if alpha >= RELIABLE else 'tentative' if alpha >= TENTATIVE else 'low'})"


def as_csv(study: Study, ratings: Sequence[Rating], names: Mapping[int, str]) -> str:
    """All answers, also of incomplete blocks: a row for each viewer, clip and method."""
    rows: dict[tuple[int, int, int], dict[str, int]] = {}
    for r in ratings:
        rows.setdefault((r.viewer, r.clip, r.method), {})[r.question] = r.score
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["viewer", "clip", "method", *QUESTIONS])
    for (viewer, clip, method), scores in sorted(rows.items()):
        writer.writerow([names[viewer], study.clips[clip], study.methods[method],
                         *(scores.get(q, "") for q in QUESTIONS)])  # fmt: skip
    return text.getvalue()
