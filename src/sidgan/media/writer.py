"""Pictures out: encoded once, with the sound beside them, under their final name only when complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet

from sidgan.errors import OutputError
from sidgan.media.files import finished, writing
from sidgan.media.pictures import Picture, to_yuv
from sidgan.media.source import opened, video_stream
from sidgan.media.track import SoundTrack, Voice, encoded, voice_packets
from sidgan.types import Byte, Clip, Float, Frame

SMALL = 80  #: px; x264's macroblock tree reads memory it never wrote in pictures of 64: other bytes every other time
MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}


class Writer:
    """Encode frames to H.264 as they come, and mux a voice beside them in the same pass.

    Timestamps, pixel format, colour tags, pixel shape and rotation are the source's; the voice's time 0 is put at
    the first frame, and it ends with the last one at the latest. MP4 and MOV keep timestamps exactly; MKV rounds
    them to milliseconds. Use it as a context manager: the file appears under its name when the block ends well.

    Args:
        path: output; ``.mp4``, ``.mov`` or ``.mkv``.
        like: the clip whose frames are going to be written.
        audio: a sound or video file. Its packets are copied where the container can hold them, else it is
            encoded to AAC at 192 kbit/s with its own sample rate.
        duration: seconds after the first frame at which the sound ends at the latest.
        crf: x264's constant quality, 0 (best) to 51.
        preset: x264's trade of time for size.
        tags: metadata of the file, such as ``{"comment": ...}``; the attribute may be set until the first frame is
            written, since all containers keep what is known by then, and none what is told later.

    Raises:
        OutputError: the folder is missing, nothing can be written there, or the container is unknown.
        InputError: ``audio`` has no usable sound.
    """

    def __init__(
        self,
        path: Path,
        like: Clip,
        *,
        audio: Path | None = None,
        duration: Fraction | None = None,
        crf: int = 16,
        preset: str = "medium",
        tags: dict[str, str] | None = None,
    ) -> None:
        self._path, self._like, self._duration, self.tags = Path(path), like, duration, tags or {}
        self._options = {"crf": str(crf), "preset": preset}
        self._audio = None if audio is None else Path(audio)
        self._stack = ExitStack()
        self._output: _Output | None = None

    def __enter__(self) -> Self:
        # All that can be wrong is found here, before the first frame has cost anything.
        self._voice = None if self._audio is None else Voice.of(self._audio)
        self._part = self._stack.enter_context(_target(self._path))
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame, edited or not; frames must come in order.

        Raises:
            OutputError: the disk is full or went away.
        """
        picture = cast(Picture, frame.handle).video
        if self._output is None:
            self._output = self._begin(picture)
        self._output.write(picture)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)  # removes what there is
            return
        with self._stack:  # gives the file its name
            if self._output is None:
                raise OutputError(f"{self._path}: there was no frame to write")
            self._output.finish()

    def _begin(self, first: av.VideoFrame) -> _Output:
        with opened(self._like.path) as source:
            stream = video_stream(source)
            shape = stream.sample_aspect_ratio if stream else None
        time_base = cast(Fraction, first.time_base)
        container = self._stack.enter_context(_muxing(self._path, self._part, time_base, self.tags))
        output = _Output(self._path, container, first, self._like.frame_rate, self._options)
        if shape is not None:
            output.stream.codec_context.sample_aspect_ratio = shape
        if self._like.rotation:
            output.stream.set_display_rotation(self._like.rotation)
        if self._voice is not None:
            packets = voice_packets(container, self._voice, output.start, self._path.suffix, self._stack)
            output.add_sound(packets, None if self._duration is None else output.start + self._duration)
        return output


def write_clip(
    path: Path,
    images: Iterable[Byte],
    rate: Fraction,
    audio: Float | None = None,
    audio_rate: int = 16_000,
    *,
    crf: int = 16,
    preset: str = "medium",
    chroma444: bool = False,
    tags: dict[str, str] | None = None,
) -> None:
    """Encode drawn pictures: H.264 with AAC.

    Args:
        path: output; ``.mp4``, ``.mov`` or ``.mkv``.
        images: (H, W, 3) uint8 RGB, all of one size.
        rate: frames per second.
        audio: (n,) float32 mono in [-1, 1], heard from the first picture to the last one at most.
        audio_rate: Hz of ``audio``, one that AAC knows (8000 to 96000).
        crf: x264's constant quality, 0 (best) to 51.
        preset: x264's trade of time for size.
        chroma444: keep colour at full resolution; odd sizes always do.
        tags: metadata of the file.

    Raises:
        OutputError: the file cannot be written, its container is unknown, or there are no images.
    """
    path, rate = Path(path), Fraction(rate)
    with ExitStack() as stack:
        part = stack.enter_context(_target(path))
        output: _Output | None = None
        for index, image in enumerate(images):
            picture = to_yuv(image, chroma444=chroma444)
            picture.pts, picture.time_base, picture.duration = index, 1 / rate, 1
            if output is None:
                container = stack.enter_context(_muxing(path, part, 1 / rate, tags or {}))
                options = {"crf": str(crf), "preset": preset}
                if min(image.shape[:2]) < SMALL:
                    options["x264-params"] = "mbtree=0"
                output = _Output(path, container, picture, rate, options)
                if audio is not None:
                    output.add_sound(encoded(container, _seconds(audio, audio_rate), audio_rate, "mono", Fraction(0)))
            output.write(picture)
        if output is None:
            raise OutputError(f"{path}: there was no image to write")
        output.finish()


def write_png(path: Path, rgb: Byte) -> None:
    """Write an (H, W, 3) uint8 RGB picture.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    _, data = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    with finished(path) as part, writing(path):
        part.write_bytes(data.tobytes())


class _Output:
    """A container with one picture stream set up like ``first``, and perhaps a sound track."""

    def __init__(
        self, path: Path, container: OutputContainer, first: av.VideoFrame, rate: Fraction, options: dict[str, str]
    ) -> None:
        self._path, self._container = path, container
        self._time_base = cast(Fraction, first.time_base)
        self._nominal = 1 / rate
        self._sound: SoundTrack | None = None
        self.start = self._end = self._shown(first)  #: seconds on the output's own clock
        self.stream = container.add_stream("libx264", rate=rate, options=options, time_base=self._time_base)
        self.stream.pix_fmt, self.stream.width, self.stream.height = first.format.name, first.width, first.height
        context = self.stream.codec_context
        context.colorspace, context.color_range = first.colorspace, first.color_range
        context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
        context.flags |= Flags.frame_duration  # so that the last frame lasts as long as it did

    def add_sound(self, packets: Iterator[Packet[AudioStream]], limit: Fraction | None = None) -> None:
        self._sound = SoundTrack(self._container, self._path, packets, limit)

    def write(self, picture: av.VideoFrame) -> None:
        with writing(self._path):
            self._container.mux(self.stream.encode(picture))
        length = picture.duration * self._time_base if picture.duration else self._nominal
        self._end = self._shown(picture) + length
        if self._sound is not None:
            self._sound.mux_until(self._shown(picture))

    def finish(self) -> None:
        with writing(self._path):
            self._container.mux(self.stream.encode(None))
        if self._sound is not None:
            self._sound.finish(self._end)

    def _shown(self, picture: av.VideoFrame) -> Fraction:
        return (picture.pts or 0) * self._time_base


@contextmanager
def _target(path: Path) -> Iterator[Path]:
    if path.suffix not in MUXERS:
        raise OutputError(f"{path}: {path.suffix or 'no suffix'} is not a known container; use {', '.join(MUXERS)}")
    with finished(path) as part:
        yield part


@contextmanager
def _muxing(path: Path, part: Path, time_base: Fraction, tags: dict[str, str]) -> Iterator[OutputContainer]:
    """The container ``part`` in the format of ``path``; only a block that ends well gets its closing part."""
    options = {"fflags": "+bitexact"}  # no random identifiers: the same input gives the same bytes
    if path.suffix != ".mkv":
        # MP4 notes where a track starts in units of the whole film. Milliseconds, the default, are too coarse for
        # 29.97 frames per second; a multiple of the pictures' own clock, fine enough for sound, is not.
        clock = time_base.denominator
        options |= {"movflags": "+faststart", "movie_timescale": str(clock * -(-90_000 // clock))}
    with writing(path):
        container = av.open(f"file:{part}", "w", format=MUXERS[path.suffix], container_options=options)
        container.metadata.update(tags)
    try:
        yield container
    except BaseException:
        with suppress(av.FFmpegError, OSError):  # the file is about to be removed; the first error is the one to tell
            container.close()
        raise
    with writing(path):
        container.close()


def _seconds(samples: Float, rate: int) -> Iterator[Float]:
    for start in range(0, len(samples), rate):
        yield np.asarray(samples[start : start + rate], np.float32)[None]
