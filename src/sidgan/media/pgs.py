"""Subtitles of Blu-ray discs (PGS): segments, of which those up to an end mark make up one display set."""

from __future__ import annotations

from typing import cast

from av.packet import Packet
from av.subtitles.stream import SubtitleStream

PRESENTATION, END = 0x16, 0x80  #: what the first and the last segment of a display set are
HEAD = 3  #: bytes of a segment that say what it is and how long the rest
STATED = 8  #: bytes of a presentation that are always there
MOST = 1 << 24  #: bytes of a display set; a picture in full HD has 2 million before it is compressed


class DisplaySets:
    """Puts display sets together, whichever way their segments were put into packets.

    FFmpeg's writer of Matroska does so too, but writes segments that belong to no display set among the pictures of
    the video, which are lost by it.
    """

    def __init__(self) -> None:
        self._first: Packet[SubtitleStream] | None = None
        self._data = b""

    def add(self, packet: Packet[SubtitleStream]) -> Packet[SubtitleStream] | None:
        """The display set that ``packet`` ends, if it ends one.

        Raises:
            ValueError: it is damaged; the next display set may not be.
        """
        data = bytes(packet)
        if data[0] == PRESENTATION:
            self._first, self._data = packet, b""
        first, self._first, self._data = self._first, None, self._data + data
        if first is None or len(self._data) > MOST:
            raise ValueError("no display set begins there, or none that ends")
        if not _ended(self._data):
            self._first = first
            return None
        if first is packet:
            return packet
        whole = cast("Packet[SubtitleStream]", Packet(self._data))
        whole.stream, whole.time_base = first.stream, first.time_base
        whole.pts, whole.duration = first.pts, first.duration
        return whole


def _ended(data: bytes) -> bool:
    place, kind = 0, PRESENTATION
    while place < len(data):
        if kind == END or len(data) < place + HEAD:
            raise ValueError("it goes on after its end, or in the middle of a segment")
        kind, length = data[place], int.from_bytes(data[place + 1 : place + HEAD], "big")
        if (kind == PRESENTATION) != (place == 0) or (kind == PRESENTATION and length < STATED):
            raise ValueError("it presents nothing, or twice")
        place += HEAD + length
    if place > len(data):
        raise ValueError("its last segment is cut off")
    return kind == END
