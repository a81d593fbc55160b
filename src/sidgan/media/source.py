"""Opening a file that a user gave, with one clear line where it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.stream import VideoStream

from sidgan.errors import InputError

CUT_OFF = Fraction(1, 2)  #: seconds that may be missing at the end before a file counts as cut off


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """The container of ``path``.

    Raises:
        InputError: it is missing, a folder, locked, or nothing that FFmpeg understands.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one file in it")
    try:
        # The prefix keeps a colon in a file name from being read as a protocol; the whitelist keeps a playlist
        # from fetching anything; metadata in an old code page must not matter.
        container = av.open(f"file:{path}", container_options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{path} may not be read; change its permissions") from error
    except (av.FFmpegError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is not video or sound that can be read; it is damaged, cut off or another kind of file: "
            "copy it again or convert it to mp4"
        ) from error
    with container:
        yield container


def metadata(path: Path) -> dict[str, str]:
    """What a file says about itself as a whole, under lower-case names such as ``comment``.

    Raises:
        InputError: as `opened`.
    """
    with opened(Path(path)) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first moving picture; cover art, which containers also file under video, does not count."""
    if container.format.name == "tty":  # FFmpeg takes any .txt for a film in terminal colours
        return None
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def decoded(container: InputContainer, stream: VideoStream, path: Path) -> Iterator[av.VideoFrame]:
    """All pictures in presentation order, with timestamps that exist and strictly increase.

    A picture whose timestamp is missing or does not advance is put one nominal frame after the one before it.

    Raises:
        InputError: no picture decodes, or the file is damaged in the middle, or ends well before its header says.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    nominal = max(1, round(1 / ((stream.average_rate or stream.guessed_rate or 25) * time_base)))
    first = last = end = None
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if last is None:  # recordings may begin in the middle of a group of pictures
                    continue
                raise
            for frame in frames:
                if frame.pts is None or (last is not None and frame.pts <= last):
                    frame.pts = 0 if last is None else last + nominal
                last, first = frame.pts, frame.pts if first is None else first
                end = last + (frame.duration or nominal)
                frame.pict_type = PictureType.NONE  # else the encoder would repeat the source's frame types
                yield frame
    except av.FFmpegError as error:
        at = float((last or 0) * time_base)
        raise InputError(f"{path} is damaged near {at:.2f} s; copy it again or convert what plays") from error
    if first is None or end is None:
        raise InputError(f"{path} holds no picture that can be decoded; convert it to mp4 (H.264)")
    stated = 0 if stream.duration is None else (stream.start_time or 0) + stream.duration
    if (stated - end) * time_base > CUT_OFF:
        raise InputError(
            f"{path} ends at {float(end * time_base):.2f} s of {float(stated * time_base):.2f} s; "
            "it is cut off: copy it again"
        )


def first_picture(path: Path) -> Fraction | None:
    """When the first picture is shown, on the container's own clock; ``None`` where there is only sound."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        frame = next(decoded(container, stream, path))
        return (frame.pts or 0) * (frame.time_base or stream.time_base or Fraction(1, 1000))
