"""Writing video: frames are encoded once and muxed with sound, and the file gets its final name only when complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from sidgan.errors import OutputError
from sidgan.files import ending, require_file
from sidgan.media.encoders import MUXERS, Encoding
from sidgan.media.files import finished, writing
from sidgan.media.pictures import Picture, probe
from sidgan.media.segments import Segment, decoding_times, earlier
from sidgan.media.source import opened, title_and_chapters
from sidgan.media.stream import Look, PictureStream
from sidgan.media.subtitles import Subtitles
from sidgan.media.timecode import holds
from sidgan.media.track import SoundTrack, Voice, encoded, joined_packets, voice_packets
from sidgan.media.yuv import to_yuv
from sidgan.types import Byte, Clip, Float, Frame

AHEAD = 1_000_000  #: us of packets that the muxer buffers while it waits for a subtitle, which may not come for an hour


class Writer:
    """Encodes frames and muxes a voice with them, in one pass.

    Pixel format, colour tags, pixel aspect ratio, rotation and clock are the source's, and frames are shown at their
    `Frame.time`. The voice's time 0 is at the first frame, and it ends with the last one at the latest. MP4 and MOV
    keep timestamps exactly; MKV rounds them to milliseconds. Use it as a context manager: the file appears under its
    name when the block ends without an error.

    Args:
        path: output; ``.mp4``, ``.mov`` or ``.mkv``.
        like: the clip whose frames are going to be written.
        audio: a sound or video file. Its packets are copied if the container supports them; otherwise it is encoded to
            AAC at 192 kbit/s with its own sample rate.
        encoding: how frames are encoded.
        named: also copy the title, the chapters and the timecode of the clip. Closed captions are always copied.

    Attributes:
        tags: metadata of the file, such as ``{"comment": ...}``; must be set before the first frame is written, since
            containers store their metadata then.
        prove: called with the path of the complete file before it gets its name; if it raises, an existing file stays.

    Raises:
        OutputError: the folder is missing or not writable, or the container is unknown.
        InputError: ``audio`` has no usable sound.
        ConfigError: the encoder is missing, does not work here, or does not fit the video or the container.
    """

    def __init__(
        self,
        path: Path,
        like: Clip,
        *,
        audio: Path | None = None,
        encoding: Encoding | None = None,
        named: bool = False,
    ) -> None:
        self._path, self._like = Path(path), like
        self.tags: dict[str, str] = {}
        self._encoding = encoding or Encoding()
        self._audio = None if audio is None else Path(audio)
        self._continues = False
        self._named = named
        self._subtitles: Subtitles | None = None
        self._lost: list[str] = []
        self._stack = ExitStack()
        self._output: _Output | None = None
        self.prove: Callable[[Path], None] | None = None

    def __enter__(self) -> Self:
        # All errors that can be foreseen are found here, before any frame is encoded.
        self._voice = None if self._audio is None else Voice.of(self._audio)
        with ExitStack() as stack:
            self._part = stack.enter_context(_target(self._path))
            stack.push(self._proved)
            self._encoding.check(ending(self._path), self._like)
            self._stack = stack.pop_all()
        return self

    def go_on_with_own_sound(self) -> None:
        """Continue with the video's own sound where the voice ends; must be called before the first frame."""
        self._continues = True

    def left(self) -> list[str]:
        """A line for users about each thing of the clip that was not copied; complete when the file is."""
        return [*([] if self._subtitles is None else self._subtitles.left()), *self._lost]

    def write(self, frame: Frame) -> None:
        """Encode one frame, edited or not; frames must come in order.

        Raises:
            OutputError: writing failed, for example because the disk is full.
        """
        picture = cast(Picture, frame.handle).video
        if self._output is None:
            look = Look.of(picture, self._like)
            self._output = self._begin(look, (picture.pts or 0) * look.time_base - self._like.origin, frame.time)
        self._output.write(picture, frame.time, frame.duration)

    def join(self, segments: Sequence[Segment], *, subtitles: Fraction | None = None) -> None:
        """Write segments that are already encoded, instead of frames.

        Args:
            segments: in order; they must be made with the encoding and the clip of this writer.
            subtitles: if given, copy the clip's subtitles up to this number of seconds after the first frame.

        Raises:
            OutputError: writing failed, or the segments come from another encoder.
        """
        like = self._like
        if subtitles is not None:
            source = self._stack.enter_context(opened(like.path, pictures=False))
            self._subtitles = Subtitles(source, ending(self._path), like.start, like.start + subtitles, like.origin)
        self._output = self._begin(segments[0].look, like.begin, Fraction(0))
        self._output.join(segments)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)  # removes the incomplete file
            return
        with self._stack:  # renames the complete file
            if self._output is None:
                raise OutputError(f"{self._path}: there was no frame to write")
            self._output.finish()

    def _proved(self, kind: type[BaseException] | None, *_: object) -> None:
        """Check the complete file, on exit without an error."""
        if kind is not None:
            return
        if self.prove is not None:
            self.prove(self._part)
        self._lost = [*self._missed()]

    def _missed(self) -> Iterator[str]:
        """Timecode or captions that the complete file lacks: encoders and containers omit them without an error."""
        like = self._like
        if not self._named or (like.timecode is None and not like.captions):
            return
        made = probe(self._part)
        if like.timecode is not None and like.timecode != made.timecode:
            rate = f"{float(like.frame_rate):.6g} frames per second"
            yield f"timecode {like.timecode}, which {ending(self._path)} cannot hold at {rate}; choose an .mkv output"
        if like.captions and not made.captions:
            yield f"closed captions, which {self._encoding.encoder} does not write; choose x264"

    def _begin(self, look: Look, start: Fraction, time: Fraction) -> _Output:
        """Open the output; ``look``, ``start`` and ``time`` belong to the first frame, see `_Output`."""
        title, chapters = title_and_chapters(self._like.path) if self._named else ({}, [])
        subtitles = self._subtitles if self._subtitles and self._subtitles.tracks else None
        more = {"max_interleave_delta": str(AHEAD)} if subtitles else {}
        tags = title | self.tags
        container = self._stack.enter_context(_muxing(self._path, self._part, look.time_base, tags, more))
        output = _Output(self._path, container, look, start, time, self._like.frame_rate, self._encoding)
        container.set_chapters(chapters)
        code = self._like.timecode if self._named else None
        if code is not None and holds(ending(self._path), code, self._like.frame_rate):
            output.stream.metadata["timecode"] = code
        if self._like.rotation:
            output.stream.set_display_rotation(self._like.rotation)
        if self._voice is not None:
            if self._continues:
                packets = joined_packets(container, self._voice, self._like.path, start)
            else:
                packets = voice_packets(container, self._voice, start, ending(self._path), self._stack)
            output.add_sound(packets)
        if subtitles:
            subtitles.add_to(container, self._path)
            output.beside.append(subtitles)
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
    """Encode RGB images as H.264, with AAC sound.

    Args:
        path: output; ``.mp4``, ``.mov`` or ``.mkv``.
        images: (H, W, 3) uint8 RGB, all of one size.
        rate: frames per second.
        audio: (n,) float32 mono in [-1, 1], starting with the first image; cut off after the last one.
        audio_rate: Hz of ``audio``, one that AAC supports (8000 to 96000).
        crf: x264's constant quality, 0 (best) to 51.
        preset: x264's speed preset.
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
                encoding = Encoding(crf=crf, preset=preset)
                output = _Output(path, container, Look.of(picture), Fraction(0), Fraction(0), rate, encoding)
                if audio is not None:
                    output.add_sound(encoded(container, _seconds(audio, audio_rate), audio_rate, "mono", Fraction(0)))
            output.write(picture, index / rate, 1 / rate)
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
    """A container with one video stream, and optionally sound and subtitles.

    The first frame is shown at ``start`` on the file's clock; its own `Frame.time` is ``time``. The tracks in
    ``beside`` are muxed along with the frames.
    """

    def __init__(
        self, path: Path, container: OutputContainer, look: Look, start: Fraction, time: Fraction, rate: Fraction,
        encoding: Encoding,
    ) -> None:  # fmt: skip
        self._path, self._container = path, container
        self.beside: list[SoundTrack | Subtitles] = []
        self._must_flush = False  # whether the encoder was given a frame
        self._start, self._end, self._shift = start, start, start - time
        self._last: Packet[Any] | None = None  # the last packet so far, not muxed yet
        self._first_decoded = 0  # decoding time of the first packet, ticks
        self._pictures = PictureStream(container, look, rate, encoding, self._shift)
        self.stream = self._pictures.stream

    def add_sound(self, packets: Iterator[Packet[AudioStream]]) -> None:
        self.beside.append(SoundTrack(self._container, self._path, packets))

    def write(self, picture: av.VideoFrame, time: Fraction, duration: Fraction) -> None:
        shown, self._must_flush = time + self._shift, True
        self._end = shown + duration
        with writing(self._path):
            packets = self._pictures.encode(picture, time, duration)
        self._mux(packets)
        for track in self.beside:
            track.mux_until(shown)

    def join(self, segments: Sequence[Segment]) -> None:
        """Mux the packets of segments, with new decoding timestamps; see `decoding_times`."""
        with writing(self._path):
            self._container.start_encoding()
        if any(segment.extradata != (self.stream.codec_context.extradata or b"") for segment in segments):
            raise OutputError(f"{self._path}: the encoder differs from the one that wrote its parts; start again")
        before, tick = list[int](), self._pictures.look.time_base
        depth = max(segment.depth for segment in segments)
        for segment in segments:
            shown = [piece.shown for piece in segment.pieces()]
            before = before or earlier(shown, next(segment.pieces()).duration, depth)
            times = decoding_times(shown, before)
            for piece, time in zip(segment.pieces(), times, strict=True):
                packet = Packet(piece.data)
                packet.stream, packet.time_base, packet.is_keyframe = self.stream, tick, piece.key
                packet.pts, packet.dts, packet.duration = piece.shown, time, piece.duration
                self._mux([packet])
                self._end = max(self._end, (piece.shown + piece.duration) * tick)
                for track in self.beside:
                    track.mux_until(time * tick)
            before = [*before, *sorted(shown)][len(shown) :]

    def finish(self) -> None:
        if self._must_flush:
            with writing(self._path):
                packets = self._pictures.flush()
            self._mux(packets)
        if self._last is not None:
            if ending(self._path) != ".mkv":
                self._last.duration = self._rest(self._last)
            with writing(self._path):
                self._container.mux(self._last)
        for track in self.beside:
            track.finish(self._end)

    def _mux(self, packets: Sequence[Packet[Any]]) -> None:
        """Mux all packets but the last one, which is kept back until it is known to be the last of all."""
        for packet in packets:
            if self._last is None:
                self._first_decoded = packet.dts or 0
            else:
                with writing(self._path):
                    self._container.mux(self._last)
            self._last = packet

    def _rest(self, last: Packet[Any]) -> int:
        """The duration, in ticks, of the last packet in decoding order, so that all add up to that of the video.

        MP4 stores the differences of decoding times. With B-frames, the last packet decoded is not the last one shown,
        whose duration would be lost.
        """
        return round((self._end - self._start) / last.time_base) - ((last.dts or 0) - self._first_decoded)


def require_container(path: Path) -> None:
    """Raise an `OutputError` unless the ending of ``path`` is that of a container that can be written."""
    if ending(path) not in MUXERS:
        what = f"{path.suffix} is not a known container" if path.suffix else "the name has no ending"
        raise OutputError(f"{path}: {what}; use {', '.join(MUXERS)}")


@contextmanager
def _target(path: Path) -> Iterator[Path]:
    """The temporary file to write to; becomes ``path`` when the block ends without an error."""
    require_file(path)
    require_container(path)
    with finished(path) as part:
        yield part


@contextmanager
def _muxing(
    path: Path, part: Path, time_base: Fraction, tags: dict[str, str], more: dict[str, str] | None = None
) -> Iterator[OutputContainer]:
    """The container ``part`` in the format of ``path``, with ``more`` options; finalised unless there is an error."""
    options = {"fflags": "+bitexact"} | (more or {})  # no random identifiers: the same input gives the same bytes
    if ending(path) != ".mkv":
        # MP4 stores the start of a track in ticks of the movie timescale. The default, milliseconds, is too coarse for
        # 29.97 frames per second, so it is set to a multiple of the video's time base that is fine enough for sound.
        clock = time_base.denominator
        options |= {"movflags": "+faststart", "movie_timescale": str(clock * -(-90_000 // clock))}
    with writing(path):
        container = av.open(f"file:{part}", "w", format=MUXERS[ending(path)], container_options=options)
        container.metadata.update(tags)
    try:
        yield container
    except BaseException:
        with suppress(av.FFmpegError, OSError):  # the file will be removed; only the first error matters
            container.close()
        raise
    with writing(path):
        container.close()


def _seconds(samples: Float, rate: int) -> Iterator[Float]:
    """Samples (n,) in blocks (1, rate) of a second."""
    for start in range(0, len(samples), rate):
        yield np.asarray(samples[start : start + rate], np.float32)[None]
