"""The subtitles of a video, taken over into its dub packet by packet; plain text is written anew where it has to be."""

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
#: Subtitles that common players show from a container.
HELD = {
    ".mp4": {"mov_text"},
    ".mov": {"mov_text"},
    ".mkv": {"subrip", "ass", "webvtt", "dvd_subtitle", "dvb_subtitle", PGS},
}
FONT = re.compile("font|truetype|opentype")  #: in the kind of a file that is attached to a video
NOTHING = b"\0\0"  #: in mov_text, between two subtitles; the muxer writes it itself where it is needed


class Subtitles:
    """Muxes subtitles when the pictures come to where they begin: players look for them there, and none pile up.

    Times are seconds on the clock of the video, where nothing else is said. What begins before ``start`` begins
    there, and what goes on after ``end`` ends there. Damage is passed over: a dub is not to be lost for a subtitle.

    Args:
        source: the video.
        suffix: of the dub.
        start: when its first picture is shown.
        end: when the last of the video's own pictures is over.
        origin: what is 0 on the clock of the dub.

    Attributes:
        tracks: of the source that are taken over.
    """

    def __init__(
        self, source: InputContainer, suffix: str, start: Fraction, end: Fraction, origin: Fraction = Fraction(0)
    ) -> None:
        self._source, self._suffix, self._start, self._end, self._origin = source, suffix, start, end, origin
        taken, kinds = HELD[suffix] | PLAIN, [kind_of(track) for track in source.streams.subtitles]
        self.tracks = [track for track in source.streams.subtitles if kind_of(track) in taken]
        self._rewritten = [kind for kind in kinds if kind in taken and kind not in HELD[suffix]]
        self._unfit = [kind or "of an unknown kind" for kind in kinds if kind not in taken]
        self._damaged: Fraction | None = None  # where the first of it is
        self._next: Packet[SubtitleStream] | None = None

    def add_to(self, container: OutputContainer, path: Path) -> None:
        """Add the tracks to ``container``, which is written to ``path``, and the fonts that they may be set in."""
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
            _name(copies[track.index], track)
        self._packets = self._timed(copies, ready)
        if any(kind_of(track) == "ass" for track in self.tracks):
            for attachment in self._source.streams.attachments:
                if attachment.name and FONT.search(attachment.mimetype or ""):
                    container.add_stream_from_template(attachment)

    def mux_until(self, end: Fraction) -> None:
        """Write what begins by ``end`` on the clock of the dub."""
        packet = self._next or next(self._packets, None)
        while packet is not None and (packet.pts or 0) * packet.time_base <= end:
            with writing(self._path):
                self._container.mux(packet)
            packet = next(self._packets, None)
        self._next = packet

    def finish(self, end: Fraction) -> None:
        """Write the rest."""
        self.mux_until(max(end, self._end - self._origin))

    def left(self) -> Iterator[str]:
        """What is not taken over, a line each; complete when all is written."""
        if self._unfit:
            other = _holder(self._unfit)
            advice = f"which {self._suffix} cannot hold; choose an {other} output" if other else "which no dub can hold"
            yield f"{_tracks(self._unfit)}, {advice}"
        if self._rewritten:
            yield (
                f"colours and places of {_tracks(self._rewritten)}, written as {WRITTEN[self._suffix]}; "
                f"choose an {_holder(self._rewritten)} output to keep them"
            )
        if self._damaged is not None:
            yield f"subtitles that are damaged, near {max(0.0, float(self._damaged - self._start)):.2f} s"

    def _timed(
        self, copies: dict[int, SubtitleStream], ready: dict[int, Ready]
    ) -> Iterator[Packet[SubtitleStream]]:
        """The packets to mux, in the order of the source, each track's in order of time."""
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
        """All packets that say something and can be read."""
        at = self._start
        for _ in range(MOST_GAPS if self.tracks else 0):  # where none is named, all streams would be read
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
    """FFmpeg's name of the format of subtitles; ``None`` where it knows none."""
    return None if stream.codec_context is None else stream.codec_context.codec.canonical_name


def _name(copy: SubtitleStream, track: SubtitleStream) -> None:
    said = {"title": track.metadata.get("name")} | track.metadata  # as mp4 and the others call it
    copy.metadata.update({name: text for name in ("language", "title") if (text := said.get(name))})
    copy.disposition = track.disposition


def _tracks(kinds: Sequence[str]) -> str:
    tracks = "1 track" if len(kinds) == 1 else f"{len(kinds)} tracks"
    return f"{tracks} of subtitles ({', '.join(sorted({*kinds}))})"


def _holder(kinds: Sequence[str]) -> str | None:
    return next((suffix for suffix, held in HELD.items() if held.intersection(kinds)), None)
