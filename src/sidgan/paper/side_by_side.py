"""Figures 5 and 8: the same moments by every method, beside the truth."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sidgan import dubbing
from sidgan.config import require
from sidgan.data.sources import folder as videos_below
from sidgan.errors import InputError, counted
from sidgan.paper import people
from sidgan.paper.filmed import Likeness, crops, follow, likeness, mouth_of
from sidgan.paper.places import weights_of
from sidgan.paper.sheet import Cell, Sheet
from sidgan.types import Byte, Float, Show

SECONDS = 10  #: of a clip that are looked at
PRINTED = 288  #: px
TRUTH = "ground truth"
INVENTED = "People who do not exist: this shows the command, not how good a method is with people."


@dataclass(frozen=True)
class Moment:
    """One row: a frame of a clip, its true crop, and what each method made of it.

    Attributes:
        clip: its name. frame: number in the video. time: s.
        truth: (S, S, 3) face and mouth, one above the other.
        drawn: by method, the same; alike: how near it comes.
    """

    clip: str
    frame: int
    time: float
    truth: Byte
    drawn: Mapping[str, Byte]
    alike: Mapping[str, Likeness]


@dataclass(frozen=True)
class Comparison:
    """All rows, and the methods in order."""

    methods: tuple[str, ...]
    moments: tuple[Moment, ...]
    invented: bool

    def to_dict(self, figure: int) -> dict[str, Any]:
        """Plain values for JSON, without pictures."""
        return {"figure": figure, "drawn_people": self.invented, "methods": list(self.methods), "moments": [
            {"clip": m.clip, "frame": m.frame, "time": m.time,
             "methods": {name: {"mouth_psnr": a.psnr, "lmd": a.lmd} for name, a in m.alike.items()}}
            for m in self.moments
        ]}  # fmt: skip

    def mean(self, method: str) -> Likeness:
        """Over the rows."""
        found = [m.alike[method] for m in self.moments]
        return Likeness(float(np.mean([a.psnr for a in found])), float(np.mean([a.lmd for a in found])))


def compare(
    methods: Sequence[tuple[str, str]], truth: Path | None, *, clips: int = 3, moments: int = 2, device: str = "auto",
    progress: Show = lambda share, text: None,
) -> Comparison:  # fmt: skip
    """Cut the same moments out of the true videos and every method's.

    Args:
        methods: name and place: a folder of finished videos of the true ones' names, or a weights file, ``bundled``
            or a run, which dubs the true videos with their own sound.
        truth: folder of true videos; without it people are drawn, whom finished videos cannot show.
        clips: so many of them, by name. moments: rows of each.
        device: for dubbing.

    Raises:
        ConfigError: two methods of one name, or finished videos without true ones.
        InputError: a method lacks a clip, or its video is not of the same frames.
    """
    names = [name for name, _ in methods]
    require(bool(names) and len(set(names)) == len(names), "give at least one --method, each with a name of its own")
    models = {name: weights_of(place) for name, place in methods}
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidgan-")))
        if truth is None:
            finished = next((name for name in names if models[name] is None), None)
            require(finished is None, f"{finished} has finished videos: give --truth, the folder of the true ones")
            truth = _drawn(work / "truth", clips)
        picked = {clip.name: clip.path for clip in videos_below(truth).clips[:clips]}
        made = {name: None if models[name] else _finished(name, place, picked) for name, place in methods}
        dubbers = {name: dubbing.Dubber(file, device=device) for name, file in models.items() if file is not None}
        rows, done = list[Moment](), 0
        for clip, video in picked.items():
            sources = dict[str, Path]()
            for number, name in enumerate(names):
                progress(done / (len(picked) * len(names)), f"{clip}: {name}")
                ready = made[name]
                sources[name] = ready[clip] if ready is not None else work / f"{number}.mp4"
                if ready is None:
                    dubbers[name].dub(video, video, sources[name])
                done += 1
            rows += _rows(clip, video, sources, moments)
    return Comparison(tuple(names), tuple(rows), invented=work in truth.parents)


def _drawn(folder: Path, count: int) -> Path:
    folder.mkdir()
    for name, how in list(people.PLAIN.items())[:count]:
        people.film(how, folder / f"{name}.mp4", 2.0)
    return folder


def _finished(name: str, place: str, wanted: Mapping[str, Path]) -> dict[str, Path]:
    held = {clip.name: clip.path for clip in videos_below(Path(place)).clips}
    lost = next((clip for clip in wanted if clip not in held), None)
    if lost is not None:
        raise InputError(f"{name}: {place} has no video named {lost}; files are matched by their names")
    return held


def _rows(clip: str, video: Path, sources: Mapping[str, Path], count: int) -> list[Moment]:
    filmed = follow(video, SECONDS)
    frames = filmed.moments(count)
    true = crops(video, filmed, frames)
    drawn = {name: crops(path, filmed, frames) for name, path in sources.items()}
    return [
        Moment(
            clip, frame, float(filmed.times[frame]), stacked(true[i], filmed.landmarks(frame)),
            {name: stacked(pictures[i], filmed.landmarks(frame)) for name, pictures in drawn.items()},
            {name: likeness(pictures[i], true[i], filmed.landmarks(frame)) for name, pictures in drawn.items()},
        )
        for i, frame in enumerate(frames)
    ]  # fmt: skip


def stacked(crop: Byte, landmarks: Float) -> Byte:
    """A face crop as it is printed, and below it its mouth at twice the size: (3/2 P + gap, P, 3), P = `PRINTED`."""
    parts = (crop, mouth_of(crop, landmarks))
    face, mouth = (cv2.resize(part, (PRINTED, PRINTED * part.shape[0] // part.shape[1]), interpolation=cv2.INTER_AREA)
                   for part in parts)  # fmt: skip
    return np.concatenate([face, np.full((6, PRINTED, 3), 255, np.uint8), mouth])


def as_sheet(found: Comparison, figure: int) -> Sheet:
    """The figure's page."""
    rows = []
    for m in found.moments:
        cells = [Cell(m.truth)] + [
            Cell(m.drawn[name], f"mouth {m.alike[name].psnr:.1f} dB, LMD {m.alike[name].lmd:.1f} px")
            for name in found.methods
        ]
        short = m.clip if len(m.clip) <= 16 else f"{m.clip[:15]}…"
        rows.append((f"{short}\n{m.time:.2f} s", cells))
    title = {5: "Figure 5: methods side by side", 8: "Figure 8: what each part is worth, to see"}[figure]
    clips = len({m.clip for m in found.moments})
    who = ("drawn person" if clips == 1 else "drawn people") if found.invented else f"video{'s' * (clips != 1)}"
    return Sheet(
        title, f"{clips} {who}, {counted(len(found.moments), 'moment')}", (TRUTH, *found.methods), rows,
        "Every mouth but the true one is drawn anew. All columns show the face square of the true video, below it the "
        "mouth at twice the size, by turns at its widest and closest. Mouth dB: PSNR in the hidden box; LMD: distance "
        "of the lip landmarks at 256 px.", (TRUTH,), INVENTED if found.invented else None,
    )  # fmt: skip
