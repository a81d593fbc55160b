"""The timecode of a video's first frame, such as 01:00:00:00, by which editing software identifies frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain

from av.container import InputContainer
from av.stream import Stream

from sidgan.media.source import video_stream

CODE = re.compile(r"(\d\d?):(\d\d?):(\d\d?)([:;.])(\d{1,3})")
MOST = 255  #: largest number of frames per second in an MP4 timecode track, which stores it in one byte


def timecode(container: InputContainer) -> str | None:
    """The timecode of an open video, or ``None`` if it has none that can be used; ``;`` marks drop-frame timecode."""
    found = next(filter(None, (CODE.fullmatch(code.strip()) for code in stated(container))), None)
    if found is None or _begins_earlier(container):
        return None
    hours, minutes, seconds, mark, frame = found.groups()
    return f"{hours:0>2}:{minutes:0>2}:{seconds:0>2}{':' if mark == ':' else ';'}{int(frame):02}"


def stated(container: InputContainer) -> Iterator[str]:
    """All timecodes in a container's metadata as raw text, those of the video stream first."""
    pictures = video_stream(container)
    yield from () if pictures is None else _codes(pictures.metadata)
    yield from _codes(container.metadata)
    yield from chain.from_iterable(_codes(track.metadata) for track in container.streams.data)


def holds(suffix: str, code: str, rate: Fraction) -> bool:
    """Whether a container can store a timecode at this frame rate.

    MP4 and MOV count frames, so a frame number that the rounded rate does not reach would be changed.
    """
    return suffix == ".mkv" or int(re.split("[:;]", code)[-1]) < round(rate) <= MOST


def _begins_earlier(container: InputContainer) -> bool:
    """Whether a timecode track begins before the first frame, by an unknown time: the file was cut by an edit list."""
    tracks = filter(is_timecode, container.streams.data)
    return any(entry.is_discard for track in tracks for entry in track.index_entries)


def is_timecode(track: Stream) -> bool:
    """Whether a track holds timecode."""
    return any(True for _ in _codes(track.metadata))


def _codes(metadata: Mapping[str, str]) -> Iterator[str]:
    return (text for name, text in metadata.items() if name.lower() == "timecode")
