"""The second pass: batches of faces through the network, frames in order, a bounded number of them at a time.

::

    a thread        decode, crop                       batch n + 2
    the caller's    network                            batch n + 1, then
                    whatever is done with the frames   batch n - 1; encoders have threads of their own
    a thread        blend                              batch n

Each stage works alone on what is its own: the first on the lists of what was passed, the second on references, the
third on tones and looks. So the order of everything is the same as if they took turns, and so are the bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain

import cv2
import numpy as np

from sidgan import geometry, media
from sidgan.ahead import ahead, meanwhile
from sidgan.blend import mouth_alpha
from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.detail import LARGEST, detailed, resized
from sidgan.dubbing.looks import Looks, Sample, around
from sidgan.dubbing.report import Clock, Progress
from sidgan.dubbing.steady import STEADY, Steady
from sidgan.dubbing.voice import Voice
from sidgan.engine import Engine
from sidgan.faces import box_of, landmarks
from sidgan.geometry import OUTER_LIPS
from sidgan.people import Person, References
from sidgan.timeline import Showing, Timeline
from sidgan.types import Byte, Clip, Float, Frame

MAX_HELD = 4  #: batches of frames that may wait for a batch of one person's faces to fill


@dataclass(frozen=True)
class Job:
    """One face to be redrawn: whose, in which row of their track, the crop (S, S, 3), and the voice (1, 80, 28)."""

    person: Person
    row: int
    crop: Byte
    mel: Float


@dataclass(frozen=True)
class Batch:
    """Frames of the output with the faces to be redrawn in each, and which frame of the video the last is made of."""

    frames: list[tuple[Frame, list[Job]]]
    source: int


@dataclass(frozen=True)
class Drawn:
    """A batch, the redrawn faces (N, S, S, 3) of each person in it, in order, and who is out of sight after it."""

    batch: Batch
    faces: dict[Person, Byte]
    gone: list[Person]


class Drawing:
    """The frames of an output.

    Args:
        clip: the video.
        seen: what its first pass found.
        voice: what is said.
        timeline: which frame is shown when.
        engine: the model.
        own: models of single faces, by their place among the video's tracks.
        steady: how calm redrawn skin is made, 0 to 1.

    Attributes:
        passed: (first, last, reason) of stretches that were left alone so far.
        dubbed: frames with a redrawn mouth so far.
        sides: of the face squares that were redrawn so far, px in the source.
        looks: at some of the redrawn faces so far.
    """

    def __init__(
        self, clip: Clip, seen: Analysis, voice: Voice, timeline: Timeline, engine: Engine, own: Mapping[int, Engine],
        clock: Clock, progress: Progress, steady: float = STEADY,
    ) -> None:  # fmt: skip
        self._clip, self._seen, self._voice, self._timeline = clip, seen, voice, timeline
        self._clock, self._progress = clock, progress
        self._engine = engine.fitting(seen.side)
        size = self._engine.size
        self._engines = {person: own[i].fitting(size) for i, person in enumerate(seen.people) if i in own}
        self._references = References(media.read_frames(clip), seen.usable, size, self._engine.references)
        self._shown: set[Person] = set()  # those with a reference, which is forgotten when they are out of sight
        self.passed: list[tuple[int, int, str]] = []
        self.dubbed = 0
        self.sides: list[float] = []
        self.looks: list[Sample] = []
        self._look, self._steady = Looks(), Steady(steady)

    @property
    def used(self) -> str:
        """What runs the network, in which precision."""
        return self._engine.used

    def frames(self) -> Generator[tuple[Frame, Frame]]:
        """Every frame of the output in order, as decoded and as it is to be encoded.

        Close it (`contextlib.closing`) where not all are taken.
        """
        with ahead(self._batches()) as batches, closing(meanwhile(self._blended, map(self._drawn, batches))) as blended:
            for frames in blended:
                for before, after in frames:
                    yield before, after
                    self._progress("draw", before.index + 1, len(self._timeline))

    def _batches(self) -> Iterator[Batch]:
        """Frames of the output, together until there is a batch of one person's faces."""
        player = media.Player(self._clip, self._seen.times)
        held: list[tuple[Frame, list[Job]]] = []
        waiting: Counter[Person] = Counter()
        for shown in self._timeline:
            source = player.frame(shown.source)
            frame = replace(source, index=shown.index, time=shown.time, duration=shown.duration)
            jobs = self._jobs(frame, shown)
            held.append((frame, jobs))
            waiting.update(job.person for job in jobs)
            batch = self._engine.batch
            if not waiting or max(waiting.values()) >= batch or len(held) >= MAX_HELD * batch:
                yield Batch(held, shown.source)
                held, waiting = [], Counter()
        if held:
            yield Batch(held, shown.source)

    def edited(self) -> list[tuple[Fraction, Fraction]]:
        """When each frame is shown that is going to be redrawn: known before the first one is."""
        return [(s.time, s.time + s.duration) for s in self._timeline if not isinstance(self._faces(s), str)]

    def _faces(self, shown: Showing) -> list[Person] | str:
        """Who is redrawn in a frame of the output, or why nobody is."""
        people = self._seen.by_frame.get(shown.source, [])
        refusals = [person.refusal(shown.source) for person in people]
        willing = [p for p, refusal in zip(people, refusals, strict=True) if refusal is None]
        if not willing or shown.time >= self._timeline.voice:
            return next(iter(refusals), None) or ("voice is over" if willing else "no face")
        return willing

    def _jobs(self, frame: Frame, shown: Showing) -> list[Job]:
        """The faces to be redrawn in a frame; where there is none, the reason is noted."""
        willing = self._faces(shown)
        if isinstance(willing, str):
            self._pass(frame.index, willing)
            return []
        self.dubbed += 1
        mel = self._voice.at(frame.time)
        with self._clock.stage("crop"):
            return [self._job(frame, person, person.row(shown.source), mel) for person in willing]

    def _job(self, frame: Frame, person: Person, row: int, mel: Float) -> Job:
        self.sides.append(float(person.sides[row]))
        crop = geometry.crop_face(frame, person.track.matrices[row], self._engine.size)
        return Job(person, row, crop.image, mel)

    def _forget(self, source: int) -> list[Person]:
        """Free the references of those who are not near a frame of the video; their pictures if they come no more."""
        gone = [p for p in self._shown if source not in p.track.frames]
        for person in gone:
            person.reference = None
            if not self._timeline.repeats:
                person.pictures = None
            self._shown.remove(person)
        return gone

    def _pass(self, index: int, reason: str) -> None:
        if self.passed and self.passed[-1][1:] == (index - 1, reason):
            self.passed[-1] = (self.passed[-1][0], index, reason)
        else:
            self.passed.append((index, index, reason))

    def _drawn(self, batch: Batch) -> Drawn:
        """A batch with its faces redrawn, person by person."""
        by_person: dict[Person, list[Job]] = defaultdict(list)
        for job in chain.from_iterable(jobs for _, jobs in batch.frames):
            by_person[job.person].append(job)
        faces = {person: self._redraw(person, jobs) for person, jobs in by_person.items()}
        return Drawn(batch, faces, self._forget(batch.source))

    def _blended(self, drawn: Drawn) -> list[tuple[Frame, Frame]]:
        """The frames of a batch in order, as decoded and with their redrawn faces put in."""
        faces = {person: iter(images) for person, images in drawn.faces.items()}
        frames = []
        for frame, jobs in drawn.batch.frames:
            edited = frame
            if jobs:
                with self._clock.stage("blend"):
                    edited = media.editable(frame)
                    for job in jobs:
                        self._paste(edited, job, next(faces[job.person]))
            frames.append((frame, edited))
        for person in drawn.gone:
            self._look.forget(person)
            self._steady.forget(person)
        return frames

    def _redraw(self, person: Person, jobs: Sequence[Job]) -> Byte:
        engine = self._engines.get(person, self._engine)
        if person.reference is None:
            with self._clock.stage("reference"):
                person.reference = engine.encode_reference(self._references.pictures(person))
            self._shown.add(person)
        masks = np.stack([geometry.mask_image(person.boxes[job.row], self._engine.size) for job in jobs])
        crops, mels = np.stack([job.crop for job in jobs]), np.stack([job.mel for job in jobs])
        placed = geometry.placement(person.points[[job.row for job in jobs]], person.points[person.shown])
        with self._clock.stage("network"):
            return engine.run(crops, masks, mels, person.reference, placed)

    def _paste(self, frame: Frame, job: Job, drawn: Byte) -> None:
        """Put a redrawn mouth into an editable frame."""
        person, row = job.person, job.row
        old, box, size = person.points[row], person.boxes[row], len(drawn)
        new = (landmarks(drawn, box_of(old * size - 0.5)) + 0.5) / size
        mouths = old[OUTER_LIPS], new[OUTER_LIPS]
        image = self._steady(person, frame.index, job.crop, person.tone(drawn, job.crop, box, old), mouths)
        side = max(size, min(round(float(person.sides[row])), LARGEST))
        image, alpha = resized(image, side), resized(mouth_alpha(size, box, old, new), side, cv2.INTER_LINEAR)
        luma = geometry.crop_luma(frame, person.track.matrices[row], side)
        image = detailed(luma, image, alpha * ~around(mouths, side))
        shown = self._seen.times[person.track.first + row]
        seen = self._look(frame, shown, person, row, job.crop, luma, image, alpha, new)
        self.looks += [seen] if seen is not None else []
        geometry.paste_face(frame, image, alpha, person.track.matrices[row])
