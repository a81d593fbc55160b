"""The second pass: batches of faces through the network, frames in order, a bounded number of them at a time.

A stretch of frames can be drawn by itself. What a frame looks like depends only on the first pass, on the person's
reference and on the last `LOOK_BACK` frames, itself included. So the frames before a stretch are drawn as well, without
being handed out, and where a stretch begins makes no difference.

::

    a thread        decode, crop                       batch n + 2
    the caller's    network                            batch n + 1, then
                    whatever is done with the frames   batch n - 1; encoders have threads of their own
    a thread        blend                              batch n

No two stages change the same thing: the first keeps the lists of what was left alone, the second the references, the
third tones and looks. So everything happens in the same order as if they took turns, and the bytes are the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import chain, islice

from sidgan import geometry, media
from sidgan.ahead import ahead, meanwhile
from sidgan.blend import LOOK_BACK, STEADY, Steady
from sidgan.dubbing.plan import Plan
from sidgan.dubbing.redrawing import Job, finished, redraw
from sidgan.dubbing.report import Clock, Progress
from sidgan.dubbing.review.looks import Looks, Sample
from sidgan.engine import Engine
from sidgan.people import References, TrackedFace
from sidgan.timeline import Showing
from sidgan.types import Byte, Clip, Frame

MAX_HELD = 4  #: batches of frames that may wait until there is a full batch of one person's faces


@dataclass
class Done:
    """What was done to a stretch of frames.

    Attributes:
        dubbed: frames with a redrawn mouth.
        passed: (first, last, reason) of stretches that were left alone.
        sides: of the face squares that were redrawn, px in the source.
        looks: at some of the redrawn faces.
    """

    dubbed: int = 0
    passed: list[tuple[int, int, str]] = field(default_factory=list)
    sides: list[float] = field(default_factory=list)
    looks: list[Sample] = field(default_factory=list)

    def leave(self, first: int, last: int, reason: str) -> None:
        """Note frames that are left alone."""
        if self.passed and self.passed[-1][1:] == (first - 1, reason):
            first = self.passed.pop()[0]
        self.passed.append((first, last, reason))


@dataclass(frozen=True)
class Batch:
    """Frames of the output with the faces to be redrawn in each, and which frame of the video the last is made of."""

    frames: list[tuple[Frame, list[Job]]]
    source: int


@dataclass(frozen=True)
class Drawn:
    """A batch, the redrawn faces (N, S, S, 3) of each person in it, in order, and who comes no more after it."""

    batch: Batch
    faces: dict[TrackedFace, Byte]
    over: list[TrackedFace]


class Drawing:
    """The frames of an output.

    Args:
        clip: the video.
        plan: whose mouth is redrawn in which frame.
        engine: runs the model.
        own: run the models of single faces, by the place of their track among the video's.
        clock: is told how long each stage takes.
        progress: is told after each frame.
        steady: how calm redrawn skin is made, 0 to 1.

    Attributes:
        done: what was done to the frames of the last stretch so far.
    """

    def __init__(
        self, clip: Clip, plan: Plan, engine: Engine, own: Mapping[int, Engine], clock: Clock, progress: Progress,
        steady: float = STEADY,
    ) -> None:  # fmt: skip
        self._clip, self._plan, self._timeline = clip, plan, plan.timeline
        seen = self._seen = plan.seen
        self._clock, self._progress = clock, progress
        self._engine = engine.fitting(seen.side)
        size = self._engine.size
        self._engines = {person: own[i].fitting(size) for i, person in enumerate(seen.people) if i in own}
        self._shown: set[TrackedFace] = set()  # those with a reference, which is forgotten when they are out of sight
        self._at = -1  # the frame that would be drawn next
        self._first = 0  # the first frame of the stretch
        self.done = Done()
        self._look, self._steady = Looks(), Steady(steady)

    @property
    def used(self) -> str:
        """What runs the network, in which precision."""
        return self._engine.used

    def frames(self, first: int, stop: int) -> Generator[tuple[Frame, Frame]]:
        """Frames ``first`` to before ``stop`` of the output in order, as decoded and as they are to be encoded.

        Close it (`contextlib.closing`) where not all are taken.
        """
        if first != self._at:
            self._enter(max(0, first + 1 - LOOK_BACK))
        begin, self._at = self._at, -1  # what is closed before its end must be entered anew
        self._first, self.done = first, Done()
        with (
            ahead(self._batches(stop - begin)) as batches,
            closing(meanwhile(self._blended, map(self._drawn, batches))) as blended,
        ):
            for frames in blended:
                for before, after in frames:
                    yield before, after
                    self._progress("draw", before.index + 1, len(self._timeline))
        self._at = stop

    def _batches(self, count: int) -> Iterator[Batch]:
        """The next frames of the output, gathered until one person's faces among them fill a batch."""
        held: list[tuple[Frame, list[Job]]] = []
        waiting: Counter[TrackedFace] = Counter()
        for shown in islice(self._showings, count):
            source = self._player.frame(shown.source)
            if shown.index != shown.source:
                source = media.without_captions(source)
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

    def _enter(self, index: int) -> None:
        """Make ready for frame ``index`` of the output, whatever was drawn before."""
        self._at, self._showings = index, islice(self._timeline, index, None)
        self._player = media.Player(self._clip, self._seen.times, self._seen.glances)
        lowest = min(shown.source for shown in islice(self._timeline, index, None))
        size, count = self._engine.size, self._engine.references
        coming = [p for p in self._seen.usable if p.pictures is None and p.track.frames[-1] >= lowest]
        wanted = sorted({*chain.from_iterable(chain.from_iterable(person.candidates(count) for person in coming))})
        self._references = References(self._player.pick(wanted), coming, size, count)
        for person in self._seen.usable:
            person.begin()
            self._look.forget(person)
            self._steady.forget(person)

    def edited(self) -> list[tuple[Fraction, Fraction]]:
        """When each frame is shown that is going to be redrawn: known before the first one is."""
        return [(s.time, s.time + s.duration) for s in self._timeline if not isinstance(self._plan.faces(s), str)]

    def _jobs(self, frame: Frame, shown: Showing) -> list[Job]:
        """The faces to be redrawn in a frame; where there is none, the reason is noted."""
        willing, counts = self._plan.faces(shown), frame.index >= self._first
        if isinstance(willing, str):
            if counts:
                self.done.leave(frame.index, frame.index, willing)
            return []
        self.done.dubbed += counts
        self.done.sides += [float(person.sides[person.row(shown.source)]) for person, _ in willing if counts]
        with self._clock.stage("crop"):
            return [self._job(frame, person, person.row(shown.source), weight) for person, weight in willing]

    def _job(self, frame: Frame, person: TrackedFace, row: int, weight: float) -> Job:
        crop = geometry.crop_face(frame, person.track.matrices[row], self._engine.size)
        mel = self._plan.voices.of(self._seen.numbers[person]).at(frame.time)
        return Job(person, row, crop.image, mel, weight)

    def _forget(self, source: int) -> list[TrackedFace]:
        """Free the references of those whose track does not hold a frame of the video.

        Returns:
            Those among them who do not come back: nothing of them is needed any more.
        """
        over = []
        for person in [p for p in self._shown if source not in p.track.frames]:
            person.reference = None
            if source > person.track.frames[-1] and not self._timeline.repeats:
                person.pictures = None
                over.append(person)
            self._shown.remove(person)
        return over

    def _drawn(self, batch: Batch) -> Drawn:
        """A batch with its faces redrawn, person by person."""
        by_person: dict[TrackedFace, list[Job]] = defaultdict(list)
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
            if frame.index >= self._first:
                frames.append((frame, edited))
        for person in drawn.over:
            self._look.forget(person)
            self._steady.forget(person)
        return frames

    def _redraw(self, person: TrackedFace, jobs: Sequence[Job]) -> Byte:
        engine = self._engines.get(person, self._engine)
        if person.reference is None:
            with self._clock.stage("reference"):
                person.reference = engine.encode_reference(self._references.pictures(person))
            self._shown.add(person)
        with self._clock.stage("network"):
            return redraw(engine, jobs, person.reference, person.points[person.shown])

    def _paste(self, frame: Frame, job: Job, drawn: Byte) -> None:
        """Put a redrawn mouth into an editable frame."""
        person, row = job.person, job.row
        made = finished(frame, job, drawn, self._steady)
        shown = self._seen.times[person.track.first + row]
        seen = self._look(frame, shown, person, row, job.crop, made.luma, made.image, made.alpha, made.points)
        if seen is not None and frame.index >= self._first:
            self.done.looks.append(seen)
        geometry.paste_face(frame, made.image, made.alpha, person.track.matrices[row])
