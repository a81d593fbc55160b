"""Choose the reference frames of each view of a face by trial: redraw frames with the video's own sound, and compare.

A rule finds references that suit most faces (`sidgan.people.telling`): with lips closed, open and shut, all sharp. For
some faces these have other lighting, show a grimace, or show teeth only partly. So several are tried: a few frames are
redrawn with them and the original sound, and compared with the filmed frames. The network is the one that will draw the
dub, so references that it cannot handle are found out.

In the same way it is tried whether a face looks better with its mouth opened further, or less far, than learnt, and
with more difference between sounds: the network does not know how this person moves it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import islice

import numpy as np

from sidgan import audio, geometry, media
from sidgan.dubbing.analysis.first_pass import Analysis
from sidgan.dubbing.redrawing import Job, found_again, redraw
from sidgan.dubbing.voice import listen
from sidgan.engine import Engine
from sidgan.errors import InputError
from sidgan.geometry import LEFT_EYE_CORNER, MOUTH, RIGHT_EYE_CORNER
from sidgan.people import Likeness, TrackedFace, View, sharpness
from sidgan.types import AS_LEARNT, Byte, Clip, Float, Frame, Opening

FEWEST = 50  #: least usable frames of a face; for fewer, trials would take too long compared with drawing
TAKES = 8  #: frames that are redrawn with each pair
MOST = 4  #: most candidates of each kind, with lips closed, open and shut: one, and one more for each `FEWEST` frames
OPEN_SHARE = 0.08  #: share of the frames, those with the widest open lips, that are candidates for the open reference
SIDE = 128  #: px of the faces in trials, unless the engine is prepared for one fixed size
LIPS = 75.0  #: weight of the lip error: dB per eye distance
MOTION = 1.0  #: weight of a wrong amount of motion: dB per factor e of the mouth opening's standard deviation
STILL = 0.01  #: eye distances, lower limit of that standard deviation
OPENINGS = (0.0, 0.3, 0.6, -0.3)  #: multiples of `Generator.opens` that are tried (`Opening.further`); first wins ties
SWINGS = (0.0, 1.0)  #: how much more the opening varies than learnt: what is tried after that (`Opening.swing`)


def rehearse(clip: Clip, seen: Analysis, engine: Engine, own: Mapping[int, Engine]) -> None:
    """Choose the references of all views with at least `FEWEST` usable frames, and how far mouths are opened there.

    Sets `View.chosen` and `View.opening`.

    Nothing is chosen if the video has no readable sound, or the network takes only one reference, and nothing again for
    views whose references are chosen. Nor is it for faces that never speak, as others are heard then. Views to which
    references are lent take those that were chosen for the lender; such lenders are tried even if they are not redrawn.

    Args:
        seen: result of the first pass; its tracks are changed.
        engine: runs the model.
        own: engines with models for single faces, by track number.
    """
    if engine.references == 1 or clip.audio_rate is None:
        return
    drawn = dict.fromkeys(person for people in seen.by_frame.values() for person in people)
    drawn = dict.fromkeys(lender for person in drawn for lender, _ in person.lent.values()) | drawn
    engines = {seen.people[i]: one for i, one in own.items()}
    long = [(one, view) for one in drawn for view in one.views
            if not view.chosen and _usable(one, view) >= FEWEST and not one.mute()]  # fmt: skip
    if long:
        _try(clip, seen, [Rehearsal(person, view, _small(engines.get(person, engine), seen)) for person, view in long])
    for person in drawn:
        # Of several lenders, that of the open reference counts, which comes last here.
        for (view, _), (_, lender) in sorted(person.lent.items(), key=lambda item: -item[0][1]):
            if not view.chosen:  # not tried itself
                view.opening = lender.opening


def _try(clip: Clip, seen: Analysis, trials: list[Rehearsal]) -> None:
    """Show the trials the frames that they want."""
    try:
        mel = listen(clip.path, seen.times[max(trial.last for trial in trials)] + 1).mel
    except InputError:  # unreadable sound counts as none
        return
    wanted: dict[int, list[Rehearsal]] = defaultdict(list)
    for trial in trials:
        for index in trial.wanted:
            wanted[index].append(trial)
    for frame in media.Player(clip, seen.times, seen.glances).pick(sorted(wanted)):
        for trial in wanted.pop(frame.index, ()):
            trial.see(frame)
            if frame.index == trial.last:
                trial.choose(seen.times, mel)
                trials.remove(trial)


def _usable(person: TrackedFace, view: View) -> int:
    """Number of usable frames of a view, counted only as far as it matters."""
    return len(list(islice(person.seen_from(view), MOST * FEWEST)))


def _small(engine: Engine, seen: Analysis) -> Engine:
    """The engine at a small size, or at the size of the dub where another size would need a lengthy preparation."""
    return engine.fitting(SIDE if engine.kind == "torch" else seen.side)


@dataclass(frozen=True, eq=False)
class Picture:
    """A crop of a face, (S, S, 3) uint8 RGB, the frame it is from, and its unit landmarks (68, 2)."""

    index: int
    image: Byte
    points: Float


class Rehearsal:
    """The trial of several references for one view of a face.

    The candidate frames of each kind, closed, open and shut, are split into a few parts by time; the sharpest crop of
    each part is tried.

    Attributes:
        wanted: the frames to pass to `see`, in order.
        last: the last of them.
    """

    def __init__(self, person: TrackedFace, view: View, engine: Engine) -> None:
        self.person, self.view, self._engine = person, view, engine
        sources = person.sources(view, engine.references, open_share=OPEN_SHARE)
        own = [group for face, group in sources if face is person]  # lenders may be far off
        frames = sorted({index for group in own for index in group})
        span = [index for index in person.seen_from(view) if frames[0] <= index <= frames[-1]]
        span = [index for index in span if person.row(index) not in person.covers] or span  # uncovered if possible
        self._takes = {span[(2 * k + 1) * len(span) // (2 * TAKES)] for k in range(TAKES)}
        each = min(MOST, 1 + _usable(person, view) // FEWEST)
        # Test frames are no candidates: a frame would be redrawn best with itself as a reference.
        self._parts: dict[int, list[tuple[TrackedFace, tuple[int, int]]]] = {}
        for kind, (face, group) in enumerate(sources):
            others = [index for index in sorted(group) if index not in self._takes]
            for number, part in enumerate(np.array_split(others, min(each, len(others))) if others else ()):
                for index in part.tolist():
                    self._parts.setdefault(index, []).append((face, (kind, number)))
        self.wanted = sorted(self._takes | self._parts.keys())
        self.last = self.wanted[-1]
        self._filmed: list[Picture] = []
        self._found: list[Float] = []  # their unit landmarks (68, 2)
        self._best: dict[tuple[int, int], tuple[float, Picture]] = {}

    def see(self, frame: Frame) -> None:
        """Take the crop of the next wanted frame."""

        @cache  # lips that are closed and shut are one picture
        def picture(face: TrackedFace) -> Picture:
            row = face.row(frame.index)
            crop = geometry.crop_face(frame, face.track.matrices[row], self._engine.size)
            return Picture(frame.index, crop.image, face.points[row])

        if frame.index in self._takes:
            filmed = picture(self.person)
            self._filmed.append(filmed)
            self._found.append(found_again(filmed.image, filmed.points))
        for face, part in self._parts.get(frame.index, ()):
            shown = picture(face)
            sharp = sharpness(shown.image)
            if part not in self._best or sharp > self._best[part][0]:
                self._best[part] = sharp, shown

    def choose(self, times: Sequence[Fraction], mel: Float) -> None:
        """Choose the best references (closed, open, shut if wanted), unless a kind has no candidate, and the opening.

        Not all pairs are tried: first the open ones with the sharpest closed one, then the closed ones with the best
        open one. The sound of the video hardly ever uses shut lips, so these are tried in place of the closed ones.

        Args:
            times: seconds at which the video's frames are shown.
            mel: (80, steps), spectrogram of the video's own sound.
        """
        tried = [[picture for (which, _), (_, picture) in sorted(self._best.items(), key=lambda one: -one[1][0])
                  if which == kind] for kind in range(self._engine.references)]  # fmt: skip
        if not all(tried):
            return
        mels = audio.mel_windows(mel, [times[picture.index] for picture in self._filmed])

        @cache  # shut lips are among the closed ones, too
        def score(closed: Picture, wide: Picture, opening: Opening = AS_LEARNT) -> float:
            return self._score((closed, wide, closed)[: self._engine.references], mels, opening)

        closed, opened, *others = tried
        wide = max(opened, key=lambda one: score(closed[0], one))
        narrow, *shut = (max(kind, key=lambda one: score(one, wide)) for kind in (closed, *others))
        self.view.chosen = tuple(one.index for one in (narrow, wide, *shut))
        if self._engine.opens:
            best = max(map(Opening, OPENINGS), key=lambda one: score(narrow, wide, one))
            self.view.opening = max((best._replace(swing=swing) for swing in SWINGS),
                                    key=lambda one: score(narrow, wide, one))  # fmt: skip

    def _score(self, shown: Sequence[Picture], mels: Float, opening: Opening) -> float:
        """Similarity of the test frames, redrawn with these references and this opening, to the filmed ones, in dB.

        It is PSNR minus penalties for lips in the wrong place and for a wrong amount of mouth motion. Without the
        latter, a mouth that hardly moves would score well, but viewers see somebody mumble.
        """
        engine, person = self._engine, self.person
        rows = [person.row(one.index) for one in self._filmed]
        jobs = [Job(person, row, one.image, mel, 1.0) for row, one, mel in zip(rows, self._filmed, mels, strict=True)]
        likeness = Likeness.of([one.image for one in shown], np.stack([one.points for one in shown]))
        drawn = redraw(engine, jobs, likeness, engine.encode_reference(likeness.pictures, opening))
        found = [found_again(made, one.points) for made, one in zip(drawn, self._filmed, strict=True)]
        alike = np.mean([_psnr(made, one.image, person.boxes[row])
                         for made, one, row in zip(drawn, self._filmed, rows, strict=True)])  # fmt: skip
        apart = np.mean([_apart(made, filmed) for made, filmed in zip(found, self._found, strict=True)])
        moves, moved = (max(STILL, float(geometry.mouth_opening(np.stack(points)).std()))
                        for points in (found, self._found))  # fmt: skip
        return float(alike - LIPS * apart - MOTION * abs(math.log(moves / moved)))


def _psnr(drawn: Byte, filmed: Byte, box: Float) -> float:
    """PSNR in dB of a drawn face (S, S, 3) against the filmed one, inside the mask."""
    hidden = geometry.mask_image(box, len(filmed)) > 0
    off = drawn[hidden].astype(np.float32) - filmed[hidden]
    return float(-10 * np.log10(np.square(off / 255).mean() + 1e-6))


def _apart(drawn: Float, filmed: Float) -> float:
    """Mean distance of the mouth landmarks in two sets (68, 2), in eye distances of the filmed face."""
    eyes = np.linalg.norm(filmed[LEFT_EYE_CORNER] - filmed[RIGHT_EYE_CORNER])
    return float(np.linalg.norm(drawn[MOUTH] - filmed[MOUTH], axis=1).mean() / eyes)
