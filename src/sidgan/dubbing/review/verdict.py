"""What to check first in a finished dub: the moments that are worth a look, the most doubtful at the top.

It is told from the plain values of a `DubReport` alone. Each doubt has a weight that is 1 where it begins to matter:

::

    figures      how far a stretch's worst figure is from an untouched picture's, in `looks.LIMITS`
    confidence   how far a shot's is below 1, in shares of what is below `SURE`
    as filmed    1, and another for each `LONG` s in which a voice is heard and a face keeps its old mouth
    damage       2, and as much more
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sidgan.dubbing.review.looks import LIMITS, UNTOUCHED, doubt
from sidgan.dubbing.silence import PAUSED

SURE = 0.75  #: mean confidence of a shot below which it is worth a look
LONG = 2.0  #: seconds
MOST = 4.0  #: weight that no length exceeds
HARMLESS = ("voice is over", PAUSED)  #: reasons to leave a mouth alone that were asked for
WORDS = {
    "seam": "an edge may be visible around the mouth", "jitter": "redrawn skin flickers",
    "sharpness": "redrawn skin is less sharp than the rest of the picture",
}  # fmt: skip
TOO_SHARP = "redrawn skin is sharper than the rest of the picture"


class Finding(NamedTuple):
    """A moment that is worth a look: its weight, from and to which second it lasts, and what is doubtful about it."""

    weight: float
    start: float
    end: float
    text: str


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """All moments that are worth a look, the most doubtful first; empty where nothing stands out."""
    found = [*_figures(report.get("looks", ())), *_unsure(report.get("shots", ())), *_left(report), *_damage(report)]
    return sorted(found, key=lambda one: (-one.weight, one.start))


def seconds_of(report: Mapping[str, Any]) -> Callable[[int], float]:
    """When a frame of the output is shown: exact where a shot or a redrawn stretch begins or ends, else in between."""
    known = {0: 0.0}
    for one in (*report.get("looks", ()), *report.get("shots", ())):
        known |= {one["first"]: one["start"], one["last"] + 1: one["end"]} if "start" in one else {}
    frames = sorted(known)
    return lambda frame: float(np.interp(frame, frames, [known[f] for f in frames]))


def least_sure(shots: Sequence[Mapping[str, Any]], first: int, last: int) -> float | None:
    """The lowest confidence of the shots, among those with a redrawn face, that some frames belong to."""
    within = [shot for shot in shots if shot["dubbed"] and shot["first"] <= last and first <= shot["last"]]
    return min((shot["confidence"] for shot in within), default=None)


def _figures(looks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for look in looks:
        told = []
        for name in LIMITS:
            if doubt({name: look.get(name)}) > 1:
                sharper = name == "sharpness" and look[name] > UNTOUCHED[name]
                told.append(f"{TOO_SHARP if sharper else WORDS[name]} ({name} {look[name]:.2f})")
        if told:
            yield Finding(doubt(look), look["start"], look["end"], "; ".join(told))


def _unsure(shots: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for shot in shots:
        if shot["dubbed"] and shot["confidence"] < SURE:
            text = f"the mouth of person {shot['person']} is hard to locate (confidence {shot['confidence']:.2f})"
            yield Finding((1 - shot["confidence"]) / (1 - SURE), shot["start"], shot["end"], text)


def _left(report: Mapping[str, Any]) -> Iterator[Finding]:
    at = seconds_of(report)
    for first, last, reason in report.get("passed", ()):
        if reason not in HARMLESS:
            start, end = at(first), at(last + 1)
            yield Finding(min(1 + (end - start) / LONG, MOST), start, end, f"left as filmed: {reason}")


def _damage(report: Mapping[str, Any]) -> Iterator[Finding]:
    for begin, end in report.get("damaged", ()):
        text = "the video is damaged: the last good frame is held"
        yield Finding(min(2 + (end - begin) / LONG, MOST), begin, end, text)
