"""The size and length of an untrusted file, found by counting packets without decoding, before it is processed."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from sidgan.media.source import opened, sound_stream, video_stream

#: The only formats that are tried: no playlists, which refer to other files, no image sequences, no devices.
FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "asf", "wav", "mp3", "flac", "aac", "amr", "aiff", "caf",
    "w64",
)  # fmt: skip
SUFFIXES = {"mov": ".mp4", "matroska": ".mkv"}  #: by the first of FFmpeg's names; ``.`` and that name for the others


@dataclass(frozen=True)
class Stated:
    """Properties of a file, as counted from its packets.

    Attributes:
        suffix: usual suffix of its format, such as ``.mp4``.
        width, height: px as coded, 0 if there is no video.
        frames: number of video packets, at most one more than the limit.
        seconds: from the first packet's timestamp to the end of the last one.
        sound: whether there is a sound stream.
    """

    suffix: str
    width: int
    height: int
    frames: int
    seconds: float
    sound: bool


def stated(path: Path, most: int) -> Stated:
    """Examine a file of unknown origin.

    Packets are counted, since a header may be wrong, and recordings made by browsers do not state their length.

    Args:
        path: the file.
        most: number of frames after which counting stops; for sound alone, after 1000 times as many packets.

    Raises:
        InputError: its format is not one of `FORMATS`.
    """
    with opened(Path(path), FORMATS) as container:
        name = container.format.name.split(",")[0]
        pictures, sound = video_stream(container), sound_stream(container)
        frames, seconds = _counted(container, pictures or sound, most if pictures else 1000 * most)
        return Stated(
            suffix=SUFFIXES.get(name, f".{name}"), width=pictures.width if pictures else 0,
            height=pictures.height if pictures else 0, frames=frames if pictures else 0, seconds=seconds,
            sound=sound is not None,
        )  # fmt: skip


def _counted(container: InputContainer, stream: VideoStream | AudioStream | None, most: int) -> tuple[int, float]:
    """The number of packets, and their length in seconds."""
    if stream is None:
        return 0, 0.0
    count, first, end, base = 0, None, 0, stream.time_base or Fraction(1, 1000)
    for packet in islice(container.demux(stream), most + 1):
        time = packet.pts if packet.pts is not None else packet.dts
        if packet.size and time is not None:
            first = time if first is None else min(first, time)
            end = max(end, time + (packet.duration or 0))
        count += bool(packet.size)
    return count, float((end - (first or 0)) * base)
