"""The size and length of an untrusted file, found by counting packets without decoding, before it is processed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from sidgan.media.source import is_still, opened, sound_stream, video_stream

#: The only formats that are tried: no playlists, which refer to other files, no image sequences, no devices.
FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "asf", "wav", "mp3", "flac", "aac", "amr", "aiff", "caf",
    "w64", "apng", "image2", "jpeg_pipe", "png_pipe", "webp_pipe", "tiff_pipe", "bmp_pipe",
)  # fmt: skip
#: By the first of FFmpeg's names; ``.`` and that name for the others.
SUFFIXES = {
    "mov": ".mp4", "matroska": ".mkv", "image2": ".jpg", "jpeg_pipe": ".jpg", "png_pipe": ".png",
    "webp_pipe": ".webp", "tiff_pipe": ".tiff", "bmp_pipe": ".bmp",
}  # fmt: skip


@dataclass(frozen=True)
class Stated:
    """Properties of a file, as counted from its packets.

    Attributes:
        suffix: usual suffix of its format, such as ``.mp4``.
        width, height: px as coded, 0 if there is no video.
        frames: number of video packets, at most one more than the limit.
        seconds: length of the video, or of the sound if there is no video: from the first packet's timestamp to the
            end of the last one.
        sound: whether there is a sound stream.
        heard: length of the sound, seconds.
        still: whether it is a photo, which has no length.
    """

    suffix: str
    width: int
    height: int
    frames: int
    seconds: float
    sound: bool
    heard: float
    still: bool


def stated(path: Path, most: int) -> Stated:
    """Examine a file of unknown origin.

    Packets are counted, since a header may be wrong, and recordings made by browsers do not state their length.

    Args:
        path: the file.
        most: number of frames after which counting stops; for sound, after 1000 times as many packets.

    Raises:
        InputError: its format is not one of `FORMATS`.
    """
    with opened(Path(path), FORMATS) as container:
        name = container.format.name.split(",")[0]
        pictures, sound = video_stream(container), sound_stream(container)
        shown, heard = (_Count(stream, limit) for stream, limit in ((pictures, most), (sound, 1000 * most)))
        _count(container, (shown, heard))
        still = is_still(container)
        return Stated(
            suffix=".avif" if still and name == "mov" else SUFFIXES.get(name, f".{name}"),
            width=pictures.width if pictures else 0, height=pictures.height if pictures else 0, frames=shown.packets,
            seconds=0.0 if still else (shown if pictures else heard).seconds, sound=sound is not None,
            heard=heard.seconds, still=still,
        )  # fmt: skip


class _Count:
    """The packets of a stream, none if there is no stream: their number, and their length in seconds."""

    def __init__(self, stream: VideoStream | AudioStream | None, most: int) -> None:
        self.stream, self.most, self.packets = stream, most, 0
        self._base = (stream and stream.time_base) or Fraction(1, 1000)
        self._first: int | None = None
        self._end = 0

    def add(self, packet: Packet[Any]) -> None:
        time = packet.pts if packet.pts is not None else packet.dts
        if packet.size and time is not None:
            self._first = time if self._first is None else min(self._first, time)
            self._end = max(self._end, time + (packet.duration or 0))
        self.packets += bool(packet.size)

    @property
    def seconds(self) -> float:
        return float((self._end - (self._first or 0)) * self._base)


def _count(container: InputContainer, counts: Sequence[_Count]) -> None:
    """Count packets, until one stream has more than its limit."""
    by_index = {count.stream.index: count for count in counts if count.stream}
    for packet in container.demux([container.streams[index] for index in by_index]) if by_index else ():
        count = by_index[packet.stream_index]
        count.add(packet)
        if count.packets > count.most:
            break
