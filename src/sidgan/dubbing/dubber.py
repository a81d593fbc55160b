"""One video at a time, from two inputs to one output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from sidgan import checkpoint, media, provenance
from sidgan.arguments import checked
from sidgan.blend.steady import STEADY
from sidgan.config import require
from sidgan.dubbing.analysis import Analysis, analyse
from sidgan.dubbing.analysis.choice import Faces
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.conclusion import lost, prove, reported
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal, Record, surroundings, work_folder
from sidgan.dubbing.live import Hearing, Live
from sidgan.dubbing.plan import Plan, planned
from sidgan.dubbing.preparation import cluster_of, first_pass, given_files, heard
from sidgan.dubbing.report import Clock, DubReport, Progress
from sidgan.dubbing.review.proof import Meant
from sidgan.dubbing.segments import OnFrame, Scheme, Studio, complete, engine_of, engines
from sidgan.dubbing.settings import Damage, Settings, background_of, face_of
from sidgan.dubbing.silence import Silence
from sidgan.engine import Engine, load
from sidgan.executors import Executor
from sidgan.files import ending
from sidgan.nn import Generator
from sidgan.provenance.credentials import Credentials
from sidgan.timeline import Length, Timeline
from sidgan.types import Byte, Clip, Float

OF_ENGINE = ("device", "engine", "emphasis")  #: settings with which the network is made ready


@checked
def dub(
    video: Path | str,
    audio: Path | str | None,
    out: Path | str,
    *,
    model: Path | str = "bundled",
    faces: Faces = "largest",
    face: int | str | Path | None = None,
    speakers: Mapping[int, str | Path] | None = None,
    background: str | Path | None = None,
    silence: Silence = "close",
    length: Length = "cut",
    device: str = "auto",
    engine: str = "torch",
    encoder: str = "x264",
    crf: int = 16,
    lossless: bool = False,
    steady: float = STEADY,
    emphasis: float = 1.0,
    progress: Progress | None = None,
    generator: Generator | None = None,
    own: Mapping[int, Generator] | None = None,
    on_frame: OnFrame | None = None,
    sign: Credentials | None = None,
    workers: int = 1,
    ray: str | None = None,
    on_damage: Damage = "stop",
    tell: Callable[[str], None] | None = None,
) -> DubReport:
    """Redraw the mouth of a talking face so that it speaks ``audio``, and keep everything else.

    Time 0 of the voice is put at the first frame. Where the voice is shorter than the video, the rest of the picture
    passes through. So do frames without a usable face; the report lists them.

    The output says that it was altered, and how (`sidgan.provenance`); `sidgan.verify` reads it.

    What is done is kept in a hidden folder beside ``out`` until that is complete: after an error, Ctrl-C or a kill at
    any moment, the same call goes on, and ends with the same bytes (not with engine ``auto``, which may choose anew).

    Args:
        video: any file with pictures; every frame keeps its timestamp, format and colour tags.
        audio: any file with sound; it becomes the sound track. ``None`` with ``speakers``: the mix of their voices.
        out: ``.mp4``, ``.mov`` or ``.mkv``.
        model: ``bundled``, a weights file, or an ``.onnx`` file from `sidgan.engine.export`.
        faces: ``largest`` redraws the most prominent face of each moment, ``all`` every face, ``speaking`` whoever
            speaks in each shot, told by the video's own sound; where that is not clear, the most prominent.
        face: redraw this person alone: a number as `sidgan.dubbing.faces` gives it, or a picture of them.
        speakers: several voices, by the number of the person who is to speak with each; nobody else is redrawn. The
            timeline goes by the longest.
        background: heard under the voices, and by people alone: a file with music and effects, or ``original``, the
            video's own sound without its speech. That takes a separation tool (`sidgan.media.separation`).
        silence: where a voice is silent for 0.3 s and more, or over before the others, the network hears nothing at
            all and mostly closes the mouth (``close``; one that is shut already stays as it was filmed), the mouth
            stays as it was filmed (``keep``), or the network draws what it makes of the recording's noise (``draw``).
        length: a voice that is longer than the video is ``cut``, or the video is made to last as long: by ``hold``
            of its last frame, in a ``loop``, or forwards and backwards (``pingpong``). ``keep`` cuts a longer voice
            too; after a shorter one the original sound goes on instead of silence.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: what runs the network: ``torch``, ``onnx``, ``openvino``, or ``auto``, the fastest of them here. The
            first is the default because another engine, and another choice, may give other bits.
        encoder: ``x264``, ``x265`` or any other by FFmpeg's name, such as ``h264_nvenc``.
        crf: constant quality, 0 (best) to 51.
        lossless: encode without loss, whatever ``crf`` says: what was not redrawn is exactly the source's.
        steady: how calm redrawn skin is made, 0 to 1; lips move as they do.
        emphasis: how strongly the mouth moves with the voice, 0 to 3; 1 as suits the weights (`Generator.lively`). An
            exported model moves it so, too.
        progress: called with the stage, the frames done, and the frames in total (an estimate at first).
        generator: a network to use in place of ``model``.
        own: networks of the same size for single faces, by their place among the video's tracks, the most prominent
            first (`sidgan.adaptation.adapt_faces` makes them); the other faces are drawn by the model.
        on_frame: shown every frame that is drawn, before and after; it must not write into them.
        sign: also sign the output, an ``.mp4`` or ``.mov``.
        workers: processes that draw, each with a network of its own; the output is the same.
        ray: address of a Ray cluster that draws instead, see `sidgan.executors.on_ray`: machines of one kind,
            which all see the inputs and the folder of ``out``. The output is the same.
        on_damage: where a video is damaged or cut off, ``stop``, or ``pass`` over what cannot be decoded: the picture
            before it is shown that much longer, and the report says so.
        tell: called with one line about what was found of an earlier run.

    Returns:
        What was redrawn and what was not, how it looks, and how long it took.

    Raises:
        InputError: the video has no pictures, the voice no sound, or one of them is damaged.
        NoFaceError: there is no usable face in the whole video. No output is made.
        OutputError: ``out`` cannot be written or is one of the inputs.
        ConfigError, CheckpointError: an impossible setting or encoder; weights that cannot be used.
        SidganError: the output, read back, is not what it should be; it was removed.
    """
    settings = Settings(
        faces=faces, face=face_of(face), speakers={n: Path(file) for n, file in (speakers or {}).items()},
        background=background_of(background), silence=silence, length=length, device=device, engine=engine,
        encoder=encoder, crf=crf, lossless=lossless, steady=steady, emphasis=emphasis, on_damage=on_damage,
    )  # fmt: skip
    return Dubber(model, settings, generator=generator).dub(
        video, audio, out, progress=progress, own=own, on_frame=on_frame, sign=sign, workers=workers, ray=ray, tell=tell
    )  # fmt: skip


@dataclass(frozen=True)
class _Order:
    """One dub that is asked for; see `dub`.

    Attributes:
        given: its files. clip: the video.
        ready: the engines of ``own``, by track.
        cluster: machines that draw, if others are to.
    """

    given: Inputs
    clip: Clip
    out: Path
    settings: Settings
    own: Mapping[int, Generator]
    ready: Mapping[int, Engine]
    sign: Credentials | None
    workers: int
    cluster: Executor | None
    on_frame: OnFrame | None
    show: Progress
    tell: Callable[[str], None] | None
    clock: Clock


@dataclass(frozen=True)
class _Made:
    """What was written.

    Attributes:
        plan: what was to become of each frame. told: what did, segment by segment.
        mark: what the output says about itself.
        own_end: see `sidgan.dubbing.preparation.Heard`.
        left: what of the video was not taken over, a line each.
    """

    plan: Plan
    told: Sequence[Record]
    mark: provenance.Mark
    own_end: Fraction
    left: Sequence[str]


class Dubber:
    """A loaded model that dubs one video after the other.

    Args:
        model, generator: see `dub`.
        settings: of every dub, as one `sidgan.dubbing.settings.Settings`.
        batch: faces that the network draws at a time.
        change: single settings by the names that `dub` gives them (``faces`` to ``emphasis``, ``on_damage``); they come
            before those in ``settings``.

    Raises:
        ConfigError, CheckpointError: an impossible setting; weights that cannot be used.
    """

    @checked
    def __init__(
        self, model: Path | str = "bundled", settings: Settings | None = None, *, generator: Generator | None = None,
        batch: int = 8, **change: Any,
    ) -> None:  # fmt: skip
        self.settings = settings = replace(settings or Settings(), **change)
        network = load(model) if generator is None else generator
        self.engine = engine_of(network, settings, batch)
        self._network = model if generator is None else generator
        if generator is None:
            file = checkpoint.file_of(model)
            self._name, self._digest = file.stem, provenance.digest_of(file)
            self.model = f"{self._name}-{self._digest[:12]}"
        else:
            self._name, self._digest = "given", checkpoint.digest(generator.state_dict())
            self.model = "given"

    @checked
    def dub(
        self,
        video: Path | str,
        audio: Path | str | None,
        out: Path | str,
        *,
        progress: Progress | None = None,
        own: Mapping[int, Generator] | None = None,
        on_frame: OnFrame | None = None,
        sign: Credentials | None = None,
        workers: int = 1,
        ray: str | None = None,
        tell: Callable[[str], None] | None = None,
        **change: Any,
    ) -> DubReport:
        """Dub one video; see `sidgan.dubbing.dub`.

        Args:
            change: single settings by name, for this dub; those of the engine are made once, with the dubber.
        """
        out, own, settings = Path(out), own or {}, self._changed(change)
        audio = None if audio is None else Path(audio)
        alone = on_frame is None or (workers, ray) == (1, None)
        require(alone, "frames that other processes draw cannot be shown; use one worker")
        cluster = cluster_of(ray, workers, audio, out)
        ready = engines(own, settings, self.engine.batch)
        require(all(e.size == self.engine.size for e in ready.values()), "all faces need networks of the same size")
        clip, clock = media.probe(Path(video), tolerant=settings.on_damage == "pass"), Clock()
        given = given_files(Path(video), audio, out, sign, settings)
        order = _Order(
            given, clip, out, replace(settings, speakers=given.speakers), own, ready, sign, workers, cluster, on_frame,
            progress or (lambda stage, done, total: None), tell, clock,
        )  # fmt: skip
        with ExitStack() as stack:
            work = stack.enter_context(Journal(out))
            with clock.stage("listen"):
                kept = work_folder(out) / "separated"
                stack.enter_context(given.mixed(kept, settings.device, order.show, tell))
            draft = out
            if sign is not None:
                draft = sign.draft(out)
                stack.callback(draft.unlink, missing_ok=True)
            made = self._made(order, work, draft)
            if sign is not None:
                with clock.stage("sign"):
                    sign.sign(draft, out, given.video, made.mark.to_dict(), made.mark.edited.spans)
            work.remove()
        return reported(
            made.plan, made.told, clock, f"{self.model}, adapted" if own else self.model, work.resumed,
            lost(clip, made.plan, settings.length, made.own_end, made.left),
        )  # fmt: skip

    def stream(
        self, frames: Iterable[Byte], audio: Iterable[Float], *, rate: Fraction | float = 25, audio_rate: int = 16_000,
        **change: Any,
    ) -> Iterator[Byte]:  # fmt: skip
        """Dub pictures that are still arriving, from a camera or another program, without a file.

        Each picture comes out when at most 32 more have come in after it (1.3 s at 25 a second, `sidgan.dubbing.live`);
        which pictures and sound come together in one piece makes no difference to a bit. What is decided about a face
        is decided by its last seconds: in a video that is complete, `dub` knows better. Where nothing is redrawn, for
        want of a usable face or when the sound is over, pictures are as they came, and so is everything around mouths.

        Nothing marks these pictures as altered. Tell whoever sees them.

        Args:
            frames: pictures (H, W, 3) uint8 RGB, all of one size, taken one by one.
            audio: consecutive pieces (n,) float32 in [-1, 1] of one channel, of any length, or one array; taken as far
                as the pictures have come. It begins with the first of them.
            rate: pictures a second.
            audio_rate: samples a second.
            change: single settings by name. Of those that say who is redrawn, only ``faces``, ``largest`` or ``all``,
                can be used; those of files say nothing here.

        Yields:
            (H, W, 3) uint8 RGB, as many as came.

        Raises:
            ConfigError: an impossible setting.
            InputError: something else than pictures or sound came in.
        """
        settings = self._changed(change)
        require(0 < rate <= 1000, f"rate must be above 0 and at most 1000 pictures a second, not {rate}")
        require(
            settings.faces != "speaking" and settings.face is None and not settings.speakers,
            "a stream cannot choose people by faces='speaking', face or speakers; use faces 'largest' or 'all'",
        )
        hearing = Hearing(audio, audio_rate, settings.silence)
        return Live(self.engine, settings, Fraction(rate).limit_denominator(100_000), hearing).dubbed(frames)

    def _changed(self, change: Mapping[str, Any]) -> Settings:
        """The settings of one dub."""
        settings = replace(self.settings, **change)
        fixed = [name for name in OF_ENGINE if getattr(settings, name) != getattr(self.settings, name)]
        require(not fixed, f"{' and '.join(fixed)} cannot change between the dubs of a Dubber; create another Dubber")
        return settings

    def _made(self, order: _Order, work: Journal, draft: Path) -> _Made:
        """Write the output, proven but not signed, to ``draft``."""
        given, clip, settings, clock = order.given, order.clip, order.settings, order.clock
        # Entered first, so that an output or a voice that cannot be used is told before minutes are spent.
        with media.Writer(draft, clip, audio=given.sound, encoding=settings.encoding, named=True) as writer:
            with clock.stage("mark"):
                inputs, here = self._inputs(given, settings, order.own), surroundings(settings.engine, settings.device)
            work.open(inputs | settings.noted() | here, order.tell)
            plan = _planned(order, work, self.engine)
            sound = heard(given.sound, clip, plan, settings.length)
            if sound.goes_on:
                writer.go_on_with_own_sound()
            drawing = Drawing(clip, plan, self.engine, order.ready, clock, order.show, settings.steady)
            with clock.stage("mark"):
                mark = self._mark(clip, inputs, drawing, plan.timeline, signed=order.sign is not None)
            told = self._drawn(order, work, drawing, len(plan.timeline), here)
            writer.tags = mark.tags()
            digests = [*chain(*(record.digests for record in told))]
            meant = Meant(order.out, given.video, plan.timeline, digests, sound.said, sound.goes_on, mark)
            writer.prove = partial(prove, meant, work, clock, order.show)
            with clock.stage("write"):
                parts = [media.Segment(work.segment(record.segment)) for record in told]
                writer.join(parts, subtitles=plan.seen.end)
        return _Made(plan, told, mark, sound.own_end, writer.left())

    def _drawn(
        self, order: _Order, work: Journal, drawing: Drawing, count: int, here: Mapping[str, Any]
    ) -> list[Record]:
        """All segments of ``count`` frames, those drawn now and those of an earlier run."""
        studio = Studio(
            Scheme(order.clip, order.settings.encoding, ending(order.out), work.folder), work.analysis,
            order.given.voice, order.settings, self._network, order.own, self.engine.batch, torch.get_num_threads(),
            here,
        )  # fmt: skip
        return complete(
            work, count, drawing, studio, order.workers, order.clock, order.show, order.on_frame,
            order.cluster,
        )  # fmt: skip

    def _inputs(self, given: Inputs, settings: Settings, own: Mapping[int, Generator]) -> dict[str, Any]:
        """Digests of all that a dub is made of."""
        networks = {id(network): checkpoint.digest(network.state_dict()) for network in own.values()}
        return {
            "video": provenance.digest_of(given.video), "model": self._digest,
            "voice": [provenance.digest_of(file) for file in given.voices], "speakers": list(given.speakers),
            **{name: provenance.digest_of(value) if isinstance(value, Path) else value
               for name, value in (("face", settings.face), ("background", settings.background))},
            "adapted": {str(track): networks[id(network)] for track, network in own.items()},
        }  # fmt: skip

    def _mark(
        self, clip: Clip, inputs: Mapping[str, Any], drawing: Drawing, timeline: Timeline, *, signed: bool
    ) -> provenance.Mark:
        earlier = provenance.earlier(clip.path, clip.duration)
        again = [timeline.repeated] if earlier and timeline.repeats else []
        return provenance.Mark(
            model=self._name, weights=self._digest, source=inputs["video"], voice=inputs["voice"][0],
            voices=tuple(inputs["voice"][1:]), edited=provenance.Stretches.of(drawing.edited()),
            adapted=tuple(sorted(set(inputs["adapted"].values()))),
            earlier=provenance.Stretches.of([*earlier.spans, *again], earlier.left_out), signed=signed,
        )  # fmt: skip


def _planned(order: _Order, work: Journal, engine: Engine) -> Plan:
    """What becomes of each frame, by what the video shows and the voices say."""
    settings = order.settings

    def find() -> Analysis:
        seen = analyse(order.clip, settings.faces, order.show, settings.face, list(settings.speakers))
        rehearse(order.clip, seen, engine, order.ready)
        return seen

    with order.clock.stage("analyse"):
        seen = first_pass(work, find)
    with order.clock.stage("listen"):
        return planned(seen, order.given.voice, settings)
