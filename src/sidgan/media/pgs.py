"""PGS, the subtitles of Blu-ray discs: a sequence of segments, of which those up to an end mark form a display set."""

from __future__ import annotations

from typing import cast

from av.packet import Packet
from av.subtitles.stream import SubtitleStream

PRESENTATION, END = 0x16, 0x80  #: types of the first and the last segment of a display set
HEAD = 3  #: bytes of a segment's header: one of its type, two of the length of the rest
LEAST = 8  #: bytes that a presentation segment has at least, without its header
MOST = 1 << 24  #: largest size of a display set in bytes; a picture in full HD has 2 million before compression


class DisplaySets:
    """Joins packets into whole display sets, however their segments are divided into packets.

    FFmpeg's Matroska muxer does so too, but writes segments that belong to no display set into the video track, which
    damages the video.
    """

    def __init__(self) -> None:
        self._first: Packet[SubtitleStream] | None = None
        self._data = b""

    def add(self, packet: Packet[SubtitleStream]) -> Packet[SubtitleStream] | None:
        """Add a packet. Returns the whole display set if the packet ends one, else ``None``.

        Raises:
            ValueError: the display set is damaged; later ones may be intact.
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
    """Whether the segments in ``data`` form a complete display set; `ValueError` if they can never form one."""
    place, kind = 0, PRESENTATION
    while place < len(data):
        if kind == END or len(data) < place + HEAD:
            raise ValueError("it goes on after its end, or in the middle of a segment")
        kind, length = data[place], int.from_bytes(data[place + 1 : place + HEAD], "big")
        if (kind == PRESENTATION) != (place == 0) or (kind == PRESENTATION and length < LEAST):
            raise ValueError("it presents nothing, or twice")
        place += HEAD + length
    if place > len(data):
        raise ValueError("its last segment is cut off")
    return kind == END
