"""Converts plain text subtitles to another format if a container does not support theirs."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import cast

from av.container import OutputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle, SubtitleSet

PLAIN = {"subrip", "webvtt", "mov_text"}  #: formats of plain text, which can be converted into each other
WRITTEN = {".mp4": "mov_text", ".mov": "mov_text", ".mkv": "subrip"}  #: format to which they are converted
#: Converts a source packet to one that can be muxed; ``None`` if it is incomplete or empty.
Ready = Callable[["Packet[SubtitleStream]"], "Packet[SubtitleStream] | None"]


def rewriting(container: OutputContainer, track: SubtitleStream, kind: str) -> tuple[SubtitleStream, Ready]:
    """Add a stream of the format ``kind`` to ``container``, and return it with a function that converts packets.

    Of the formatting, only bold and italics are kept.
    """
    copy, reader = cast(SubtitleStream, container.add_stream(kind)), track.codec_context
    copy.time_base = copy.codec_context.time_base = track.time_base or Fraction(1, 1000)
    reader.open(strict=False)
    copy.codec_context.subtitle_header = reader.subtitle_header
    copy.codec_context.open(strict=False)

    def rewrite(packet: Packet[SubtitleStream]) -> Packet[SubtitleStream] | None:
        found = reader.decode2(packet)
        for line in found.rects if found else ():  # a packet of plain text has at most one
            made = cast("Packet[SubtitleStream]", encode(SubtitleSet.create(cast(AssSubtitle, line).ass, 0, 0)))
            made.stream, made.time_base, made.is_keyframe = packet.stream, packet.time_base, True
            made.pts, made.duration = packet.pts, packet.duration
            return made
        return None

    encode = copy.codec_context.encode_subtitle
    return copy, rewrite
