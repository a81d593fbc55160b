"""The entry points `dub` and `Dubber`: dub one video at a time, with one voice or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from sidgan import media
from sidgan.arguments import checked
from sidgan.blend.steady import STEADY
from sidgan.dubbing.analysis import Analysis, Find
from sidgan.dubbing.analysis.choice import Faces
from sidgan.dubbing.excerpt import Excerpt, write_excerpt
from sidgan.dubbing.live import Hearing, Live
from sidgan.dubbing.passes import Request, dubbed
from sidgan.dubbing.preparation import cluster_of, given_files
from sidgan.dubbing.report import Clock, DubReport, Progress, no_progress
from sidgan.dubbing.segments import OnFrame, engine_of, engines
from sidgan.dubbing.settings import Damage, Settings, background_of, face_of
from sidgan.dubbing.silence import Silence
from sidgan.dubbing.weights import Weights
from sidgan.engine import load
from sidgan.nn import Generator
from sidgan.provenance.credentials import Credentials
from sidgan.settings import require
from sidgan.timeline import Length
from sidgan.types import Byte, Float

OF_ENGINE = ("device", "engine", "emphasis")  #: settings that are fixed once the engine is created


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

    Time 0 of the voice is the first frame. Frames after the end of a shorter voice stay as filmed, and so do frames
    without a usable face; the report lists them.

    The output carries a mark that says how it was altered (`sidgan.provenance`); `sidgan.verify` reads it.

    Finished work is kept in a hidden folder beside ``out`` until the output is complete. After an error, Ctrl-C or a
    kill at any moment, the same call resumes and produces the same bytes (except with engine ``auto``, which may
    choose another engine).

    Args:
        video: any video file; every frame keeps its timestamp, format and colour tags. Or a photo, which is shown as
            long as the voice lasts.
        audio: any file with sound; it becomes the sound track. ``None`` with ``speakers``: the mix of their voices.
        out: ``.mp4``, ``.mov`` or ``.mkv``.
        model: ``bundled``, a weights file, or an ``.onnx`` file from `sidgan.engine.export`.
        faces: ``largest`` redraws the most prominent face of each moment, ``all`` every face, ``speaking`` whoever
            speaks in each shot, judged by the video's own sound; where that is not clear, the most prominent person.
        face: redraw only this person: a number from `sidgan.dubbing.faces`, or a picture of them.
        speakers: several voices, by the number of the person who speaks with each; nobody else is redrawn. The longest
            voice counts as the length of the voice.
        background: sound mixed under the voices; the network does not hear it. A file with music and effects, or
            ``original``: the video's own sound without its speech, for which a separation tool is needed
            (`sidgan.media.separation`).
        silence: what happens where a voice pauses for at least 0.3 s, or ends before the others. ``close``: the network
            hears digital silence and mostly closes the mouth; a mouth that was filmed shut stays as filmed. ``keep``:
            the mouth stays as filmed. ``draw``: the network draws whatever it hears in the recording's noise.
        length: ``cut`` cuts a voice that is longer than the video; ``hold``, ``loop`` and ``pingpong`` extend the video
            instead: with its last frame, from the beginning, or backwards and forwards. ``keep`` also cuts a longer
            voice; after a shorter one, the original sound continues instead of silence.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        engine: what runs the network: ``torch``, ``onnx``, ``openvino``, or ``auto``, the fastest of these on this
            machine. Engines may differ in single bits, so the default is always the same one.
        encoder: ``x264``, ``x265`` or any other by FFmpeg's name, such as ``h264_nvenc``.
        crf: constant quality, 0 (best) to 51.
        lossless: encode without loss and ignore ``crf``; pixels that were not redrawn are exactly those of the source.
        steady: temporal smoothing of redrawn skin, 0 (none) to 1; lips are not smoothed.
        emphasis: how strongly the mouth moves with the voice, 0 to 3, relative to what suits the weights
            (`Generator.lively`), which is 1. An exported model always has 1.
        progress: called with the stage, the frames done, and the frames in total (an estimate at first).
        generator: a network to use in place of ``model``.
        own: networks of the same size for single faces, by track number, the most prominent track first
            (`sidgan.adaptation.adapt_faces` makes them); the other faces are drawn by the model.
        on_frame: called with each frame that this run makes, as decoded and as edited; it must not write into them.
        sign: also sign the output, an ``.mp4`` or ``.mov``.
        workers: processes that draw, each with its own copy of the network; the output is the same.
        ray: address of a Ray cluster that draws instead, see `sidgan.executors.on_ray`: machines of one kind that all
            can read the inputs and write to the folder of ``out``. The output is the same.
        on_damage: where a video is damaged or cut off, ``stop`` with an error, or ``pass`` over frames that cannot be
            decoded: the frame before them is shown longer, and the report lists these gaps.
        tell: called with single lines for the user, such as what is resumed of an earlier run.

    Returns:
        What was redrawn and what was not, how it looks, and how long it took.

    Raises:
        InputError: the video has no pictures, the voice no sound, or one of them is damaged.
        NoFaceError: there is no usable face in the whole video. No output is made.
        OutputError: ``out`` cannot be written or is one of the inputs.
        ConfigError, CheckpointError: an impossible setting or encoder; weights that cannot be used.
        SidganError: the finished output failed verification and was removed.
    """
    settings = Settings(
        faces=faces, face=face_of(face), speakers={n: Path(file) for n, file in (speakers or {}).items()},
        background=background_of(background), silence=silence, length=length, device=device, engine=engine,
        encoder=encoder, crf=crf, lossless=lossless, steady=steady, emphasis=emphasis, on_damage=on_damage,
    )  # fmt: skip
    return Dubber(model, settings, generator=generator).dub(
        video, audio, out, progress=progress, own=own, on_frame=on_frame, sign=sign, workers=workers, ray=ray, tell=tell
    )  # fmt: skip


class Dubber:
    """A loaded model that dubs one video after another.

    Args:
        model, generator: see `dub`.
        settings: settings for every dub.
        batch: how many faces the network draws at a time.
        change: single settings by their names in `dub` (``faces`` to ``emphasis``, ``on_damage``); they override
            ``settings``.

    Raises:
        ConfigError, CheckpointError: an impossible setting; weights that cannot be used.
    """

    @checked
    def __init__(
        self, model: Path | str = "bundled", settings: Settings | None = None, *, generator: Generator | None = None,
        batch: int = 8, **change: Any,
    ) -> None:  # fmt: skip
        self.settings = settings = replace(settings or Settings(), **change)
        self.engine = engine_of(load(model) if generator is None else generator, settings, batch)
        self._weights = Weights.of(model if generator is None else generator)
        self.model = self._weights.label

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
        find: Find | None = None,
        **change: Any,
    ) -> DubReport:
        """Dub one video; see `sidgan.dubbing.dub`.

        Args:
            find: finds the faces, called with the clip and ``progress`` unless an earlier run has found them; for
                callers who need them as well (`sidgan.dubbing.analysis.once`). A photo as ``face`` excludes it.
            change: single settings by name for this dub; ``device``, ``engine`` and ``emphasis`` cannot change.
        """
        out, own, settings = Path(out), own or {}, self._changed(change)
        audio = None if audio is None else Path(audio)
        alone = on_frame is None or (workers, ray) == (1, None)
        require(alone, "frames that other processes draw cannot be shown; use one worker")
        cluster = cluster_of(ray, workers, audio, out)
        ready = engines(own, settings, self.engine.batch)
        require(all(e.size == self.engine.size for e in ready.values()), "all faces need networks of the same size")
        clip, clock = media.probe(Path(video), tolerant=settings.on_damage == "pass"), Clock()
        settings = settings.fitting(clip)
        given = given_files(Path(video), audio, out, sign, settings)
        return dubbed(Request(
            engine=self.engine, weights=self._weights, given=given, clip=clip, out=out, own=own, ready=ready, sign=sign,
            settings=replace(settings, speakers=given.speakers), workers=workers, cluster=cluster, on_frame=on_frame,
            show=progress or no_progress, tell=tell, find=find, clock=clock,
        ))  # fmt: skip

    @checked
    def excerpt(
        self,
        video: Path | str,
        voice: Path | str,
        sound: Path | str,
        frames: range,
        before: Path | str,
        after: Path | str,
        *,
        found: Analysis,
        progress: Progress | None = None,
        **change: Any,
    ) -> Excerpt:
        """Dub some frames of a video, drawn as in a dub of all of it, and write them as they were filmed as well.

        The output carries a mark, as that of `dub`, but is not verified.

        Args:
            video: the whole video, or a photo.
            voice: the whole voice that mouths follow; with ``speakers``, the mix of theirs.
            sound: what is heard; it starts at the first of the frames.
            frames: indices of the frames; those of a photo go on for as long as the voice lasts, 25 per second.
            before, after: the outputs, ``.mp4``, ``.mov`` or ``.mkv``.
            found: the faces of the whole video. Faces in these frames whose references are not chosen get them.
            progress: see `sidgan.dub`.
            change: single settings by name, as in `dub`; length and background have no effect.

        Raises:
            InputError: nobody whose mouth may be redrawn is in these frames; else as `dub`.
        """
        return write_excerpt(
            self.engine, self._weights, self._changed(change), media.probe(Path(video)), Path(voice), Path(sound),
            frames, Path(before), Path(after), found, progress or no_progress,
        )  # fmt: skip

    @checked
    def stream(
        self, frames: Iterable[Byte], audio: Iterable[Float], *, rate: Fraction | float = 25, audio_rate: int = 16_000,
        **change: Any,
    ) -> Iterator[Byte]:  # fmt: skip
        """Dub a live stream of pictures, from a camera or another program, without a file.

        Each picture is returned after at most 32 more have arrived, and as much of the sound, or 0.8 s where that is
        more (1.3 s at 25 fps, `sidgan.dubbing.live`). How the sound is cut into blocks does not change the result.
        Decisions about a face rely on its last few seconds, so a complete video is better dubbed with `dub`. Pictures
        without a usable face, pictures after the end of the sound, and all pixels away from redrawn mouths are returned
        unchanged, bit for bit.

        These pictures carry no mark that says they were altered. Tell whoever sees them.

        Args:
            frames: pictures (H, W, 3) uint8 RGB, all of one size, consumed one by one.
            audio: one channel as consecutive blocks (n,) float32 in [-1, 1] of any length, or as one array. It starts
                at the first picture and is consumed as the pictures arrive.
            rate: pictures per second.
            audio_rate: samples per second, Hz.
            change: single settings by name. Of those that choose who is redrawn, only ``faces``, ``largest`` or
                ``all``, can be used; settings that concern files have no effect.

        Yields:
            (H, W, 3) uint8 RGB, one for each picture of ``frames``.

        Raises:
            ConfigError: an impossible setting.
            InputError: an item that is not a picture, or not sound.
        """
        settings = self._changed(change)
        require(0.001 <= rate <= 1000, f"rate must be 0.001 to 1000 pictures a second, not {rate}")
        require(
            settings.faces != "speaking" and settings.face is None and not settings.speakers,
            "a stream cannot choose people by faces='speaking', face or speakers; use faces 'largest' or 'all'",
        )
        hearing = Hearing(audio, audio_rate, settings.silence)
        exact = Fraction(float(rate)).limit_denominator(100_000)
        return Live(self.engine, settings, exact, hearing).dubbed(frames)

    def _changed(self, change: Mapping[str, Any]) -> Settings:
        """The settings of one dub: those of this object with some changed."""
        settings = replace(self.settings, **change)
        fixed = [name for name in OF_ENGINE if getattr(settings, name) != getattr(self.settings, name)]
        require(not fixed, f"{' and '.join(fixed)} cannot change between the dubs of a Dubber; create another Dubber")
        return settings
