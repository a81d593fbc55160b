"""Copies the subtitles of a video into its dub, packet by packet; plain text may be converted to another format."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.subtitles.stream import SubtitleStream

from sidgan.media.files import writing
from sidgan.media.pgs import DisplaySets
from sidgan.media.rewriting import PLAIN, WRITTEN, Ready, rewriting
from sidgan.media.source import MOST_GAPS

PGS = "hdmv_pgs_subtitle"
#: Subtitle formats that common players support in each container.
HELD = {
    ".mp4": {"mov_text"},
    ".mov": {"mov_text"},
    ".mkv": {"subrip", "ass", "webvtt", "dvd_subtitle", "dvb_subtitle", PGS},
}
FONT = re.compile("font|truetype|opentype")  #: in the MIME type of an attached file
NOTHING = b"\0\0"  #: the empty packet between two subtitles in mov_text; the muxer writes it itself if needed


class Subtitles:
    """Muxes subtitles beside the frames of the same time: players look for them there, and none pile up in memory.

    Unless stated otherwise, times are seconds on the source container's clock. Subtitles are cut to the span from
    ``start`` to ``end``. Damaged ones are skipped: a dub must not fail because of a subtitle.

    Args:
        source: the video.
        suffix: of the dub, such as ``.mkv``.
        start: when the first frame of the dub is shown.
        end: when the last frame that comes from the video ends.
        origin: time that becomes 0 on the clock of the dub.

    Attributes:
        tracks: the subtitle tracks of the source that are copied.
    """

    def __init__(
        self, source: InputContainer, suffix: str, start: Fraction, end: Fraction, origin: Fraction = Fraction(0)
    ) -> None:
        self._source, self._suffix, self._start, self._end, self._origin = source, suffix, start, end, origin
        taken, kinds = HELD[suffix] | PLAIN, [kind_of(track) for track in source.streams.subtitles]
        self.tracks = [track for track in source.streams.subtitles if kind_of(track) in taken]
        self._rewritten = [kind for kind in kinds if kind in taken and kind not in HELD[suffix]]
        self._unfit = [kind or "of an unknown kind" for kind in kinds if kind not in taken]
        self._damaged: Fraction | None = None  # time of the first damage
        self._next: Packet[SubtitleStream] | None = None

    def add_to(self, container: OutputContainer, path: Path) -> None:
        """Add the tracks to ``container``, which is written to ``path``, and attached fonts if any track is ASS."""
        self._container, self._path = container, path
        copies, ready = dict[int, SubtitleStream](), dict[int, Ready]()
        for track in self.tracks:
            kind = kind_of(track)
            if kind in HELD[self._suffix]:
                copies[track.index] = container.add_stream_from_template(track)
            else:
                copies[track.index], ready[track.index] = rewriting(container, track, WRITTEN[self._suffix])
            if kind == PGS:
                ready[track.index] = DisplaySets().add
            _copy_tags(copies[track.index], track)
        self._packets = self._timed(copies, ready)
        if any(kind_of(track) == "ass" for track in self.tracks):
            for attachment in self._source.streams.attachments:
                if attachment.name and FONT.search(attachment.mimetype or ""):
                    container.add_stream_from_template(attachment)

    def mux_until(self, end: Fraction) -> None:
        """Write the subtitles that begin by ``end``, in seconds on the clock of the dub."""
        packet = self._next or next(self._packets, None)
        while packet is not None and (packet.pts or 0) * packet.time_base <= end:
            with writing(self._path):
                self._container.mux(packet)
            packet = next(self._packets, None)
        self._next = packet

    def finish(self, end: Fraction) -> None:
        """Write all remaining subtitles."""
        self.mux_until(max(end, self._end - self._origin))

    def left(self) -> Iterator[str]:
        """A line for users about each thing that was not copied; complete after `finish`."""
        if self._unfit:
            other = _holder(self._unfit)
            advice = f"which {self._suffix} cannot hold; choose an {other} output" if other else "which no dub can hold"
            yield f"{_tracks(self._unfit)}, {advice}"
        if self._rewritten:
            yield (
                f"any colours and positions of {_tracks(self._rewritten)}, written as {WRITTEN[self._suffix]}; "
                f"choose an {_holder(self._rewritten)} output to keep them"
            )
        if self._damaged is not None:
            yield f"subtitles that are damaged, near {max(0.0, float(self._damaged - self._start)):.2f} s"

    def _timed(
        self, copies: dict[int, SubtitleStream], ready: dict[int, Ready]
    ) -> Iterator[Packet[SubtitleStream]]:
        """The packets to mux, in the order of the source; those of each track with increasing times."""
        last = dict.fromkeys(copies, self._start)
        for packet in self._read(ready):
            track, base = packet.stream.index, packet.time_base
            if packet.pts is None or packet.is_corrupt or (packet.duration or 0) < 0:
                self._note_damage(last[track])
                continue
            begin, length = packet.pts * base, (packet.duration or 0) * base
            if begin >= self._end or (length and begin + length <= self._start):
                continue
            shown = max(begin, self._start)
            if shown < last[track]:
                self._note_damage(shown)
                continue
            last[track] = shown
            over = min(begin + length, self._end) - self._origin
            packet.pts = packet.dts = ceil((shown - self._origin) / base)
            packet.duration = max(0, int((over - packet.pts * base) / base))
            packet.stream = copies[track]
            yield packet

    def _read(self, ready: dict[int, Ready]) -> Iterator[Packet[SubtitleStream]]:
        """All readable packets that are not empty, joined or converted where needed."""
        at = self._start
        for _ in range(MOST_GAPS if self.tracks else 0):  # demux() without tracks would read all streams
            try:
                for packet in cast("Iterator[Packet[SubtitleStream]]", self._source.demux(*self.tracks)):
                    if not packet.size or packet.is_discard or bytes(packet) == NOTHING:
                        continue
                    at = at if packet.pts is None else packet.pts * packet.time_base
                    make = ready.get(packet.stream.index)
                    try:
                        whole = packet if make is None else make(packet)
                    except (ValueError, av.FFmpegError):
                        self._note_damage(at)
                    else:
                        yield from [] if whole is None else [whole]
            except av.FFmpegError:
                self._note_damage(at)
            else:
                return

    def _note_damage(self, at: Fraction) -> None:
        self._damaged = at if self._damaged is None else self._damaged


def kind_of(stream: SubtitleStream) -> str | None:
    """FFmpeg's name of a subtitle format; ``None`` if FFmpeg does not know the format."""
    return None if stream.codec_context is None else stream.codec_context.codec.canonical_name


def _copy_tags(copy: SubtitleStream, track: SubtitleStream) -> None:
    tags = {"title": track.metadata.get("name")} | track.metadata  # mp4 calls the title "name"
    copy.metadata.update({name: text for name in ("language", "title") if (text := tags.get(name))})
    copy.disposition = track.disposition


def _tracks(kinds: Sequence[str]) -> str:
    tracks = "1 track" if len(kinds) == 1 else f"{len(kinds)} tracks"
    return f"{tracks} of subtitles ({', '.join(sorted({*kinds}))})"


def _holder(kinds: Sequence[str]) -> str | None:
    return next((suffix for suffix, held in HELD.items() if held.intersection(kinds)), None)
