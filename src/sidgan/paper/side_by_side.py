"""Figures 5 and 8: the same moments as dubbed by every method, beside the ground truth."""

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
from sidgan.data.sources import folder as videos_below
from sidgan.errors import InputError, counted
from sidgan.paper import people
from sidgan.paper.filmed import Likeness, crops, follow, likeness, mouth_of
from sidgan.paper.places import weights_of
from sidgan.paper.sheet import Cell, Sheet
from sidgan.settings import require
from sidgan.types import Byte, Float, Show

SECONDS = 10  #: the start of each clip, s, from which moments are chosen
PRINTED = 288  #: side of a face in the figure, px
TRUTH = "ground truth"
INVENTED = "Synthetic people: this demonstrates the command, not the quality of a method."


@dataclass(frozen=True)
class Moment:
    """One row of the figure: a frame of a clip, and the same frame of each method's dub.

    Attributes:
        clip: name of the clip. frame: index in the video. time: timestamp, s.
        truth: (H, W, 3) true face and mouth, see `stacked`.
        drawn: method -> the same of its dub. alike: method -> similarity of its dub to the truth.
    """

    clip: str
    frame: int
    time: float
    truth: Byte
    drawn: Mapping[str, Byte]
    alike: Mapping[str, Likeness]


@dataclass(frozen=True)
class Comparison:
    """The content of Figure 5 or 8: methods in column order, and rows; ``invented``: the people are synthetic."""

    methods: tuple[str, ...]
    moments: tuple[Moment, ...]
    invented: bool

    def to_dict(self, figure: int) -> dict[str, Any]:
        """Plain values for JSON, without images."""
        return {"figure": figure, "drawn_people": self.invented, "methods": list(self.methods), "moments": [
            {"clip": m.clip, "frame": m.frame, "time": m.time,
             "methods": {name: {"mouth_psnr": a.psnr, "lmd": a.lmd} for name, a in m.alike.items()}}
            for m in self.moments
        ]}  # fmt: skip

    def mean(self, method: str) -> Likeness:
        """Mean similarity of a method to the truth over all rows."""
        found = [m.alike[method] for m in self.moments]
        return Likeness(float(np.mean([a.psnr for a in found])), float(np.mean([a.lmd for a in found])))


def compare(
    methods: Sequence[tuple[str, str]], truth: Path | None, *, clips: int = 3, moments: int = 2, device: str = "auto",
    progress: Show = lambda share, text: None,
) -> Comparison:  # fmt: skip
    """Cut crops of the same moments from the true videos and every method's videos.

    Args:
        methods: pairs of name and place. A place is a folder of finished videos, under the names of the true ones, or
            a weights file, ``bundled`` or a run, which dubs the true videos with their own sound.
        truth: folder of true videos; by default synthetic people, for methods without finished videos only.
        clips: number of videos to show, the first by name. moments: number of rows for each.
        device: for dubbing.

    Raises:
        ConfigError: two methods have the same name, or there are finished videos but no true ones.
        InputError: a method lacks a clip, or its video differs in size, frame rate or length.
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
        chosen = {clip.name: clip.path for clip in videos_below(truth).clips[:clips]}
        existing = {name: None if models[name] else _finished(name, place, chosen) for name, place in methods}
        dubbers = {name: dubbing.Dubber(file, device=device) for name, file in models.items() if file is not None}
        rows, done = list[Moment](), 0
        for clip, video in chosen.items():
            dubs = dict[str, Path]()
            for number, name in enumerate(names):
                progress(done / (len(chosen) * len(names)), f"{clip}: {name}")
                ready = existing[name]
                dubs[name] = ready[clip] if ready is not None else work / f"{number}.mp4"
                if ready is None:
                    dubbers[name].dub(video, video, dubs[name])
                done += 1
            rows += _rows(clip, video, dubs, moments)
    return Comparison(tuple(names), tuple(rows), invented=work in truth.parents)


def _drawn(folder: Path, count: int) -> Path:
    folder.mkdir()
    for name, how in list(people.PLAIN.items())[:count]:
        people.film(how, folder / f"{name}.mp4", 2.0)
    return folder


def _finished(name: str, place: str, wanted: Mapping[str, Path]) -> dict[str, Path]:
    found = {clip.name: clip.path for clip in videos_below(Path(place)).clips}
    missing = next((clip for clip in wanted if clip not in found), None)
    if missing is not None:
        raise InputError(f"{name}: {place} has no video named {missing}; files are matched by their names")
    return found


def _rows(clip: str, video: Path, dubs: Mapping[str, Path], count: int) -> list[Moment]:
    filmed = follow(video, SECONDS)
    frames = filmed.moments(count)
    true = crops(video, filmed, frames)
    drawn = {name: crops(path, filmed, frames) for name, path in dubs.items()}
    return [
        Moment(
            clip, frame, float(filmed.times[frame]), stacked(true[i], filmed.landmarks(frame)),
            {name: stacked(pictures[i], filmed.landmarks(frame)) for name, pictures in drawn.items()},
            {name: likeness(pictures[i], true[i], filmed.landmarks(frame)) for name, pictures in drawn.items()},
        )
        for i, frame in enumerate(frames)
    ]  # fmt: skip


def stacked(crop: Byte, landmarks: Float) -> Byte:
    """A face crop at the figure's size, with its mouth at twice that size below: (3/2 P + 6, P, 3), P = `PRINTED`."""
    parts = (crop, mouth_of(crop, landmarks))
    face, mouth = (cv2.resize(part, (PRINTED, PRINTED * part.shape[0] // part.shape[1]), interpolation=cv2.INTER_AREA)
                   for part in parts)  # fmt: skip
    return np.concatenate([face, np.full((6, PRINTED, 3), 255, np.uint8), mouth])


def as_sheet(found: Comparison, figure: int) -> Sheet:
    """Lay out the figure: a row for each moment, a column for the truth and each method."""
    rows = []
    for m in found.moments:
        cells = [Cell(m.truth)] + [
            Cell(m.drawn[name], f"mouth {m.alike[name].psnr:.1f} dB, LMD {m.alike[name].lmd:.1f} px")
            for name in found.methods
        ]
        short = m.clip if len(m.clip) <= 16 else f"{m.clip[:15]}…"
        rows.append((f"{short}\n{m.time:.2f} s", cells))
    title = {5: "Figure 5: methods side by side", 8: "Figure 8: the ablation in images"}[figure]
    clips = len({m.clip for m in found.moments})
    people_shown = counted(clips, "synthetic person", "synthetic people") if found.invented else counted(clips, "video")
    return Sheet(
        title, f"{people_shown}, {counted(len(found.moments), 'moment')}", (TRUTH, *found.methods), rows,
        "Every mouth but the true one is redrawn. All columns show the face square of the true video, and below it the "
        "mouth at twice the size, by turns widest and most closed. Mouth dB: PSNR in the hidden box; LMD: distance of "
        "the lip landmarks at 256 px.", (TRUTH,), INVENTED if found.invented else None,
    )  # fmt: skip
