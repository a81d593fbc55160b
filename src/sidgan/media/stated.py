"""What a file says of itself, counted without decoding a picture: for files of strangers, before anything is spent."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from sidgan.media.source import opened, sound_stream, video_stream

#: The only formats that are tried: no playlists, which name other files, no rows of pictures, no devices.
FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "ogg", "flv", "asf", "wav", "mp3", "flac", "aac", "amr", "aiff", "caf",
    "w64",
)  # fmt: skip
SUFFIXES = {"mov": ".mp4", "matroska": ".mkv"}  #: by the first of FFmpeg's names; ``.`` and that name for the others


@dataclass(frozen=True)
class Stated:
    """A file by its packets.

    Attributes:
        suffix: usual for its format, such as ``.mp4``.
        width, height: px as coded, 0 without pictures.
        frames: packets of pictures; counting ends one above the limit.
        seconds: from the first packet's time to the end of the last one.
        sound: it has a stream of sound.
    """

    suffix: str
    width: int
    height: int
    frames: int
    seconds: float
    sound: bool


def stated(path: Path, most: int) -> Stated:
    """Look at a file of which nothing is known yet.

    The length is counted in packets, since a header may say anything, and recordings of browsers say nothing.

    Args:
        most: frames after which counting ends; of sound alone, a thousand times as many packets.

    Raises:
        InputError: it is in none of `FORMATS`.
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
