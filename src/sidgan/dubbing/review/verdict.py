"""Find what to check first in a finished dub: a list of doubtful moments, the most doubtful first.

The findings depend only on the plain values of a `DubReport`. Each has a weight, which is 1 at the limit from which it
is reported:

::

    figures      the worst figure's deviation from that of an untouched picture, relative to its limit (`looks.LIMITS`)
    confidence   (1 - confidence of the shot) / (1 - `SURE`)
    as filmed    1 + duration / `LONG`, at most `MOST`, where the voice is heard but the mouth stays as filmed;
                 1 where nobody is seen in the whole shot
    damage       2 + duration / `LONG`, at most `MOST`
    nothing      `MOST`, if no mouth was redrawn at all
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sidgan.dubbing.review.looks import LIMITS, UNTOUCHED, doubt
from sidgan.dubbing.silence import PAUSED

SURE = 0.75  #: mean confidence of a shot below which it is reported
LONG = 2.0  #: seconds that add 1 to the weight
MOST = 4.0  #: largest weight of a finding that is weighted by its duration
HARMLESS = ("voice is over", PAUSED)  #: reasons to leave a mouth as filmed that are intended
WORDS = {
    "seam": "an edge may be visible around the mouth", "jitter": "redrawn skin flickers",
    "sharpness": "redrawn skin is less sharp than the rest of the picture",
}  # fmt: skip
TOO_SHARP = "redrawn skin is sharper than the rest of the picture"


class Finding(NamedTuple):
    """A moment worth checking: its weight, its start and end in seconds, and what is doubtful about it."""

    weight: float
    start: float
    end: float
    text: str


def findings(report: Mapping[str, Any]) -> list[Finding]:
    """All moments of a report that are worth checking, the most doubtful first."""
    found = [*_figures(report.get("looks", ())), *_unsure(report.get("shots", ())), *_left(report), *_damage(report)]
    if report.get("frames") and not report["dubbed"]:
        found.append(Finding(MOST, 0.0, seconds_of(report)(report["frames"]), "no mouth was redrawn at all"))
    return sorted(found, key=lambda one: (-one.weight, one.start))


def seconds_of(report: Mapping[str, Any]) -> Callable[[int], float]:
    """A function from frame number to second of the output: exact at ends of shots and stretches, else interpolated."""
    known = {0: 0.0}
    for one in (*report.get("looks", ()), *report.get("shots", ())):
        known |= {one["first"]: one["start"], one["last"] + 1: one["end"]} if "start" in one else {}
    frames = sorted(known)
    return lambda frame: float(np.interp(frame, frames, [known[f] for f in frames]))


def least_sure(shots: Sequence[Mapping[str, Any]], first: int, last: int) -> float | None:
    """The lowest confidence of the shots with a redrawn face that overlap frames ``first`` to ``last``."""
    within = [shot for shot in shots if shot["dubbed"] and shot["first"] <= last and first <= shot["last"]]
    return min((shot["confidence"] for shot in within), default=None)


def _figures(looks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for look in looks:
        texts = []
        for name in LIMITS:
            if doubt({name: look.get(name)}) > 1:
                sharper = name == "sharpness" and look[name] > UNTOUCHED[name]
                texts.append(f"{TOO_SHARP if sharper else WORDS[name]} ({name} {look[name]:.2f})")
        if texts:
            yield Finding(doubt(look), look["start"], look["end"], "; ".join(texts))


def _unsure(shots: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for shot in shots:
        if shot["dubbed"] and shot["confidence"] < SURE:
            text = f"the mouth of person {shot['person']} is hard to locate (confidence {shot['confidence']:.2f})"
            yield Finding((1 - shot["confidence"]) / (1 - SURE), shot["start"], shot["end"], text)


def _left(report: Mapping[str, Any]) -> Iterator[Finding]:
    at, shots = seconds_of(report), report.get("shots", ())
    for first, last, reason in report.get("passed", ()):
        if reason not in HARMLESS:
            start, end = at(first), at(last + 1)
            people = {shot["person"] for shot in shots if shot["first"] <= last and first <= shot["last"]}
            weight = 1.0 if people == {None} else min(1 + (end - start) / LONG, MOST)
            yield Finding(weight, start, end, f"left as filmed: {reason}")


def _damage(report: Mapping[str, Any]) -> Iterator[Finding]:
    for begin, end in report.get("damaged", ()):
        text = "the video is damaged: the last good frame is held"
        yield Finding(min(2 + (end - begin) / LONG, MOST), begin, end, text)
