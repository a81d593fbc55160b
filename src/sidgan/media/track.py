"""The sound track of an output file: copied if the container supports its codec, else encoded to AAC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from sidgan.errors import InputError
from sidgan.media.files import writing
from sidgan.media.sound import decoded_sound, samples_from, sounding, stated_end, time_of
from sidgan.media.source import besides, first_picture
from sidgan.types import Float

#: Codecs that common players support in each container, and whose packets are therefore copied.
COPIED = {
    ".mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    ".mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
    ".mkv": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "pcm_s16le", "pcm_s24le"},
}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  #: of AAC, by the number of channels; any other number is mixed to stereo
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
MP3_RATE = 16_000  #: Hz; lower sample rates of MP3 (MPEG-2.5) are not in the standard of MP4
BIT_RATE = 192_000  #: bit/s of AAC; the encoder takes less at low sample rates, where it must
FADE = Fraction(1, 50)  #: seconds of the fade-in where the video's own sound continues after the voice
LEAD = Fraction(1, 10)  #: seconds of packets kept before time 0, which a decoder may need to start (pre-roll)


@dataclass(frozen=True)
class Voice:
    """A file whose sound is used, and the time on its container's clock that is its time 0, see `sidgan.media`."""

    path: Path
    origin: Fraction

    @classmethod
    def of(cls, path: Path) -> Voice:
        """Open a file and check that its sound can be decoded.

        Raises:
            InputError: it has no sound, or none that can be decoded.
        """
        with sounding(path) as (container, stream):
            heard = time_of(next(decoded_sound(container, stream, path)))
        shown = first_picture(path)
        return cls(path, shown if shown is not None else heard or Fraction(0))


def require_sound(path: Path) -> None:
    """Raise `InputError` if a file's sound cannot be used."""
    Voice.of(path)


def unheard(path: Path) -> tuple[str, ...]:
    """Names for users of what of a voice's file is not used, such as ``1 further sound track``.

    Raises:
        InputError: it has no sound.
    """
    with sounding(path) as (container, _):
        return besides(container)


def channels(path: Path) -> int:
    """The number of channels of a file's sound.

    Raises:
        InputError: it has no sound.
    """
    with sounding(path) as (_, stream):
        return stream.channels


def channels_kept(path: Path, suffix: str) -> int:
    """The number of channels that a file's sound has as the sound of an output; ``suffix`` is that of the output.

    Raises:
        InputError: it has no sound.
    """
    with sounding(path) as (_, stream):
        return stream.channels if stream.channels in LAYOUTS or _is_copied(stream, suffix) else 2


@dataclass(frozen=True)
class SoundSpan:
    """The start and end of a file's sound, and the length of its longest packet, all in seconds."""

    start: Fraction
    end: Fraction
    packet: Fraction


def sound_span(path: Path) -> SoundSpan:
    """The span of a file's sound, from its packets' timestamps; anything before time 0 is left out.

    Raises:
        InputError: it has no sound, or none that can be decoded.
    """
    origin = Voice.of(path).origin
    first, last, longest = None, origin, Fraction(0)
    with sounding(path) as (container, stream):
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                start, length = _start(packet), _length(packet)
                first = start if first is None else min(first, start)
                last, longest = max(last, start + length), max(longest, length)
        stated = stated_end(container, stream)
    end = last if stated is None else min(last, stated)
    begin = Fraction(0) if first is None else max(Fraction(0), first - origin)
    return SoundSpan(begin, end - origin, longest or LEAD)


class SoundTrack:
    """Muxes sound just behind the video, so that no packets pile up in memory, and ends it with the video.

    All times are seconds on the output's clock.
    """

    def __init__(self, container: OutputContainer, path: Path, packets: Iterator[Packet[AudioStream]]) -> None:
        self._container, self._path, self._packets = container, path, packets
        self._next: Packet[AudioStream] | None = None

    def mux_until(self, end: Fraction) -> None:
        """Write the packets that end by ``end``."""
        packet = self._next or next(self._packets, None)
        while packet is not None and _start(packet) + _length(packet) <= end:
            self._mux(packet)
            packet = next(self._packets, None)
        self._next = packet

    def finish(self, end: Fraction) -> None:
        """Write the rest up to ``end``; a packet that lasts longer is shortened."""
        self.mux_until(end)
        if self._next is not None and _start(self._next) < end:
            self._mux(_shortened(self._next, end - _start(self._next)))

    def _mux(self, packet: Packet[AudioStream]) -> None:
        with writing(self._path):
            self._container.mux(packet)


def voice_packets(
    container: OutputContainer, voice: Voice, start: Fraction, suffix: str, stack: ExitStack
) -> Iterator[Packet[AudioStream]]:
    """Add a sound stream for ``voice`` to ``container``, and return the packets to mux.

    Args:
        container: the output.
        voice: the sound.
        start: output time in seconds of the voice's time 0.
        suffix: of the output, which decides whether packets are copied.
        stack: keeps the voice's file open while packets are read.
    """
    source, stream = stack.enter_context(sounding(voice.path))
    if _is_copied(stream, suffix):
        copy = container.add_stream_from_template(stream)
        # Matroska has no negative timestamps: pre-roll before 0 would shift the video, so it is left out.
        earliest = max(start - LEAD, Fraction(0)) if suffix == ".mkv" else start - LEAD
        return _copied(source.demux(stream), copy, voice, start, earliest)
    rate = stream.rate if stream.rate in AAC_RATES else 48_000
    layout = _layout(stream.channels)
    return encoded(container, samples_from(voice.path, rate, layout), rate, layout, start)


def _is_copied(stream: AudioStream, suffix: str) -> bool:
    """Whether packets are copied into a container; MP4 has no MP3 with less than `MP3_RATE` Hz, as of dictaphones."""
    codec = stream.codec.canonical_name
    return codec in COPIED[suffix] and not (codec == "mp3" and suffix == ".mp4" and stream.rate < MP3_RATE)


def joined_packets(
    container: OutputContainer, voice: Voice, own: Path, start: Fraction
) -> Iterator[Packet[AudioStream]]:
    """Add an AAC stream to ``container``, and return its packets: ``voice``, continued by the sound of ``own``.

    It has the higher of the two sample rates and the larger number of channels, so that neither loses quality.
    """
    with sounding(voice.path) as (_, said), sounding(own) as (_, heard):
        rate = max((r for r in (said.rate, heard.rate) if r in AAC_RATES), default=48_000)
        layout = _layout(max(said.channels, heard.channels))
    blocks = continued(samples_from(voice.path, rate, layout), samples_from(own, rate, layout), round(FADE * rate))
    return encoded(container, blocks, rate, layout, start)


def continued(first: Iterable[Float], then: Iterable[Float], fade: int) -> Iterator[Float]:
    """(channels, n) blocks of ``first``, continued by ``then`` from the sample on at which ``first`` ends.

    ``then`` is faded in over ``fade`` samples: it would click if it started abruptly.
    """
    length = position = 0
    for block in first:
        yield block
        length += block.shape[1]
    for block in then:
        rest = block[:, max(0, length - position) :]
        position += block.shape[1]
        if rest.shape[1]:
            since = np.arange(position - rest.shape[1], position) - length
            yield rest * np.minimum(1, (since + 1) / fade).astype(np.float32)


def encoded(
    container: OutputContainer, blocks: Iterable[Float], rate: int, layout: str, start: Fraction
) -> Iterator[Packet[AudioStream]]:
    """Add an AAC stream to ``container``, and return the packets of consecutive (channels, n) float32 ``blocks``."""
    stream = container.add_stream("aac", rate=rate, layout=layout)
    stream.bit_rate = BIT_RATE
    return _encoded(stream, blocks, layout, round(start * rate))


def _copied(
    packets: Iterator[Packet[AudioStream]], copy: AudioStream, voice: Voice, start: Fraction, earliest: Fraction
) -> Iterator[Packet[AudioStream]]:
    try:
        for packet in packets:
            if packet.pts is None or not packet.size:  # such as the demuxer's flush packet
                continue
            packet.pts += round((start - voice.origin) / packet.time_base)
            packet.dts = packet.pts
            if _start(packet) >= earliest:
                packet.stream = copy
                yield packet
    except av.FFmpegError as error:
        raise InputError(f"{voice.path}: its sound is damaged; convert it to wav") from error


def _encoded(stream: AudioStream, blocks: Iterable[Float], layout: str, place: int) -> Iterator[Packet[AudioStream]]:
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = stream.rate, Fraction(1, stream.rate), place
        place += block.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _layout(channels: int) -> str:
    return LAYOUTS.get(channels, "stereo")


def _start(packet: Packet[AudioStream]) -> Fraction:
    return (packet.pts or 0) * packet.time_base


def _length(packet: Packet[AudioStream]) -> Fraction:
    return (packet.duration or 0) * packet.time_base


def _shortened(packet: Packet[AudioStream], length: Fraction) -> Packet[AudioStream]:
    """``packet`` with a duration of ``length`` seconds; PCM data is truncated, as its size determines its duration."""
    codec = packet.stream.codec_context
    cut = packet
    if codec.name.startswith("pcm_"):
        sample = packet.size // round(_length(packet) * codec.sample_rate)
        cut = cast("Packet[AudioStream]", Packet(bytes(packet)[: int(length * codec.sample_rate) * sample]))
        cut.stream, cut.time_base, cut.pts, cut.dts = packet.stream, packet.time_base, packet.pts, packet.dts
    cut.duration = int(length / packet.time_base)
    return cut
