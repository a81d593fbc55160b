"""Figure 6: dubs of hard cases: beards, turned heads, covered mouths and small faces."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import dubbing
from sidgan.paper import people
from sidgan.paper.filmed import crops, follow
from sidgan.paper.sheet import Cell, Sheet
from sidgan.paper.side_by_side import INVENTED, stacked
from sidgan.settings import require
from sidgan.types import Byte, Show

LABELS = {"beard": "beard", "side": "side face", "occlusion": "occlusion", "low": "low resolution"}
MOMENTS = 2  #: moments shown of each case; one of frames left as filmed is added if there are such frames
SECONDS = 10  #: the start of each video, s, from which moments are chosen
DRAWN = 2.0  #: seconds of video for each synthetic person


@dataclass(frozen=True)
class Case:
    """One hard case.

    Attributes:
        name: a key of `LABELS`. invented: whether the person is synthetic.
        face: median side of the face square, px. turn: median absolute yaw, degrees.
        frames, dubbed: number of frames in the whole video, and of those redrawn.
        passed: (first, last, reason) of each run of frames left as filmed.
        shown: (time in s, crop as filmed, crop of the dub) of each moment.
        left: for each moment, why its frame was left as filmed, or ``None`` if it was redrawn.
    """

    name: str
    invented: bool
    face: float
    turn: float
    frames: int
    dubbed: int
    passed: tuple[tuple[int, int, str], ...]
    shown: tuple[tuple[float, Byte, Byte], ...]
    left: tuple[str | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without images."""
        shown = [{"time": t, "left": why} for (t, _, _), why in zip(self.shown, self.left, strict=True)]
        return {"case": self.name, "drawn_person": self.invented, "face_px": self.face, "yaw": self.turn,
                "frames": self.frames, "dubbed": self.dubbed, "passed": [list(p) for p in self.passed],
                "shown": shown}  # fmt: skip


def extremes(
    videos: Mapping[str, Path], *, model: str = "bundled", voice: Path | None = None, device: str = "auto",
    progress: Show = lambda share, text: None,
) -> list[Case]:  # fmt: skip
    """Dub each hard case.

    Args:
        videos: key of `LABELS` -> video; missing cases get synthetic people.
        model: weights file or ``bundled``. voice: the new voice; by default each video's own sound.
        device: for dubbing.

    Raises:
        ConfigError: a key is no case.
        InputError, NoFaceError: a video cannot be used.
    """
    for name in videos:
        require(name in LABELS, f"there is no case {name}; cases are {', '.join(LABELS)}")
    found = []
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidgan-")))
        dubber = dubbing.Dubber(model, device=device)
        for i, name in enumerate(LABELS):
            progress(i / len(LABELS), LABELS[name])
            video = videos.get(name, work / f"{name}.mp4")
            if name not in videos:
                people.film(people.CASES[name], video, DRAWN)
            out = work / f"{name}-dubbed.mp4"
            report = dubber.dub(video, voice or video, out)
            found.append(_case(name, video, out, report, invented=name not in videos))
    return found


def _case(name: str, video: Path, dubbed: Path, report: dubbing.DubReport, *, invented: bool) -> Case:
    filmed = follow(video, SECONDS)
    inside = [p for p in report.passed if filmed.track.first <= (p[0] + p[1]) // 2 < filmed.track.frames.stop]
    frames = filmed.moments(MOMENTS)
    if inside and not any(a <= f <= b for f in frames for a, b, _ in inside):
        longest = max(inside, key=lambda p: p[1] - p[0])
        frames = sorted({*frames, (longest[0] + longest[1]) // 2})
    before, after = crops(video, filmed, frames), crops(dubbed, filmed, frames)
    left = tuple(next((why for a, b, why in report.passed if a <= f <= b), None) for f in frames)
    shown = tuple((float(filmed.times[f]), stacked(b, filmed.landmarks(f)), stacked(a, filmed.landmarks(f)))
                  for f, b, a in zip(frames, before, after, strict=True))  # fmt: skip
    side = float(np.median(filmed.track.matrices[:, 0, 0]))
    turn = float(np.median(np.abs(filmed.track.pose[:, 0])))
    return Case(name, invented, side, turn, report.frames, report.dubbed, report.passed, shown, left)


def as_sheet(cases: list[Case]) -> Sheet:
    """Lay out the figure: a row for each case, moments as filmed and as dubbed side by side."""
    most = max(len(case.shown) for case in cases)
    rows = []
    for case in cases:
        cells: list[Cell | None] = []
        for (time, before, after), left in zip(case.shown, case.left, strict=True):
            outcome = "redrawn" if left is None else f"as filmed: {left}"
            cells += [Cell(before, f"{time:.2f} s"), Cell(after, outcome)]
        facts = f"face {case.face:.0f} px\n{case.turn:.0f}° turned\n{case.dubbed} of {case.frames}\nframes redrawn"
        rows.append((f"{LABELS[case.name]}\n{facts}", cells))
    drawn = [LABELS[case.name] for case in cases if case.invented]
    partly = f"synthetic people: {', '.join(drawn)}" if drawn else None
    caution = INVENTED if len(drawn) == len(cases) else partly
    return Sheet(
        "Figure 6: hard cases", "beard, side face, occlusion, low resolution: each moment as filmed and as dubbed",
        ("as filmed", "dubbed") * most, rows,
        "Below each face, the mouth at twice the size. Where a mouth is covered or a face cannot be tracked, the frame "
        "is left as filmed; a small face is redrawn as soft as its surroundings.", ("dubbed",), caution,
    )  # fmt: skip
