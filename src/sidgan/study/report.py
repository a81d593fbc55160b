"""Table 3: what viewers say of each method, with intervals, agreement, and everything that was left out.

Methods are compared only where somebody rated *all* of them on *all* three questions for one clip: such a block counts,
any other one is named and left out, so that nobody's half-finished session favours a method.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sidgan.errors import InputError, counted
from sidgan.evaluation.results import RESAMPLES, Interval, cell
from sidgan.paper.published import QUESTIONS, STUDY, known_as
from sidgan.paper.tables import HERE, THERE, Line, Table
from sidgan.study.agreement import krippendorff
from sidgan.study.answers import Rating
from sidgan.study.build import Study
from sidgan.types import Float

HEADS = {"sync": "Sync ↑", "visual": "Visual ↑", "overall": "Overall ↑"}
RELIABLE, TENTATIVE = 0.8, 0.667  #: Krippendorff's limits


@dataclass(frozen=True)
class Found:
    """What a study found.

    Attributes:
        study: what was shown.
        viewers: those with a complete block. blocks: complete blocks, of those begun ``begun``.
        scores: (viewers, clips, methods, questions), NaN where a block is missing.
        means: method -> question -> mean rating with its 95 % interval.
        agreement: question -> Krippendorff's alpha.
        notes: what was left out.
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
        """Plain values for JSON; what is undefined is ``None``."""
        means = {method: {q: _plain(figure) for q, figure in values.items()} for method, values in self.means.items()}
        return {
            "table": 3, "study": self.study.id, "version": self.study.version, "clips": len(self.study.clips),
            "viewers": len(self.viewers), "blocks": self.blocks, "blocks_begun": self.begun, "means": means,
            "krippendorff_alpha_ordinal": {q: _known(a) for q, a in self.agreement.items()}, "paper": STUDY,
            "notes": list(self.notes),
        }  # fmt: skip


def report(study: Study, ratings: Sequence[Rating], names: Mapping[int, str]) -> Found:
    """Sum up what was said.

    Args:
        study: what was shown.
        ratings: all answers.
        names: number and name of each viewer.

    Raises:
        InputError: there is no complete block.
    """
    numbers = sorted(names)
    scores = np.full((len(numbers), len(study.clips), len(study.methods), len(QUESTIONS)), np.nan)
    for r in ratings:
        scores[numbers.index(r.viewer), r.clip, r.method, QUESTIONS.index(r.question)] = r.score
    given = ~np.isnan(scores)
    begun, whole = given.any((2, 3)), given.all((2, 3))
    notes = [line for v, number in enumerate(numbers) for line in _left_out(study, names[number], begun[v], whole[v])]
    if not whole.any():
        raise InputError(f"nobody has rated all {len(study.methods)} versions of a clip yet"
                         f"{' (' + notes[0] + ')' if notes else ''}; rate them on the page of sidgan study serve, "
                         "then ask again")  # fmt: skip
    scores[~whole] = np.nan
    kept = whole.any(1)
    scores = scores[kept]
    means = _means(study, scores)
    units = {q: scores[..., i].reshape(len(scores), -1) for i, q in enumerate(QUESTIONS)}
    viewers = tuple(names[n] for n, there in zip(numbers, kept, strict=True) if there)
    agreement = {q: krippendorff(table) for q, table in units.items()}
    return Found(study, viewers, int(whole.sum()), int(begun.sum()), scores, means, agreement, tuple(notes))


def _left_out(study: Study, name: str, begun: Float, whole: Float) -> list[str]:
    half = [study.clips[c] for c in np.flatnonzero(begun & ~whole)]
    lines = []
    if half:
        more = f" and {len(half) - 3} more" if len(half) > 3 else ""
        lines.append(f"left out: {name} has not finished {', '.join(half[:3])}{more}")
    missing = int((~begun).sum())
    if missing:
        lines.append(f"{name} has not started {missing} of {counted(len(study.clips), 'clip')}")
    return lines


def _means(study: Study, scores: Float) -> dict[str, dict[str, Interval]]:
    """Means over all blocks; both viewers and clips are drawn anew for the intervals."""
    viewers, clips = scores.shape[:2]
    rng = np.random.default_rng(0)
    by_viewer = rng.multinomial(viewers, np.full(viewers, 1 / viewers), RESAMPLES)
    by_clip = rng.multinomial(clips, np.full(clips, 1 / clips), RESAMPLES)
    there = ~np.isnan(scores[:, :, 0, 0])
    counts = np.einsum("rv,rc,vc->r", by_viewer, by_clip, there.astype(float))
    found: dict[str, dict[str, Interval]] = {}
    for m, method in enumerate(study.methods):
        for q, question in enumerate(QUESTIONS):
            values = np.nan_to_num(scores[:, :, m, q])
            sums = np.einsum("rv,rc,vc->r", by_viewer, by_clip, values)
            samples = sums[counts > 0] / counts[counts > 0]
            mean = float(values[there].mean())
            low, high = np.quantile(samples, [0.025, 0.975]) if there.sum() > 1 else (math.nan, math.nan)
            found.setdefault(method, {})[question] = Interval(mean, float(low), float(high))
    return found


def as_table(found: Found) -> Table:
    """Table 3 with the paper's values beside what was found."""
    lines, known = list[Line](), list(STUDY)
    order = [*known, *(m for m in found.means if known_as(m, known) is None)]
    best: set[tuple[int, int]] = set()
    low = {q: min(values[q].mean for values in found.means.values()) for q in QUESTIONS}
    top = {q: max(values[q].mean for values in found.means.values()) for q in QUESTIONS}
    for method in order:
        mine = next((m for m in found.means if (known_as(m, known) or m) == method), None)
        if mine is not None:
            values = found.means[mine]
            best |= {(len(lines), j) for j, q in enumerate(QUESTIONS) if values[q].mean == top[q] > low[q]}
            lines.append(Line(method, HERE, tuple(cell(values[q], 2) for q in QUESTIONS)))
        if method in known:
            lines.append(Line(method, THERE, tuple(f"{STUDY[method][q]:.2f}" for q in QUESTIONS)))
    agreed = ", ".join(f"{q} {_judged(a)}" for q, a in found.agreement.items())
    notes = (
        f"±: half a 95 % bootstrap interval over viewers and clips; {found.blocks} of {found.begun} begun blocks "
        "(one viewer, one clip, all versions) are complete and count",
        f"agreement of viewers, Krippendorff's alpha for ordinal data: {agreed}",
        *found.notes,
    )
    title = (f"Table 3, user study ({counted(len(found.study.clips), 'clip')}, "
             f"{counted(len(found.viewers), 'viewer')} here; "
             "the paper: 22 clips of HDTF, 10 viewers)")  # fmt: skip
    return Table(title, tuple(HEADS[q] for q in QUESTIONS), tuple(lines), frozenset(best), notes)


def _judged(alpha: float) -> str:
    if math.isnan(alpha):
        return "undefined (one viewer, or one score only)"
    return f"{alpha:.2f} ({'reliable' if alpha >= RELIABLE else 'tentative' if alpha >= TENTATIVE else 'low'})"


def as_csv(study: Study, ratings: Sequence[Rating], names: Mapping[int, str]) -> str:
    """Every answer, complete or not: a line for each viewer, clip and method."""
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


def _plain(figure: Interval) -> dict[str, float | None]:
    return {key: _known(value) for key, value in figure._asdict().items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
