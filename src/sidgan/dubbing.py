"""A video and a voice to a video that speaks with that voice: the only place where the stages are wired together.

::

    video ─ read ─ track ──────────▶ tracks                                     first pass: where is whose face
    voice ─ decode ─ mel ──────────▶ spectrogram, timeline                      which frame is shown when
    video ─ play ─┬─ crop ─ hide ─ Engine ─ tone, alpha ─ paste ─┬─ write       second pass: batches of faces,
                  └─ frames without a usable face ───────────────┘              frames in order

Only landmarks and the spectrogram are kept, so memory does not grow with pictures.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np

from sidgan import audio as sound
from sidgan import checkpoint, geometry, media, provenance
from sidgan.blend import mouth_alpha
from sidgan.config import require
from sidgan.credentials import Credentials
from sidgan.engine import Engine, check_engine, load
from sidgan.errors import InputError, MarkError, NoFaceError, OutputError, SidganError
from sidgan.faces import Tracker, box_of, landmarks, search
from sidgan.nn import Generator
from sidgan.people import MAX_YAW, MIN_SIDE, Person, References, redrawn
from sidgan.timeline import LENGTHS, Length, Showing, Timeline
from sidgan.types import Byte, Clip, Float, Frame

MAX_HELD = 4  #: batches of frames that may wait for a batch of one person's faces to fill
ROUNDING = Fraction(1, 1000)  #: seconds; Matroska counts in milliseconds

Faces = Literal["largest", "all"]
Progress = Callable[[str, int, int], None]  #: called with stage, frames done, frames in total (an estimate at first)
OnFrame = Callable[[Frame, Frame], None]  #: called with each frame as decoded and as it goes to the encoder


@dataclass(frozen=True)
class DubReport:
    """What was done to a video.

    Attributes:
        frames: frames of the output: all of the video's, and those shown again for a voice that is longer.
        dubbed: of these, the ones with a redrawn mouth.
        passed: (first, last, reason) of stretches that were left alone.
        seconds: wall seconds by stage.
        wall, cpu: seconds in total, and of processor time.
        memory: peak of this process, MiB.
        face_side: median side of the dubbed face squares, px in the source.
        model: which weights were used.
        engine: what ran them, in which precision.
    """

    frames: int
    dubbed: int
    passed: tuple[tuple[int, int, str], ...]
    seconds: dict[str, float]
    wall: float
    cpu: float
    memory: float
    face_side: float
    model: str
    engine: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def dub(
    video: Path,
    audio: Path,
    out: Path,
    *,
    model: Path | str = "bundled",
    faces: Faces = "largest",
    length: Length = "cut",
    device: str = "auto",
    engine: str = "torch",
    encoder: str = "x264",
    crf: int = 16,
    lossless: bool = False,
    progress: Progress | None = None,
    generator: Generator | None = None,
    own: Mapping[int, Generator] | None = None,
    on_frame: OnFrame | None = None,
    sign: Credentials | None = None,
) -> DubReport:
    """Redraw the mouth of a talking face so that it speaks ``audio``, and keep everything else.

    Time 0 of the voice is put at the first frame. Where the voice is shorter than the video, the rest of the picture
    passes through. So do frames without a usable face; the report lists them.

    The output says that it was altered, and how (`sidgan.provenance`); `sidgan.verify` reads it.

    Args:
        video: any file with pictures; every frame keeps its timestamp, format and colour tags.
        audio: any file with sound; it becomes the sound track.
        out: ``.mp4``, ``.mov`` or ``.mkv``.
        model: ``bundled``, a weights file, or an ``.onnx`` file from `sidgan.engine.export`.
        faces: ``largest`` redraws the most prominent face of each moment, ``all`` every face.
        length: a voice that is longer than the video is ``cut``, or the video is made to last as long: by ``hold``
            of its last frame, in a ``loop``, or forwards and backwards (``pingpong``). ``keep`` cuts a longer voice
            too; after a shorter one the original sound goes on instead of silence.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: what runs the network: ``torch``, ``onnx``, ``openvino``, or ``auto``, the fastest of them here. The
            first is the default because another engine, and another choice, may give other bits.
        encoder: ``x264``, ``x265`` or any other by FFmpeg's name, such as ``h264_nvenc``.
        crf: constant quality, 0 (best) to 51.
        lossless: encode without loss, whatever ``crf`` says: what was not redrawn is exactly the source's.
        progress: told how far it is.
        generator: a network to use in place of ``model``.
        own: networks of the same size for single faces, by their place among the video's tracks, the most prominent
            first (`sidgan.adaptation.adapt_faces` makes them); the other faces are drawn by the model.
        on_frame: shown every frame before and after; it must not write into them.
        sign: also sign the output, an ``.mp4`` or ``.mov``.

    Raises:
        InputError: the video has no pictures, the voice no sound, or one of them is damaged.
        NoFaceError: there is no usable face in the whole video. No output is made.
        OutputError: ``out`` cannot be written or is one of the inputs.
        ConfigError, CheckpointError: an impossible setting or encoder; weights that cannot be used.
        SidganError: the output, read back, is not what it should be; it was removed.
    """
    dubber = Dubber(model, device=device, engine=engine, generator=generator)
    return dubber.dub(
        video, audio, out, faces=faces, length=length, encoder=encoder, crf=crf, lossless=lossless,
        progress=progress, own=own, on_frame=on_frame, sign=sign,
    )  # fmt: skip


def check(
    video: Path,
    audio: Path,
    out: Path,
    sign: Credentials | None = None,
    *,
    encoder: str = "x264",
    lossless: bool = False,
    engine: str = "torch",
    device: str = "auto",
) -> None:
    """Raise what `dub` would raise about files and engine, before minutes are spent on adaptation to the video."""

    class Enough(Exception):  # noqa: N818  no error
        pass

    check_engine(engine, device)
    draft, encoding = out if sign is None else sign.draft(out), media.Encoding(encoder, lossless=lossless)
    with suppress(Enough), media.Writer(draft, media.probe(video), audio=audio, encoding=encoding):
        raise Enough


class Dubber:
    """A loaded model that dubs one video after the other; see `dub` for the arguments."""

    def __init__(
        self, model: Path | str = "bundled", *, device: str = "auto", engine: str = "torch",
        generator: Generator | None = None, batch: int = 8,
    ) -> None:  # fmt: skip
        self.engine = Engine(load(model) if generator is None else generator, device, batch, kind=engine)
        self._device, self._kind = device, engine
        if generator is None:
            file = checkpoint.file_of(model)
            self._name, self._digest = file.stem, provenance.digest_of(file)
            self.model = f"{self._name}-{self._digest[:12]}"
        else:
            self._name, self._digest = "given", checkpoint.digest(generator.state_dict())
            self.model = "given"

    def dub(
        self,
        video: Path,
        audio: Path,
        out: Path,
        *,
        faces: Faces = "largest",
        length: Length = "cut",
        encoder: str = "x264",
        crf: int = 16,
        lossless: bool = False,
        progress: Progress | None = None,
        own: Mapping[int, Generator] | None = None,
        on_frame: OnFrame | None = None,
        sign: Credentials | None = None,
    ) -> DubReport:
        """Dub one video; see `sidgan.dubbing.dub`."""
        video, audio, out = Path(video), Path(audio), Path(out)
        require(faces in ("largest", "all"), f"faces must be 'largest' or 'all', not {faces!r}")
        require(length in LENGTHS, f"length must be {', '.join(LENGTHS[:-1])} or {LENGTHS[-1]}, not {length!r}")
        require(0 <= crf <= 51, f"crf must be 0 to 51, not {crf}")
        if out.resolve() in (video.resolve(), audio.resolve()):
            raise OutputError(f"{out} is one of the inputs; choose another name")
        networks = {id(network): network for network in (own or {}).values()}  # one for all shots of a person
        batch = self.engine.batch
        ready = {i: Engine(network, self._device, batch, kind=self._kind) for i, network in networks.items()}
        engines = {track: ready[id(network)] for track, network in (own or {}).items()}
        require(all(e.size == self.engine.size for e in engines.values()), "faces' own networks must be of one size")
        run = _Run(self.engine, media.probe(video), progress or (lambda stage, done, total: None), engines)
        draft = out if sign is None else sign.draft(out)
        encoding, digests = media.Encoding(encoder, crf, lossless=lossless), list[int]()
        try:
            # Entered first, so that an output or a voice that cannot be used is told before minutes are spent.
            with media.Writer(draft, run.clip, audio=audio, encoding=encoding) as writer:
                run.analyse(faces)
                run.listen(audio, length)
                if run.goes_on:
                    writer.go_on_with_own_sound()
                with run.clock("mark"):
                    mark = self._mark(run, audio, own, signed=sign is not None)
                writer.tags = mark.tags()
                for before, after in run.frames():
                    if on_frame is not None:
                        on_frame(before, after)
                    with run.clock("write"):
                        writer.write(after)
                        digests += [media.digest(after)] * lossless
            run.verify(draft, out, audio, mark, digests)
            if sign is not None:
                with run.clock("sign"):
                    sign.sign(draft, out, video, mark.to_dict(), mark.edited.spans)
        finally:
            if sign is not None:
                draft.unlink(missing_ok=True)
        return run.report(f"{self.model}, adapted" if own else self.model)

    def _mark(
        self, run: _Run, voice: Path, own: Mapping[int, Generator] | None, *, signed: bool
    ) -> provenance.Mark:
        video = run.clip.path
        return provenance.Mark(
            model=self._name, weights=self._digest, source=provenance.digest_of(video),
            voice=provenance.digest_of(voice), edited=provenance.Stretches.of(run.edited()),
            adapted=tuple(sorted({checkpoint.digest(network.state_dict()) for network in (own or {}).values()})),
            earlier=run.repeated(provenance.earlier(video, run.clip.duration)), signed=signed,
        )  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """One face to be redrawn: whose, in which row of their track, the crop (S, S, 3), and the voice (1, 80, 28)."""

    person: Person
    row: int
    crop: Byte
    mel: Float


class _Run:
    """One video on its way; holds a bounded number of frames."""

    def __init__(self, engine: Engine, clip: Clip, progress: Progress, own: Mapping[int, Engine]) -> None:
        self.clip, self._engine, self._own, self._progress = clip, engine, own, progress
        self._seconds: dict[str, float] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self._times: list[Fraction] = []  # of the video's frames
        self._end = Fraction(0)  # of the last of them
        self._dubbed = 0
        self._passed: list[tuple[int, int, str]] = []
        self._sides: list[float] = []

    @contextmanager
    def clock(self, stage: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        yield
        self._seconds[stage] = self._seconds.get(stage, 0.0) + time.perf_counter() - start

    def analyse(self, faces: Faces) -> None:
        """First pass: follow the faces, and decide who is redrawn where."""
        tracker = Tracker()
        with self.clock("analyse"):
            for frame in media.read_frames(self.clip):
                self._times.append(frame.time)
                self._end = frame.time + frame.duration
                tracker.add(frame)
                self._progress("analyse", len(self._times), max(self.clip.frames, len(self._times)))
            people = [Person(track) for track in tracker.finish()]  # the most prominent first
        usable = [p for p in people if p.candidates()]
        if not usable:
            found = "only small or turned faces" if people else "no face"
            raise NoFaceError(
                f"{found} found in {self.clip.path}; give a video with a face square of at least {MIN_SIDE} px, "
                f"turned by less than {MAX_YAW} degrees"
            )
        side = float(np.median(usable[0].sides))
        self._engine = self._engine.fitting(side)
        self._people = redrawn(usable, faces)  # by frame of the video
        self._shown: set[Person] = set()  # those with a reference, which is forgotten when they are out of sight
        size = self._engine.size
        self._engines = {person: self._own[i].fitting(size) for i, person in enumerate(people) if i in self._own}
        self._references = References(media.read_frames(self.clip), usable, self._engine.size, self._engine.references)

    def listen(self, voice: Path, length: Length) -> None:
        """The spectrogram of the voice, as far as there may be pictures, and with its end the timeline."""
        enough = self._end + 1 if length in ("cut", "keep") else None
        samples = 0

        def heard() -> Iterator[Float]:
            nonlocal samples
            for block in media.decode_audio(voice, sound.SAMPLE_RATE):
                samples += len(block)
                yield block
                if enough is not None and samples > enough * sound.SAMPLE_RATE:
                    return

        with self.clock("listen"):
            self._mel = np.concatenate(list(sound.stream_log_mel(heard())), axis=1)
        if not samples:
            raise InputError(f"{voice} has no sound; give a file with speech")
        self._timeline = Timeline(self._times, self._end, Fraction(samples, sound.SAMPLE_RATE), length)
        own = length == "keep" and self.clip.audio_rate is not None
        self.goes_on = own and self._timeline.voice < self._end  #: the video's own sound follows the voice

    def frames(self) -> Iterator[tuple[Frame, Frame]]:
        """Second pass: every frame of the output in order, as decoded and as it is to be encoded."""
        player = media.Player(self.clip, self._times)
        held: list[tuple[Frame, list[_Job]]] = []
        waiting: Counter[Person] = Counter()
        for shown in self._timeline:
            source = player.frame(shown.source)
            frame = replace(source, index=shown.index, time=shown.time, duration=shown.duration)
            jobs = self._jobs(frame, shown)
            held.append((frame, jobs))
            waiting.update(job.person for job in jobs)
            batch = self._engine.batch
            if not waiting or max(waiting.values()) >= batch or len(held) >= MAX_HELD * batch:
                yield from self._drawn(held)
                self._forget(shown.source)
                held, waiting = [], Counter()
            self._progress("draw", shown.index + 1, len(self._timeline))
        yield from self._drawn(held)

    def edited(self) -> list[tuple[Fraction, Fraction]]:
        """When each frame is shown that is going to be redrawn: known before the first one is."""
        return [(s.time, s.time + s.duration) for s in self._timeline if not isinstance(self._faces(s), str)]

    def repeated(self, spans: provenance.Stretches) -> provenance.Stretches:
        """Stretches of the video in the output: all that repeats a video that has any counts as one."""
        again = [(self._end, self._timeline.end)] * bool(spans and self._timeline.repeats)
        return provenance.Stretches.of([*spans.spans, *again], spans.left_out)

    def _faces(self, shown: Showing) -> list[Person] | str:
        """Who is redrawn in a frame of the output, or why nobody is."""
        people = self._people.get(shown.source, [])
        refusals = [person.refusal(shown.source) for person in people]
        willing = [p for p, refusal in zip(people, refusals, strict=True) if refusal is None]
        if not willing or shown.time >= self._timeline.voice:
            return next(iter(refusals), None) or ("voice is over" if willing else "no face")
        return willing

    def _jobs(self, frame: Frame, shown: Showing) -> list[_Job]:
        """The faces to be redrawn in a frame; where there is none, the reason is noted."""
        willing = self._faces(shown)
        if isinstance(willing, str):
            self._pass(frame.index, willing)
            return []
        self._dubbed += 1
        mel = sound.mel_windows(self._mel, [frame.time])[0]
        with self.clock("crop"):
            return [self._job(frame, person, person.row(shown.source), mel) for person in willing]

    def _job(self, frame: Frame, person: Person, row: int, mel: Float) -> _Job:
        self._sides.append(float(person.sides[row]))
        crop = geometry.crop_face(frame, person.track.matrices[row], self._engine.size)
        return _Job(person, row, crop.image, mel)

    def _forget(self, source: int) -> None:
        """Free the references of those who are not near a frame of the video; their pictures if they come no more."""
        for person in [p for p in self._shown if source not in p.track.frames]:
            person.reference = None
            if not self._timeline.repeats:
                person.pictures = None
            self._shown.remove(person)

    def _pass(self, index: int, reason: str) -> None:
        if self._passed and self._passed[-1][1:] == (index - 1, reason):
            self._passed[-1] = (self._passed[-1][0], index, reason)
        else:
            self._passed.append((index, index, reason))

    def _drawn(self, held: Sequence[tuple[Frame, list[_Job]]]) -> Iterator[tuple[Frame, Frame]]:
        """Redraw all faces of some frames, person by person, and hand the frames out in order."""
        by_person: dict[Person, list[_Job]] = defaultdict(list)
        for job in chain.from_iterable(jobs for _, jobs in held):
            by_person[job.person].append(job)
        drawn = {person: iter(self._redraw(person, jobs)) for person, jobs in by_person.items()}
        for frame, jobs in held:
            edited = frame
            if jobs:
                with self.clock("blend"):
                    edited = media.editable(frame)
                    for job in jobs:
                        _paste(edited, job, next(drawn[job.person]))
            yield frame, edited

    def _redraw(self, person: Person, jobs: Sequence[_Job]) -> Byte:
        engine = self._engines.get(person, self._engine)
        if person.reference is None:
            with self.clock("reference"):
                person.reference = engine.encode_reference(self._references.pictures(person))
            self._shown.add(person)
        masks = np.stack([geometry.mask_image(person.boxes[job.row], self._engine.size) for job in jobs])
        crops, mels = np.stack([job.crop for job in jobs]), np.stack([job.mel for job in jobs])
        placed = geometry.placement(person.points[[job.row for job in jobs]], person.points[person.shown])
        with self.clock("network"):
            return engine.run(crops, masks, mels, person.reference, placed)

    def verify(self, file: Path, out: Path, voice: Path, mark: provenance.Mark, digests: Sequence[int]) -> None:
        """Read the output back and compare it with what was meant. One that differs is removed.

        Every frame must be there at its time, with the samples of its digest if there are any, the sound must start
        and end within one packet of where it should, and the mark must be there.
        """
        with self.clock("verify"):
            wrong = self._wrong_pictures(file, digests) or self._wrong_sound(file, voice)
        if wrong:
            file.unlink()
            raise SidganError(f"{out} came out with {wrong}; convert {self.clip.path} to mp4 and try again")
        with suppress(MarkError):
            if provenance.read(file) == mark:
                return
        file.unlink()
        raise SidganError(f"{out} came out without its mark; try another container")

    def _wrong_pictures(self, out: Path, digests: Sequence[int]) -> str | None:
        count, wrong = 0, None
        for shown, frame in zip_longest(self._timeline, media.read_frames(media.probe(out))):
            if frame is None:
                break
            count += 1
            self._progress("verify", count, len(self._timeline))
            if shown is None or wrong:
                continue
            if abs(frame.time - shown.time) > ROUNDING:
                wrong = f"frame {shown.index} at {float(frame.time):.3f} s instead of {float(shown.time):.3f} s"
            elif digests and media.digest(frame) != digests[shown.index]:
                wrong = f"frame {shown.index} not as it went into the encoder"
        return wrong if count == len(self._timeline) else f"{count} frames instead of {len(self._timeline)}"

    def _wrong_sound(self, out: Path, voice: Path) -> str | None:
        """Where the sound is not where it should be; a packet may be silence, padding or not to be decoded."""
        said, heard = media.sound_span(voice), media.sound_span(out)
        ends = [said.end, self._timeline.voice]
        if self.goes_on:
            ends = [max(self._timeline.voice, media.sound_span(self.clip.path).end)]
        first, last = (min(self._timeline.end, end) for end in (min(ends), max(ends)))
        slack = max(said.packet, heard.packet) + ROUNDING
        if not -slack <= heard.start <= said.start + slack or not first - slack <= heard.end <= last + slack:
            return (
                f"sound from {float(heard.start):.3f} to {float(heard.end):.3f} s instead of "
                f"{float(said.start):.3f} to {float(last):.3f} s"
            )
        return None

    def report(self, model: str) -> DubReport:
        """What was done, after everything."""
        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # systems count in bytes or KiB
        return DubReport(
            frames=len(self._timeline), dubbed=self._dubbed, passed=tuple(self._passed),
            seconds={stage: round(s, 3) for stage, s in self._seconds.items()},
            wall=round(time.perf_counter() - self._wall, 3), cpu=round(time.process_time() - self._cpu, 3),
            memory=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1),
            face_side=round(float(np.median(self._sides)), 1) if self._sides else 0.0, model=model,
            engine=self._engine.used,
        )  # fmt: skip


def _paste(frame: Frame, job: _Job, drawn: Byte) -> None:
    """Put a redrawn mouth into an editable frame."""
    person, row = job.person, job.row
    old, box, size = person.points[row], person.boxes[row], len(drawn)
    new = (landmarks(drawn, box_of(old * size - 0.5)) + 0.5) / size
    image = person.tone(drawn, job.crop, box, old)
    geometry.paste_face(frame, image, mouth_alpha(size, box, old, new), person.track.matrices[row])


def strip(
    before: Path, after: Path, out: Path, times: Sequence[float] | None = None, *, count: int = 6, size: int = 320
) -> None:
    """Write a picture that compares the face in two videos of the same frames: ``before`` above, ``after`` below.

    Args:
        before: the source.
        after: its dub.
        out: a ``.png`` file.
        times: seconds at which to look.
        count: without ``times``, how many moments spread over the video.
        size: side of each face in px.

    Raises:
        InputError: a video cannot be read, or ends before the first of the times.
        OutputError: ``out`` cannot be written.
    """
    source, dubbed = media.probe(before), media.probe(after)
    moments = sorted(times) if times is not None else [source.duration * (i + 0.5) / count for i in range(count)]
    columns: list[Byte] = []
    for pair in zip(media.read_frames(source), media.read_frames(dubbed), strict=False):
        if len(columns) == len(moments):
            break
        if pair[0].time >= moments[len(columns)]:
            unit = _largest_face(pair[0])
            columns.append(np.concatenate([geometry.crop_face(frame, unit, size).image for frame in pair]))
    if not columns:
        raise InputError(f"{before} ends before {moments[0]} s; give earlier times")
    media.write_png(out, np.concatenate(columns, axis=1))


def _largest_face(frame: Frame) -> Float:
    """Unit affine of the largest face of a frame; of the largest square in its middle where there is none."""
    squares = [geometry.face_square(face.landmarks) for face in search(geometry.luma8(frame))]
    height, width = frame.planes[0].shape
    side = min(height, width)
    middle = np.array([width / 2, (height - side) / 2, side], np.float32)
    return geometry.square_matrix(max(squares, key=lambda square: float(square[2]), default=middle))
