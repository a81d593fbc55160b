"""One video at a time, from two inputs to one output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import numpy as np

from sidgan import checkpoint, media, provenance
from sidgan.config import require
from sidgan.credentials import Credentials
from sidgan.dubbing.analysis import analyse
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.looks import figures, stretches
from sidgan.dubbing.proof import wrong_pictures, wrong_sound
from sidgan.dubbing.report import Clock, DubReport, Progress, peak_memory
from sidgan.dubbing.steady import STEADY
from sidgan.dubbing.voice import listen
from sidgan.engine import Engine, check_engine, load
from sidgan.errors import MarkError, OutputError, SidganError
from sidgan.nn import Generator
from sidgan.timeline import LENGTHS, Length, Timeline
from sidgan.types import Clip, Frame

Faces = Literal["largest", "all"]
OnFrame = Callable[[Frame, Frame], None]  #: called with each frame as decoded and as it goes to the encoder


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
    steady: float = STEADY,
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
        steady: how calm redrawn skin is made, 0 to 1; lips move as they do.
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
        steady=steady, progress=progress, own=own, on_frame=on_frame, sign=sign,
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
        steady: float = STEADY,
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
        require(0 <= steady <= 1, f"steady must be 0 to 1, not {steady}")
        if out.resolve() in (video.resolve(), audio.resolve()):
            raise OutputError(f"{out} is one of the inputs; choose another name")
        networks = {id(network): network for network in (own or {}).values()}  # one for all shots of a person
        batch = self.engine.batch
        ready = {i: Engine(network, self._device, batch, kind=self._kind) for i, network in networks.items()}
        engines = {track: ready[id(network)] for track, network in (own or {}).items()}
        require(all(e.size == self.engine.size for e in engines.values()), "faces' own networks must be of one size")
        clip, clock, progress = media.probe(video), Clock(), progress or (lambda stage, done, total: None)
        draft = out if sign is None else sign.draft(out)
        encoding, digests = media.Encoding(encoder, crf, lossless=lossless), list[int]()
        try:
            # Entered first, so that an output or a voice that cannot be used is told before minutes are spent.
            with media.Writer(draft, clip, audio=audio, encoding=encoding) as writer:
                with clock.stage("analyse"):
                    seen = analyse(clip, faces, progress)
                with clock.stage("listen"):
                    voice = listen(audio, seen.end + 1 if length in ("cut", "keep") else None)
                timeline = Timeline(seen.times, seen.end, voice.end, length)
                goes_on = length == "keep" and clip.audio_rate is not None and voice.end < seen.end
                if goes_on:
                    writer.go_on_with_own_sound()
                drawing = Drawing(clip, seen, voice, timeline, self.engine, engines, clock, progress, steady)
                with clock.stage("mark"):
                    mark = self._mark(clip, audio, drawing, timeline, own, signed=sign is not None)
                writer.tags = mark.tags()
                with closing(drawing.frames()) as frames:
                    for before, after in frames:
                        if on_frame is not None:
                            on_frame(before, after)
                        with clock.stage("write"):
                            writer.write(after)
                            digests += [media.digest(after)] * lossless
            with clock.stage("verify"):
                wrong = wrong_pictures(draft, timeline, digests, progress)
                wrong = wrong or wrong_sound(draft, audio, timeline, video if goes_on else None)
                _require_right(draft, out, video, mark, wrong)
            if sign is not None:
                with clock.stage("sign"):
                    sign.sign(draft, out, video, mark.to_dict(), mark.edited.spans)
        finally:
            if sign is not None:
                draft.unlink(missing_ok=True)
        return DubReport(
            frames=len(timeline), dubbed=drawing.dubbed, passed=tuple(drawing.passed),
            seconds={stage: round(s, 3) for stage, s in clock.seconds.items()},
            wall=round(clock.wall, 3), cpu=round(clock.cpu, 3), memory=round(peak_memory(), 1),
            face_side=round(float(np.median(drawing.sides)), 1) if drawing.sides else 0.0,
            model=f"{self.model}, adapted" if own else self.model, engine=drawing.used,
            looks=tuple(stretches(drawing.looks, timeline, drawing.passed)), **figures(drawing.looks),
        )  # fmt: skip

    def _mark(
        self, clip: Clip, voice: Path, drawing: Drawing, timeline: Timeline, own: Mapping[int, Generator] | None, *,
        signed: bool,
    ) -> provenance.Mark:  # fmt: skip
        earlier = provenance.earlier(clip.path, clip.duration)
        again = [timeline.repeated] if earlier and timeline.repeats else []
        return provenance.Mark(
            model=self._name, weights=self._digest, source=provenance.digest_of(clip.path),
            voice=provenance.digest_of(voice), edited=provenance.Stretches.of(drawing.edited()),
            adapted=tuple(sorted({checkpoint.digest(network.state_dict()) for network in (own or {}).values()})),
            earlier=provenance.Stretches.of([*earlier.spans, *again], earlier.left_out), signed=signed,
        )  # fmt: skip


def _require_right(file: Path, out: Path, video: Path, mark: provenance.Mark, wrong: str | None) -> None:
    """Remove an output with something wrong, or without its mark, and say so."""
    if wrong:
        file.unlink()
        raise SidganError(f"{out} came out with {wrong}; convert {video} to mp4 and try again")
    with suppress(MarkError):
        if provenance.read(file) == mark:
            return
    file.unlink()
    raise SidganError(f"{out} came out without its mark; try another container")
