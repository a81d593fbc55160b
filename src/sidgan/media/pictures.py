"""Reading video: the properties of a file, and its frames as planes that can be read and edited."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import cast
from zlib import crc32

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.format import VideoFormat
from av.video.reformatter import ColorRange

from sidgan.errors import InputError
from sidgan.media.source import (
    begins_anywhere,
    besides,
    decoded,
    decoding_delay,
    is_still,
    opened,
    shown_at,
    sound_stream,
    stated_rate,
    video_stream,
)
from sidgan.media.stills import RATE
from sidgan.media.timecode import timecode
from sidgan.media.unkept import unkept
from sidgan.media.yuv import MATRICES, SWSCALE, from_rgb, matrix_for
from sidgan.types import Array, Byte, Clip, Frame, PixelFormat, PlaneMap

FULL_RANGE = 2
ANIMATED = ("gif", "apng")  #: formats of pictures that may move, and are videos if they do


@dataclass(frozen=True)
class Picture:
    """The `Frame.handle`: FFmpeg's frame, and the number of quarter turns counter-clockwise that make it upright."""

    video: av.VideoFrame
    turns: int

    def planes(self, *, writeable: bool) -> tuple[Array, Array, Array]:
        """Luma and two chroma planes, upright, as views of the frame's memory."""
        luma, blue, red = (self._plane(i, writeable) for i in range(3))
        return luma, blue, red

    def copy(self) -> Picture:
        """A copy of the frame with its own memory, including timestamps, tags and side data."""
        video = _filtered(self.video)
        video.make_writable()
        return Picture(video, self.turns)

    def _plane(self, index: int, writeable: bool) -> Array:
        plane = self.video.planes[index]
        dtype = np.dtype(np.uint8 if self.video.format.components[index].bits == 8 else np.uint16)
        buffer = cast(bytes, plane)  # it supports the buffer protocol, which Python 3.11 cannot annotate
        rows = np.frombuffer(buffer, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
        rows.flags.writeable = writeable
        return np.rot90(rows[:, : plane.width], self.turns)


def probe(path: Path, *, tolerant: bool = False) -> Clip:
    """The properties of a video, found by decoding only its first frames.

    Args:
        path: a video file, or a photo: it is read as a video of `sidgan.media.stills.FRAMES` frames.
        tolerant: skip damaged parts when the clip is read, see `Clip`.

    Raises:
        InputError: it cannot be dubbed: missing, damaged, mirrored, or sound without video.
    """
    path = Path(path)
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            kind = "sound without pictures" if container.streams.audio else "not a video"
            raise InputError(f"{path} is {kind}; give a video file (mp4, mov, mkv, ...)")
        delay = decoding_delay(container, path)
        frames = decoded(container, stream, path, delay=delay)
        first = next(frames)
        if container.format.name in ANIMATED and next(frames, None) is None:
            raise InputError(f"{path} does not move; convert it to png or jpg")
        still = is_still(container)
        rate = RATE if still else stated_rate(stream) or _measured_rate(first, frames)
        if stream.duration is not None and stream.time_base is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        if _mirrored(first):
            raise InputError(f"{path} is stored mirrored, with a flag to flip it back; convert it to mp4 first")
        rotation = round(first.rotation / 90) % 4 * 90
        sound, code = sound_stream(container), timecode(container)
        width, height = (first.width, first.height) if rotation % 180 == 0 else (first.height, first.width)
        return Clip(
            path=path,
            width=width,
            height=height,
            frame_rate=rate,
            frames=stream.frames or round(duration * rate),
            duration=duration,
            rotation=rotation,
            format=_pixel_format(first, rotation),
            audio_rate=None if sound is None else sound.rate,
            tolerant=tolerant,
            besides=(*besides(container), *unkept(path, container, first, code)),
            start=shown_at(first),
            origin=shown_at(first) if begins_anywhere(container) else Fraction(0),
            shape=stream.sample_aspect_ratio or None,
            timecode=code,
            captions=captioned(first),
            delay=delay,
            still=still,
        )


def read_frames(clip: Clip, *, start: int = 0) -> Iterator[Frame]:
    """Frames in presentation order, from frame ``start`` on.

    The planes are read-only, upright views of the decoder's own memory; `editable` makes a copy to write into.
    Material that is not planar YUV of 8 or 10 bits with whole chroma samples is converted once, here: RGB and odd sizes
    to 4:4:4, gray to 4:2:0, 9 to 16 bits to 10, packed and semi-planar layouts to the planar one. Nothing is
    converted after that.

    Raises:
        InputError: the file is damaged or cut off, unless the clip is tolerant, or its frame size changes midway.
    """
    with opened(clip.path) as container:
        yield from _frames(clip, container, None, start)


def read_span(clip: Clip, start: Fraction, end: Fraction | None = None) -> Iterator[Frame]:
    """The frames shown from ``start`` to before ``end`` seconds; `Frame.index` counts from the first of them.

    `Frame.time` still counts from the start of the video. If the file is seekable, decoding starts at a key frame near
    ``start``, so that a few seconds of a long video take little time.

    Raises:
        InputError: as `read_frames`.
    """
    with opened(clip.path) as container:
        frames = _from_key_frame(clip, container, start) if start > 2 else _frames(clip, container, None)
        first = None
        for frame in frames:
            if end is not None and frame.time >= end:
                break
            if frame.time >= start:
                first = frame.index if first is None else first
                yield replace(frame, index=frame.index - first)


def read_chosen(clip: Clip, times: Sequence[Fraction]) -> Iterator[Frame]:
    """The frames with these timestamps, which must be sorted; their `Frame.index` is meaningless.

    Frames that are not reference frames of others are skipped by the decoder, about half of all in common files. Some
    wanted frames may be missing in files with irregular timestamps or a broken index.

    Raises:
        InputError: as `read_frames`.
    """
    with opened(clip.path) as container:
        stream = video_stream(container)
        if stream is None or stream.time_base is None:
            return
        wanted = {round((clip.start + time) / stream.time_base) for time in times}
        with suppress(av.FFmpegError):  # without seeking, everything before is read as well
            if times[0] > 2:
                container.seek(min(wanted), stream=stream)
        asked = {*times}
        yield from (frame for frame in _frames(clip, container, clip.start, wanted=wanted) if frame.time in asked)


def _from_key_frame(clip: Clip, container: InputContainer, start: Fraction) -> Iterator[Frame]:
    """Frames from a key frame at or before ``start`` on; from the first frame if the file is not seekable."""
    origin, stream = clip.start, video_stream(container)
    if stream is None or stream.time_base is None:
        yield from _frames(clip, container, None)
        return
    try:
        container.seek(int((origin + start) / stream.time_base), stream=stream)
        frames = _frames(clip, container, origin)
        frame = next(frames)
    except (av.FFmpegError, InputError, StopIteration):
        frame = None
    if frame is not None and frame.time <= start:
        yield frame
        yield from frames
        return
    with opened(clip.path) as again:
        yield from _frames(clip, again, None)


def _frames(
    clip: Clip, container: InputContainer, origin: Fraction | None, skip: int = 0, wanted: Container[int] | None = None
) -> Iterator[Frame]:
    """The remaining frames of ``container``, without the first ``skip`` ones.

    Args:
        origin: timestamp, in seconds, that becomes time 0; the first frame's if ``None``.
        wanted: see `sidgan.media.source.decoded`.
    """
    stream = video_stream(container)
    if stream is None:
        raise InputError(f"{clip.path} is no longer a video; it was changed during the work, so start again")
    # With several threads, the decoder's result for damaged frames is not deterministic.
    stream.thread_type = "NONE" if clip.tolerant else "AUTO"
    lost: list[Fraction] | None = [] if clip.tolerant else None
    size = (clip.width, clip.height) if clip.rotation % 180 == 0 else (clip.height, clip.width)
    for index, picture in enumerate(decoded(container, stream, clip.path, lost, wanted, clip.delay)):
        shown = shown_at(picture)
        origin = shown if origin is None else origin
        if index < skip:
            continue
        gap = bool(lost)
        if lost:
            lost.clear()
        if (picture.width, picture.height) != size:
            raise InputError(
                f"{clip.path} changes its picture size at {float(shown):.2f} s; convert it to one size first"
            )
        held = Picture(_planar(picture, clip.format), clip.rotation // 90)
        length = picture.duration * cast(Fraction, picture.time_base)
        yield Frame(index, shown - origin, held.planes(writeable=False), clip.format, held, length, gap)


def editable(frame: Frame) -> Frame:
    """A copy of the frame with its own memory, whose planes may be written.

    The decoder's memory must not be changed, since it predicts later frames from it.
    """
    held = cast(Picture, frame.handle).copy()
    return replace(frame, planes=held.planes(writeable=True), handle=held)


def without_captions(frame: Frame) -> Frame:
    """The same frame without closed captions, for a frame that is shown again: its captions must not be repeated.

    It does not check first whether there are any: PyAV's side data and its frame refer to each other, so each frame
    would stay in memory until Python's garbage collector runs, hundreds of frames later.
    """
    held = cast(Picture, frame.handle)
    held = Picture(_filtered(held.video, "sidedata", mode="delete", type="A53_CC"), held.turns)
    return replace(frame, planes=held.planes(writeable=False), handle=held)


def captioned(picture: av.VideoFrame) -> bool:
    """Whether a frame carries closed captions (CEA-608 or CEA-708)."""
    return Type.A53_CC in cast("Mapping[Type, object]", picture.side_data)


def digest(frame: Frame) -> int:
    """A checksum of all samples of the planes."""
    return reduce(lambda value, plane: crc32(np.ascontiguousarray(plane).data, value), frame.planes, 0)


def glance(frame: Frame) -> int:
    """A fast checksum, to detect a frame that was decoded without its reference frames, as may happen after a seek.

    Only every eighth row of the luma plane is used, since such errors come in blocks.
    """
    return crc32(np.ascontiguousarray(frame.planes[0][::8]).data)


def read_rgb(path: Path) -> Iterator[tuple[Fraction, Byte]]:
    """Pairs of time in seconds and upright (H, W, 3) uint8 RGB image: for files written by this package, and for tests.

    Raises:
        InputError: as `probe` and `read_frames`.
    """
    clip = probe(path)
    matrix = SWSCALE[clip.format.matrix]
    for frame in read_frames(clip):
        picture = cast(Picture, frame.handle).video
        rgb = picture.to_ndarray(format="rgb24", src_colorspace=matrix, dst_colorspace=matrix)
        yield frame.time, np.ascontiguousarray(np.rot90(rgb, clip.rotation // 90))


def planar_name(layout: VideoFormat, width: int, height: int) -> str:
    """FFmpeg's name of the planar format to which frames of ``layout`` are converted; see `read_frames`."""
    if layout.is_rgb or layout.has_palette:
        chroma = "444"
    elif len(layout.components) < 3:
        chroma = "420"  # gray
    else:
        across, down = 64 // layout.chroma_width(64), 64 // layout.chroma_height(64)
        chroma = {(1, 1): "444", (1, 2): "444", (2, 1): "422", (4, 1): "422"}.get((across, down), "420")
    if (chroma != "444" and width % 2) or (chroma == "420" and height % 2):
        chroma = "444"  # H.264 needs whole chroma samples
    return f"yuv{chroma}p" + ("10le" if layout.components[0].bits > 8 else "")


def _pixel_format(picture: av.VideoFrame, rotation: int) -> PixelFormat:
    name = planar_name(picture.format, picture.width, picture.height)
    rgb = picture.format.is_rgb or picture.format.has_palette
    default = matrix_for(picture.height)
    chroma = {"4": PlaneMap(), "2": PlaneMap(2, 1, 0.0, 0.0), "0": PlaneMap(2, 2, 0.0, 0.5)}[name[5]]
    return PixelFormat(
        name=name,
        bits=10 if name.endswith("10le") else 8,
        full_range=not rgb and (picture.color_range == FULL_RANGE or picture.format.name.startswith("yuvj")),
        matrix=default if rgb else MATRICES.get(picture.colorspace, default),
        chroma=turned(chroma, rotation // 90),
    )


def turned(chroma: PlaneMap, turns: int) -> PlaneMap:
    """The map of a chroma plane after the picture is rotated counter-clockwise by ``turns`` quarter turns.

    Each quarter turn swaps the axes and mirrors the new vertical one. Width and height must be multiples of the steps.
    """
    for _ in range(turns % 4):
        mirrored = chroma.step_x - 1 - chroma.offset_x
        chroma = PlaneMap(chroma.step_y, chroma.step_x, chroma.offset_y, mirrored)
    return chroma


def _measured_rate(first: av.VideoFrame, following: Iterator[av.VideoFrame]) -> Fraction:
    """Average frames per second from a video's first frame on, over about two seconds; 25 if it is the only one."""
    times = [shown_at(first)]
    with suppress(InputError):  # damage is told when the frames are read
        times.extend(shown_at(picture) for picture in islice(following, 50))
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else Fraction(25)


def _mirrored(picture: av.VideoFrame) -> bool:
    """Whether the display matrix of a frame mirrors it, which its rotation does not show."""
    matrix = cast("Mapping[Type, bytes]", picture.side_data).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False
    x_to_x, x_to_y, _, y_to_x, y_to_y = np.frombuffer(matrix, np.int32)[:5].tolist()
    return bool(x_to_x * y_to_y < x_to_y * y_to_x)


def _filtered(picture: av.VideoFrame, name: str = "null", **how: str) -> av.VideoFrame:
    """A second frame object on the same memory, made by a filter of FFmpeg's.

    PyAV has no other way to make one: side data cannot be added to a new frame.
    """
    graph = av.filter.Graph()
    graph.threads = 1  # else up to 16 threads are started, without any use
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    graph.link_nodes(source, graph.add(name, **how), graph.add("buffersink")).configure()
    graph.vpush(picture)
    return graph.vpull()


def _planar(picture: av.VideoFrame, layout: PixelFormat) -> av.VideoFrame:
    if picture.format.name.replace("yuvj", "yuv") == layout.name:
        return picture
    if picture.format.is_rgb or picture.format.has_palette:
        return from_rgb(picture, layout.name)
    return picture.reformat(format=layout.name)


def arranged(picture: av.VideoFrame, pixels: str | None) -> av.VideoFrame:
    """A frame converted to the pixel format ``pixels``, one of `sidgan.media.encoders.TWINS` of its own format.

    Samples, timestamps and colour tags stay the same.
    """
    if pixels in (None, picture.format.name):
        return picture
    color_range = ColorRange.JPEG if picture.color_range == FULL_RANGE else ColorRange.MPEG  # the same on both sides
    new = picture.reformat(format=pixels, src_color_range=color_range, dst_color_range=color_range)
    new.colorspace, new.color_range = picture.colorspace, picture.color_range
    new.color_primaries, new.color_trc = picture.color_primaries, picture.color_trc
    new.pts, new.time_base, new.duration = picture.pts, picture.time_base, picture.duration
    return new
