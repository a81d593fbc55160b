"""Which two reference pictures suit a face: a few are tried on frames whose answer is known.

A rule finds pictures that suit most faces (`sidgan.people.telling`): lips closed, lips open, both sharp. For some faces
what it finds is lit otherwise, caught in a grimace, or shows teeth only half. So some frames of the video are redrawn
with the video's own sound, after several pairs, and compared with what was filmed. It is done by the network that is
going to draw, so a pair that this one can make nothing of is found out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

import numpy as np

from sidgan import audio, geometry, media
from sidgan.dubbing.analysis.first_pass import Analysis
from sidgan.dubbing.redrawing import Job, found_again, redraw
from sidgan.dubbing.voice import listen
from sidgan.engine import Engine
from sidgan.errors import InputError
from sidgan.geometry import LEFT_EYE_CORNER, MOUTH, RIGHT_EYE_CORNER
from sidgan.people import TrackedFace, sharpness
from sidgan.types import Byte, Clip, Float, Frame

FEWEST = 50  #: usable frames of a face, below which trying would take long beside drawing
TAKES = 8  #: frames that are redrawn with each pair
MOST = 4  #: pictures tried of closed lips, and of open ones: one, and one more for each `FEWEST` frames
OPEN_SHARE = 0.08  #: of the frames, those with the lips furthest apart, among which the open one is looked for
SIDE = 128  #: px at which faces are drawn here by a network that is not made ready for one size alone
LIPS = 75.0  #: decibels that count as much as lips that are off by one eye distance
MOTION = 1.0  #: decibels that count as much as mouths whose opening varies e times too much or too little
STILL = 0.01  #: eye distances; an opening that varies less (its standard deviation) counts as varying so much


def rehearse(clip: Clip, seen: Analysis, engine: Engine, own: Mapping[int, Engine]) -> None:
    """Choose the references of those faces that are long enough in a video, see `TrackedFace.chosen`.

    Nothing is chosen where the video has no sound, or the network wants another number of references than two.

    Args:
        engine: runs the model.
        own: run the models of single faces, by the place of their track among the video's.
    """
    if engine.references != 2 or clip.audio_rate is None:
        return
    drawn = dict.fromkeys(person for people in seen.by_frame.values() for person in people)
    engines = {seen.people[i]: one for i, one in own.items()}
    long = [person for person in drawn if _usable(person) >= FEWEST]
    parts = [Rehearsal(person, _small(engines.get(person, engine), seen)) for person in long]
    if not parts:
        return
    try:
        mel = listen(clip.path, seen.times[max(part.last for part in parts)] + 1).mel
    except InputError:  # a sound that cannot be read is none
        return
    wanted = sorted({index for part in parts for index in part.wanted})
    for frame in media.Player(clip, seen.times, seen.glances).pick(wanted):
        for part in [part for part in parts if frame.index in part.wanted]:
            part.see(frame)
            if frame.index == part.last:
                part.person.chosen = part.choice(seen.times, mel)
                parts.remove(part)


def _usable(person: TrackedFace) -> int:
    """Frames in which a face can be redrawn, as far as they matter."""
    return len(list(islice(person.usable(), MOST * FEWEST)))


def _small(engine: Engine, seen: Analysis) -> Engine:
    """The engine at a small size, unless that would have to be made ready first."""
    return engine.fitting(SIDE if engine.kind == "torch" else seen.side)


@dataclass(frozen=True, eq=False)
class Picture:
    """A face (S, S, 3) in some row of its track."""

    row: int
    image: Byte


class Rehearsal:
    """One face, whose frames are redrawn after several pairs of pictures.

    Of each kind, closed and open, the sharpest picture of each of some parts of the time is tried.

    Attributes:
        wanted: the frames that it must be shown, in order.
        last: the last of them.
    """

    def __init__(self, person: TrackedFace, engine: Engine) -> None:
        self.person, self._engine = person, engine
        groups = person.candidates(2, open_share=OPEN_SHARE)
        frames = sorted({index for group in groups for index in group})
        span = [index for index in person.usable() if frames[0] <= index <= frames[-1]]
        span = [index for index in span if person.row(index) not in person.covers] or span  # a hand is not redrawn
        self._takes = {span[(2 * k + 1) * len(span) // (2 * TAKES)] for k in range(TAKES)}
        each = min(MOST, 1 + _usable(person) // FEWEST)
        # A frame that is drawn after itself would be drawn best.
        self._parts: dict[int, list[tuple[int, int]]] = {}
        for kind, group in enumerate(groups):
            others = [index for index in sorted(group) if index not in self._takes]
            for number, part in enumerate(np.array_split(others, min(each, len(others))) if others else ()):
                for index in part.tolist():
                    self._parts.setdefault(index, []).append((kind, number))
        self.wanted = sorted(self._takes | self._parts.keys())
        self.last = self.wanted[-1]
        self._filmed: list[Picture] = []
        self._found: list[Float] = []  # their unit landmarks
        self._best: dict[tuple[int, int], tuple[float, Picture]] = {}

    def see(self, frame: Frame) -> None:
        """Look at the next wanted frame."""
        row = self.person.row(frame.index)
        picture = Picture(row, geometry.crop_face(frame, self.person.track.matrices[row], self._engine.size).image)
        if frame.index in self._takes:
            self._filmed.append(picture)
            self._found.append(found_again(picture.image, self.person.points[row]))
        sharp = sharpness(picture.image)
        for part in self._parts.get(frame.index, ()):
            if part not in self._best or sharp > self._best[part][0]:
                self._best[part] = sharp, picture

    def choice(self, times: Sequence[Fraction], mel: Float) -> tuple[int, ...]:
        """The frames of the best pair: the open one beside the sharpest closed one, then the closed one beside that.

        Args:
            times: seconds at which the video's frames are shown.
            mel: (80, steps), what is heard in the video.
        """
        tried = [[picture for (which, _), (_, picture) in sorted(self._best.items(), key=lambda one: -one[1][0])
                  if which == kind] for kind in range(2)]  # fmt: skip
        if not all(tried):
            return ()
        first = self.person.track.first
        shown = [times[first + picture.row] for picture in self._filmed]
        mels = audio.mel_windows(mel, shown)
        closed, opened = tried
        scores = {one: self._score((closed[0], one), mels) for one in opened}
        wide = max(opened, key=lambda one: scores[one])
        scores = {closed[0]: scores[wide]} | {one: self._score((one, wide), mels) for one in closed[1:]}
        shut = max(closed, key=lambda one: scores[one])
        return first + shut.row, first + wide.row

    def _score(self, pair: Sequence[Picture], mels: Float) -> float:
        """How like the filmed frames those are that are drawn after a pair, in decibels.

        A mouth that hardly moves is never far off, but a viewer sees somebody mumble.
        """
        engine, person = self._engine, self.person
        jobs = [Job(person, one.row, one.image, mel, 1.0) for one, mel in zip(self._filmed, mels, strict=True)]
        reference = engine.encode_reference(np.stack([picture.image for picture in pair]))
        drawn = redraw(engine, jobs, reference, person.points[[picture.row for picture in pair]])
        found = [found_again(made, person.points[one.row]) for made, one in zip(drawn, self._filmed, strict=True)]
        alike = np.mean([_psnr(made, one.image, person.boxes[one.row])
                         for made, one in zip(drawn, self._filmed, strict=True)])  # fmt: skip
        apart = np.mean([_apart(made, filmed) for made, filmed in zip(found, self._found, strict=True)])
        moves, moved = (max(STILL, float(geometry.mouth_opening(np.stack(points)).std()))
                        for points in (found, self._found))  # fmt: skip
        return float(alike - LIPS * apart - MOTION * abs(math.log(moves / moved)))


def _psnr(drawn: Byte, filmed: Byte, box: Float) -> float:
    """Decibels by which a drawn face (S, S, 3) is like a filmed one inside the hidden box."""
    hidden = geometry.mask_image(box, len(filmed)) > 0
    off = drawn[hidden].astype(np.float32) - filmed[hidden]
    return float(-10 * np.log10(np.square(off / 255).mean() + 1e-6))


def _apart(drawn: Float, filmed: Float) -> float:
    """Mean distance of the lips of two sets of landmarks (68, 2), in the filmed one's eye distances."""
    eyes = np.linalg.norm(filmed[LEFT_EYE_CORNER] - filmed[RIGHT_EYE_CORNER])
    return float(np.linalg.norm(drawn[MOUTH] - filmed[MOUTH], axis=1).mean() / eyes)
