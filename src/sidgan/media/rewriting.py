"""Plain subtitles in another format, where a container does not hold the one they are in."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import cast

from av.container import OutputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

PLAIN = {"subrip", "webvtt", "mov_text"}  #: words and little beside them, which can be written in each other's way
WRITTEN = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}  #: what plain subtitles become
#: Makes of a packet one that can be muxed; none where it is only a part of one, or says nothing.
Ready = Callable[["Packet[SubtitleStream]"], "Packet[SubtitleStream] | None"]


def rewriting(container: OutputContainer, track: SubtitleStream, kind: str) -> tuple[SubtitleStream, Ready]:
    """Add a stream for the words of ``track`` to ``container``; how packets become such as are muxed there.

    Of how they look, what is bold or in italics is kept.
    """
    copy, reader = cast(SubtitleStream, container.add_stream(kind)), track.codec_context
    copy.time_base = copy.codec_context.time_base = track.time_base or Fraction(1, 1000)
    reader.open(strict=False)
    copy.codec_context.subtitle_header = reader.subtitle_header
    copy.codec_context.open(strict=False)

    def rewrite(packet: Packet[SubtitleStream]) -> Packet[SubtitleStream] | None:
        found = reader.decode2(packet)
        for line in found.rects if found else ():  # a packet of plain text makes one, or none
            made = cast("Packet[SubtitleStream]", encode(SubtitleSet.create(cast(AssSubtitle, line).ass, 0, 0)))
            made.stream, made.time_base, made.is_keyframe = packet.stream, packet.time_base, True
            made.pts, made.duration = packet.pts, packet.duration
            return made
        return None

    encode = copy.codec_context.encode_subtitle
    return copy, rewrite
