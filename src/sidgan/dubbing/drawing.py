"""The second pass: the network draws faces in batches; frames come out in order, and few are held in memory.

Any range of frames can be drawn by itself. A drawn frame depends only on the first pass, on the person's references and
on the last `LOOK_BACK` frames, itself included. So some frames before the range are drawn too, as a warm-up, and where
a range begins does not change the result.

::

    thread 1         decode, crop    batch n + 3
    caller's thread  network         batch n + 2
    thread 2         blend           batch n + 1
    thread 3         the caller's    batch n; encoders have threads of their own (`sidgan.dubbing.segments.make`)

Each stage has its own mutable state: the first the list of frames left as filmed, the second the references, the third
skin tones and quality figures. So the result is the same, bit for bit, as if the stages ran one after the other.
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
from sidgan.people import References, TrackedFace, View, mixed
from sidgan.timeline import Showing
from sidgan.types import Byte, Clip, Frame

MAX_HELD = 4  #: frames that may wait for a full batch of one person's faces, in multiples of the batch size


@dataclass
class Done:
    """What was done to a range of frames.

    Attributes:
        dubbed: number of frames with a redrawn mouth.
        passed: (first, last, reason) of runs of frames that were left as filmed.
        sides: side of each face square that was redrawn, px in the source.
        looks: quality figures of some of the redrawn faces.
    """

    dubbed: int = 0
    passed: list[tuple[int, int, str]] = field(default_factory=list)
    sides: list[float] = field(default_factory=list)
    looks: list[Sample] = field(default_factory=list)

    def leave(self, first: int, last: int, reason: str) -> None:
        """Record frames that are left as filmed; a run with the same reason is extended."""
        if self.passed and self.passed[-1][1:] == (first - 1, reason):
            first = self.passed.pop()[0]
        self.passed.append((first, last, reason))


@dataclass(frozen=True)
class Batch:
    """Frames of the output with the faces to be redrawn in each, and the last one's frame number in the video."""

    frames: list[tuple[Frame, list[Job]]]
    source: int


@dataclass(frozen=True)
class Drawn:
    """A batch, the drawn faces (N, S, S, 3) of each person in order, and the persons who do not appear after it."""

    batch: Batch
    faces: dict[TrackedFace, Byte]
    gone: list[TrackedFace]


class Drawing:
    """Draws the frames of an output.

    Args:
        clip: the video.
        plan: whose mouth is redrawn in which frame.
        engine: runs the model.
        own: engines with models for single faces, by track number.
        clock: adds up the time of each stage.
        progress: called after each batch.
        steady: temporal smoothing of redrawn skin, 0 to 1.

    Attributes:
        done: what was done so far to the frames of the last range.
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
        chosen = {person for people in seen.by_frame.values() for person in people}
        self._drawn = [person for person in seen.usable if person in chosen]
        self._encoded: set[TrackedFace] = set()  # tracks whose reference is encoded and not yet freed
        self._next = -1  # the next frame to draw; -1: none, warm up first
        self._first = 0  # first frame of the range; those before it are warm-up
        self._filmed = True  # whether frames as decoded are kept for the caller
        self.done = Done()
        self._look, self._steady = Looks(), Steady(steady)

    @property
    def used(self) -> str:
        """Name of the runtime of the network and its precision, for the report."""
        return self._engine.used

    def batches(self, first: int, stop: int, *, filmed: bool = True) -> Generator[list[tuple[Frame, Frame]]]:
        """Frames ``first`` to ``stop - 1`` of the output in order, a batch at a time: (as decoded, as to be encoded).

        Close the generator (`contextlib.closing`) if not all batches are consumed.

        Args:
            filmed: keep frames as decoded; otherwise the frame to be encoded stands in both places, which saves memory.
        """
        if first != self._next:
            self._seek(max(0, first + 1 - LOOK_BACK))
        begin, self._next = self._next, -1  # if the generator is closed early, the next range needs a warm-up
        self._first, self._filmed, self.done = first, filmed, Done()
        with (
            ahead(self._batches(stop - begin)) as batches,
            closing(meanwhile(self._blend, map(self._draw, batches))) as blended,
        ):
            for frames in blended:
                if frames:  # none if all belong to the warm-up
                    self._progress("draw", frames[-1][0].index + 1, len(self._timeline))
                yield frames
        self._next = stop

    def _batches(self, count: int) -> Iterator[Batch]:
        """Group the next ``count`` frames of the output until one person's faces in them fill a batch."""
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

    def _seek(self, index: int) -> None:
        """Seek to frame ``index`` of the output and reset all state that depends on earlier frames."""
        self._next, self._showings = index, self._timeline.since(index)
        self._player = media.Player(self._clip, self._seen.times, self._seen.glances)
        rest = islice(self._timeline.since(index), None if self._timeline.rewinds else 1)
        lowest = min(shown.source for shown in rest)
        size, count = self._engine.size, self._engine.references
        upcoming = [person for person in self._drawn if person.track.frames[-1] >= lowest]
        self._references = References(self._player.pick, upcoming, size, count)
        for person in self._drawn:
            person.begin()
            self._look.forget(person)
            self._steady.forget(person)

    def edited(self) -> list[tuple[Fraction, Fraction]]:
        """(start, end) seconds of each frame that will be redrawn, by the plan."""
        return [(s.time, s.time + s.duration) for s in self._timeline if not isinstance(self._plan.faces(s), str)]

    def _jobs(self, frame: Frame, shown: Showing) -> list[Job]:
        """The faces to be redrawn in a frame; where there are none, the reason is recorded."""
        found, counts = self._plan.faces(shown), frame.index >= self._first
        if isinstance(found, str):
            if counts:
                self.done.leave(frame.index, frame.index, found)
            return []
        self.done.dubbed += counts
        self.done.sides += [float(person.sides[person.row(shown.source)]) for person, _ in found if counts]
        with self._clock.stage("crop"):
            return [self._job(frame, person, person.row(shown.source), weight) for person, weight in found]

    def _job(self, frame: Frame, person: TrackedFace, row: int, weight: float) -> Job:
        crop = geometry.crop_face(frame, person.track.matrices[row], self._engine.size)
        mel = self._plan.voices.of(self._seen.numbers[person]).at(frame.time)
        return Job(person, row, crop.image, mel, weight)

    def _forget(self, source: int) -> list[TrackedFace]:
        """Free the references of all tracks that do not include frame ``source`` of the video.

        Returns:
            Those among them that do not appear again, so that all their state can be freed.
        """
        gone = []
        if not self._timeline.repeats:
            self._references.forget(source)
        for person in [p for p in self._encoded if source not in p.track.frames]:
            over = source > person.track.frames[-1] and not self._timeline.repeats
            for view in person.views:
                view.reference, view.likeness = None, None if over else view.likeness
            gone += [person] * over
            self._encoded.remove(person)
        return gone

    def _draw(self, batch: Batch) -> Drawn:
        """Draw the faces of a batch, person by person."""
        by_person: dict[TrackedFace, list[Job]] = defaultdict(list)
        for job in chain.from_iterable(jobs for _, jobs in batch.frames):
            by_person[job.person].append(job)
        faces = {person: self._redraw(person, jobs) for person, jobs in by_person.items()}
        return Drawn(batch, faces, self._forget(batch.source))

    def _blend(self, drawn: Drawn) -> list[tuple[Frame, Frame]]:
        """Paste a batch's drawn faces: its frames in order, as decoded and as edited, without those of the warm-up."""
        faces = {person: iter(images) for person, images in drawn.faces.items()}
        frames, waiting = [], drawn.batch.frames
        while waiting:  # each is freed as soon as it is blended
            frame, jobs = waiting.pop(0)
            edited = frame
            if jobs:
                with self._clock.stage("blend"):
                    edited = media.editable(frame)
                    for job in jobs:
                        self._paste(edited, job, next(faces[job.person]))
            if frame.index >= self._first:
                frames.append((frame if self._filmed else edited, edited))
        for person in drawn.gone:
            self._look.forget(person)
            self._steady.forget(person)
        return frames

    def _redraw(self, person: TrackedFace, jobs: Sequence[Job]) -> Byte:
        def draw(view: View, some: list[int]) -> Byte:
            return self._redraw_from(person, view, [jobs[i] for i in some])

        return mixed(person.views, [job.row for job in jobs], draw)

    def _redraw_from(self, person: TrackedFace, view: View, jobs: Sequence[Job]) -> Byte:
        engine = self._engines.get(person, self._engine)
        with self._clock.stage("reference"):
            likeness = self._references.likeness(person, view)
            if view.reference is None:
                view.reference = engine.encode_reference(likeness.pictures, view.opening)
                self._encoded.add(person)
        with self._clock.stage("network"):
            return redraw(engine, jobs, likeness, view.reference)

    def _paste(self, frame: Frame, job: Job, drawn: Byte) -> None:
        """Paste a drawn mouth into an editable frame, and measure its quality."""
        person, row = job.person, job.row
        face = finished(frame, job, drawn, self._steady)
        source_at = self._seen.times[person.track.first + row]
        sample = self._look(frame, source_at, person, row, job.crop, face.luma, face.image, face.alpha, face.points)
        if sample is not None and frame.index >= self._first:
            self.done.looks.append(sample)
        geometry.paste_face(frame, face.image, face.alpha, person.track.matrices[row])
