"""Opening and decoding a file given by a user, with a clear one-line error if it cannot be used."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from sidgan.media.stills import RATE, filmed

if TYPE_CHECKING:
    from av.container.core import Chapter

CUT_OFF = Fraction(1, 2)  #: seconds that may be missing at the end before a file counts as cut off
LATE = 1_000_000  #: us; a live stream that starts later was joined late: B-frames and sound delay the start by less
PHOTO_BRANDS = ("avif", "heic", "heix", "mif1")  #: of photos in the container of MP4: AVIF and HEIF
MATROSKA_END = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")  #: the DURATION tag that common programs write for a track
MOST_GAPS = 100  #: number of demuxing errors that are skipped in a damaged file


@contextmanager
def opened(path: Path, formats: Sequence[str] = (), *, pictures: bool = True) -> Iterator[InputContainer]:
    """Open a file as a container.

    Args:
        path: the file.
        formats: FFmpeg's names of the only formats that are tried; all if empty.
        pictures: whether video will be decoded. If not, none is decoded on opening either, which is four times as fast.

    Raises:
        InputError: it is missing, a folder, not readable, or of no format that FFmpeg knows.
    """
    require_there(path)
    try:
        # The prefix keeps a colon in a file name from being read as a protocol; the whitelist keeps a playlist from
        # accessing the network; metadata with invalid UTF-8 must not cause an error; % in a photo's name is no pattern.
        options = {"protocol_whitelist": "file", "pattern_type": "none"}
        options |= {"format_whitelist": ",".join(formats)} if formats else {}
        decoding = {} if pictures else {"skip_frame": "all"}
        container = av.open(f"file:{path}", options=decoding, container_options=options, metadata_errors="replace")
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
    """The metadata of a file as a whole, with lower-case names such as ``comment``.

    Raises:
        InputError: as `opened`.
    """
    with opened(Path(path), pictures=False) as container:
        return {name.lower(): text for name, text in container.metadata.items()}


def video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not cover art."""
    if container.format.name == "tty":  # FFmpeg opens any .txt file as a video of a terminal
        return None
    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def sound_stream(container: InputContainer) -> AudioStream | None:
    """The first sound stream of a known codec; of others, not even the sample rate is known."""
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def stated_rate(stream: VideoStream) -> Fraction | None:
    """The average frames per second as stated by the file or guessed by FFmpeg; ``None`` if neither is known.

    If browsers record a camera, FFmpeg guesses one frame per tick of the clock: 1000 frames per second.
    """
    if stream.average_rate:
        return stream.average_rate
    guessed = stream.guessed_rate
    return None if not guessed or guessed * (stream.time_base or 0) >= 1 else guessed


def title_and_chapters(path: Path) -> tuple[dict[str, str], list[Chapter]]:
    """The title of a video as a dict of tags, and its chapters, in milliseconds on the container's clock.

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
    """Whether time 0 of a file's clock is arbitrary, as in recordings of television.

    This also holds for a live stream in FLV or fragmented MP4 that was joined late. In a plain MP4, time 0 is
    meaningful, even if the first frame is shown hours later.
    """
    if Flags.ts_discont in Flags(container.format.flags):
        return True
    live = container.format.name == "flv" or _fragmented(container)
    return live and (container.start_time or 0) > LATE


def _fragmented(container: InputContainer) -> bool:
    """Whether a file is fragmented MP4: its header lists no samples, and each fragment has its own timestamps."""
    return "mp4" in container.format.name and not any(stream.frames for stream in container.streams)


def besides(container: InputContainer) -> tuple[str, ...]:
    """Names for users of sound tracks that a dub does not copy, such as ``1 further sound track``."""
    count = len(container.streams.audio) - 1
    return (f"{count} further sound track{'s' * (count > 1)}",) if count > 0 else ()


def is_still(container: InputContainer) -> bool:
    """Whether a file is a photo, not a video. GIF and animated PNG count as videos."""
    name = container.format.name
    return name == "image2" or name.endswith("_pipe") or container.metadata.get("major_brand") in PHOTO_BRANDS


def decoded(
    container: InputContainer, stream: VideoStream, path: Path, lost: list[Fraction] | None = None,
    wanted: Container[int] | None = None, delay: int = 0,
) -> Iterator[av.VideoFrame]:  # fmt: skip
    """All frames in presentation order, with timestamps that exist and strictly increase.

    A frame whose timestamp is missing or does not increase is put one nominal frame duration after the one before it.

    AVI numbers packets in decoding order, and FFmpeg's guess of presentation times is wrong with B-frames. The time of
    the packet with which the decoder returns a frame is right but for a constant delay, see `decoding_delay`.

    Args:
        container: the open file.
        stream: its video stream.
        path: the file, for error messages.
        lost: if given, damaged parts are skipped, and the time in seconds before each gap is appended to it.
        wanted: timestamps in ticks of the only frames that are needed; others may be missing. All by default.
        delay: `decoding_delay` of the file.

    Raises:
        InputError: no frame can be decoded. Without ``lost`` also if the file is damaged in the middle, or ends well
            before the time stated in its header.
    """
    still = is_still(container)
    time_base = 1 / RATE if still else stream.time_base or Fraction(1, 1000)
    nominal = max(1, round(1 / ((stated_rate(stream) or 25) * time_base)))
    begin, total, last = 0, 0, None  # total: the sum of all durations; last: the last frame so far, not yielded yet
    avi = container.format.name == "avi"
    pictures = _pictures(container, stream, path, lost, None if avi else wanted)
    if still:
        pictures = filmed(path)  # not by FFmpeg, which does not turn photos upright
    for frame in pictures:
        if avi:
            frame.pts = None if frame.dts is None else frame.dts - delay
        if frame.pts is None or (last is not None and frame.pts <= (last.pts or 0)):
            frame.pts = 0 if last is None else (last.pts or 0) + nominal
        frame.duration = frame.duration or nominal
        frame.pict_type = PictureType.NONE  # else the encoder would use the source's frame types
        total += frame.duration
        if last is None:
            begin = frame.pts
        else:
            yield last
        last = frame
    if last is None:
        raise InputError(f"{path} holds no frame that can be decoded; convert it to mp4 (H.264)")
    end = (last.pts or 0) + last.duration
    if "mp4" in container.format.name:  # with B-frames, its durations are right in total, but not for each frame
        end = max(end, begin + total)
        last.duration = end - (last.pts or 0)
    yield last
    stated = Fraction(0) if still else _stated_end(stream, time_base, _fragmented(container))
    if stated - end * time_base > CUT_OFF and lost is None:
        raise InputError(
            f"{path} ends at {float(end * time_base):.2f} s of {float(stated):.2f} s; it is cut off; copy it again"
        )


def decoding_delay(container: InputContainer, path: Path) -> int:
    """Ticks by which a decoder returns the pictures of an AVI later than they are shown; 0 for other containers.

    With B-frames, it must wait for a packet or two before it can return the first picture. AVI knows no times below 0
    for such packets, so the first picture is shown at the time of its own packet, which is the first key frame.
    """
    if container.format.name != "avi":
        return 0
    own = None
    with opened(path) as again, suppress(av.FFmpegError):  # damage is not reported here
        stream = video_stream(again)
        for packet in again.demux(stream) if stream else ():
            own = packet.dts if own is None and packet.is_keyframe else own
            for frame in packet.decode():
                return max(0, (frame.dts or 0) - (own or 0))
    return 0


def _stated_end(stream: VideoStream, time_base: Fraction, fragmented: bool) -> Fraction:
    """The end of the video in seconds, as stated in the file; 0 if it does not state it."""
    if stream.duration is not None:  # of fragmented files, FFmpeg takes the end of the last fragment for the duration
        return ((0 if fragmented else stream.start_time or 0) + stream.duration) * time_base
    said = MATROSKA_END.fullmatch(stream.metadata.get("DURATION", ""))
    return Fraction(0) if said is None else 3600 * int(said[1]) + 60 * int(said[2]) + Fraction(said[3])


def _pictures(
    container: InputContainer, stream: VideoStream, path: Path, lost: list[Fraction] | None,
    wanted: Container[int] | None,
) -> Iterator[av.VideoFrame]:  # fmt: skip
    """The frames of a stream as decoded; see `decoded` for ``lost`` and ``wanted``."""
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
            if at is None:  # recordings may start in the middle of a group of pictures
                continue
            if lost is None or isinstance(error, OSError):
                raise unreadable(path, at, error) from error
            lost.append(at)
            continue
        for frame in frames:
            at = at or Fraction(0) if frame.pts is None else frame.pts * time_base
            yield frame


def unreadable(path: Path, at: Fraction | None, error: av.FFmpegError) -> InputError:
    """The error to raise if a file cannot be read beyond ``at`` seconds."""
    near = f"{float(at or 0):.2f} s"
    if isinstance(error, OSError):
        why = (error.strerror or str(error)).lower()
        return InputError(f"{path} cannot be read after {near} ({why}); check that it still exists")
    return InputError(f"{path} is damaged near {near}; copy it again, or convert the part that plays")


def first_picture(path: Path) -> Fraction | None:
    """The time of the first frame in seconds, on the container's own clock; ``None`` if there is only sound."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            return None
        return shown_at(next(decoded(container, stream, path, delay=decoding_delay(container, path))))


def shown_at(picture: av.VideoFrame) -> Fraction:
    """The time in seconds at which a frame from `decoded` is shown, on the container's own clock."""
    return (picture.pts or 0) * cast(Fraction, picture.time_base)
