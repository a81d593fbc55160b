"""Opening a file that a user gave, with one clear line where it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition
from av.video.frame import PictureType
from av.video.stream import VideoStream

from sidgan.errors import InputError
from sidgan.files import require_there

if TYPE_CHECKING:
    from av.container.core import Chapter

CUT_OFF = Fraction(1, 2)  #: seconds that may be missing at the end before a file counts as cut off
LATE = 1_000_000  #: us after which the clock of a live stream was joined late; B-frames and sound need less than that
MATROSKA_END = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")  #: in the tag that common programs write for each track
MOST_GAPS = 100  #: places at which what a file says of its own layout may be damaged, where damage is passed over


@contextmanager
def opened(path: Path, formats: Sequence[str] = (), *, pictures: bool = True) -> Iterator[InputContainer]:
    """The container of ``path``.

    Args:
        formats: FFmpeg's names of the only formats that are tried; all if empty.
        pictures: whether any are to be decoded. Else none is on opening either, which takes a quarter of the time.

    Raises:
        InputError: it is missing, a folder, locked, or nothing that FFmpeg understands.
    """
    require_there(path)
    try:
        # The prefix keeps a colon in a file name from being read as a protocol; the whitelist keeps a playlist
        # from fetching anything; metadata in an old code page must not matter.
        options = {"protocol_whitelist": "file"} | ({"format_whitelist": ",".join(formats)} if formats else {})
        unseen = {} if pictures else {"skip_frame": "all"}
        container = av.open(f"file:{path}", options=unseen, container_options=options, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{path} may not be read; change its permissions") from error
    except (av.FFmpegError, OSError, EOFError) as error:
        raise InputError(
            f"{path} is not video or sound that can be read: it is damaged, cut off or another kind of file; "
            "copy it again or convert it to mp4"
        ) from error
    with container:
        yield container


def metadata(path: Path) -> dict[str, str]:
    """What a file says about itself as a whole, under lower-case names such as ``comment``.

    Raises:
        InputError: as `opened`.
    """
    with opened(Path(path), pictures=False) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first moving picture; cover art, which containers also file under video, does not count."""
    if container.format.name == "tty":  # FFmpeg takes any .txt for a film in terminal colours
        return None
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first sound of a known kind; of others, such as where damage hides the kind, not even a rate is known."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def title_and_chapters(path: Path) -> tuple[dict[str, str], list[Chapter]]:
    """What a video is called, as a tag, and its chapters on the container's clock.

    Raises:
        InputError: it cannot be read.
    """
    with opened(path, pictures=False) as container:
        title = {name.lower(): text for name, text in container.metadata.items() if name.lower() == "title"}
        moved: list[Chapter] = []
        for chapter in container.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            begin, end = (max(0, round(chapter[edge] * base * 1000)) for edge in ("start", "end"))
            if end > begin:
                moved.append({**chapter, "start": begin, "end": end, "time_base": Fraction(1, 1000)})
        return title, moved


def begins_anywhere(container: InputContainer) -> bool:
    """Whether the clock of a file has no 0 that means something, as in recordings of television.

    Nor has it one where a live stream in FLV or fragmented MP4 was joined late: neither comes with anything that goes
    by its clock. A plain MP4, which counts its samples, means what it says, hours of nothing included.
    """
    if Flags.ts_discont in Flags(container.format.flags):
        return True
    live = container.format.name == "flv" or _fragmented(container)
    return live and (container.start_time or 0) > LATE


def _fragmented(container: InputContainer) -> bool:
    """Whether it is MP4 whose header counts no samples: they come in fragments, each with its own times."""
    return "mp4" in container.format.name and not any(stream.frames for stream in container.streams)


def besides(container: InputContainer) -> tuple[str, ...]:
    """What a video holds that no dub takes over, such as ``1 further sound track``."""
    count = len(container.streams.audio) - 1
    return (f"{count} further sound track{'s' * (count > 1)}",) if count > 0 else ()


def decoded(
    container: InputContainer, stream: VideoStream, path: Path, lost: list[Fraction] | None = None,
    wanted: Container[int] | None = None,
) -> Iterator[av.VideoFrame]:  # fmt: skip
    """All pictures in presentation order, with timestamps that exist and strictly increase.

    A picture whose timestamp is missing or does not advance is put one nominal frame after the one before it.

    Args:
        lost: where damage is to be passed over, gets the second after which pictures are missing.
        wanted: timestamps of the only pictures that must come; others may be missing, if none builds on them.

    Raises:
        InputError: no picture decodes. Without ``lost`` also if the file is damaged in the middle, or ends well before
            its header says.
    """
    time_base = stream.time_base or Fraction(1, 1000)
    nominal = max(1, round(1 / ((stream.average_rate or stream.guessed_rate or 25) * time_base)))
    first = last = end = None
    for frame in _pictures(container, stream, path, lost, wanted):
        if frame.pts is None or (last is not None and frame.pts <= last):
            frame.pts = 0 if last is None else last + nominal
        frame.duration = frame.duration or nominal
        last, first = frame.pts, frame.pts if first is None else first
        end = last + frame.duration
        frame.pict_type = PictureType.NONE  # else the encoder would repeat the source's frame types
        yield frame
    if first is None or end is None:
        raise InputError(f"{path} holds no frame that can be decoded; convert it to mp4 (H.264)")
    stated = _stated_end(stream, time_base, _fragmented(container))
    if stated - end * time_base > CUT_OFF and lost is None:
        raise InputError(
            f"{path} ends at {float(end * time_base):.2f} s of {float(stated):.2f} s; it is cut off; copy it again"
        )


def _stated_end(stream: VideoStream, time_base: Fraction, fragmented: bool) -> Fraction:
    """When the pictures end, as a file says, s; 0 where it does not say."""
    if stream.duration is not None:  # of fragments, FFmpeg takes the end of the last one for the duration
        return ((0 if fragmented else stream.start_time or 0) + stream.duration) * time_base
    said = MATROSKA_END.fullmatch(stream.metadata.get("DURATION", ""))
    return Fraction(0) if said is None else 3600 * int(said[1]) + 60 * int(said[2]) + Fraction(said[3])


def _pictures(
    container: InputContainer, stream: VideoStream, path: Path, lost: list[Fraction] | None,
    wanted: Container[int] | None,
) -> Iterator[av.VideoFrame]:  # fmt: skip
    """What the decoder makes of a stream; see `decoded` for damage and what is wanted."""
    packets, time_base, at, gaps = container.demux(stream), stream.time_base or Fraction(1, 1000), None, 0
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            if lost is None or not isinstance(error, av.InvalidDataError) or gaps == MOST_GAPS:
                raise unreadable(path, at, error) from error
            packets, gaps = container.demux(stream), gaps + 1
            lost.append(at or Fraction(0))
            continue
        if packet is None:
            return
        if wanted is not None:
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if at is None:  # recordings may begin in the middle of a group of pictures
                continue
            if lost is None or isinstance(error, OSError):
                raise unreadable(path, at, error) from error
            lost.append(at)
            continue
        for frame in frames:
            at = at or Fraction(0) if frame.pts is None else frame.pts * time_base
            yield frame


def unreadable(path: Path, at: Fraction | None, error: av.FFmpegError) -> InputError:
    """What to tell where a file cannot be read on after so many seconds."""
    near = f"{float(at or 0):.2f} s"
    if isinstance(error, OSError):
        why = (error.strerror or str(error)).lower()
        return InputError(f"{path} cannot be read after {near} ({why}); check that it still exists")
    return InputError(f"{path} is damaged near {near}; copy it again, or convert the part that plays")


def first_picture(path: Path) -> Fraction | None:
    """When the first picture is shown, on the container's own clock; ``None`` where there is only sound."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        return shown_at(next(decoded(container, stream, path)))


def shown_at(picture: av.VideoFrame) -> Fraction:
    """When a picture of `decoded` is shown, on the container's own clock."""
    return (picture.pts or 0) * cast(Fraction, picture.time_base)
