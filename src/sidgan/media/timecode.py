"""The number that editors know the first picture of a video by, such as 01:00:00:00."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import chain

from av.container import InputContainer

from sidgan.media.source import video_stream

CODE = re.compile(r"(\d\d?):(\d\d?):(\d\d?)([:;.])(\d{1,3})")
MOST = 255  #: frames per second that MP4 can number: it keeps them in a byte


def timecode(container: InputContainer) -> str | None:
    """That of an open video, where it has one that can be understood; numbers are dropped where a ``;`` stands."""
    found = next(filter(None, (CODE.fullmatch(code.strip()) for code in stated(container))), None)
    if found is None or _begins_earlier(container):
        return None
    hours, minutes, seconds, mark, frame = found.groups()
    return f"{hours:0>2}:{minutes:0>2}:{seconds:0>2}{':' if mark == ':' else ';'}{int(frame):02}"


def stated(container: InputContainer) -> Iterator[str]:
    """All that a container says about it, what is said of the pictures first."""
    pictures = video_stream(container)
    yield from () if pictures is None else _codes(pictures.metadata)
    yield from _codes(container.metadata)
    yield from chain.from_iterable(_codes(track.metadata) for track in container.streams.data)


def holds(suffix: str, code: str, rate: Fraction) -> bool:
    """Whether a container can be asked to take a timecode, at so many frames per second.

    MP4 and MOV count frames. Of a number that their rate does not reach they would make another.
    """
    return suffix == ".mkv" or int(re.split("[:;]", code)[-1]) < round(rate) <= MOST


def _begins_earlier(container: InputContainer) -> bool:
    """Whether a track of timecode begins before the first picture, nobody says by how much: a film cut by its index."""
    tracks = [track for track in container.streams.data if [*_codes(track.metadata)]]
    return any(entry.is_discard for track in tracks for entry in track.index_entries)


def _codes(metadata: Mapping[str, str]) -> Iterator[str]:
    return (text for name, text in metadata.items() if name.lower() == "timecode")
