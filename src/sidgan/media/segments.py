"""Segments: stretches of encoded frames in separate files, which are joined later without encoding them again.

Each segment is encoded by a new encoder, so it starts with a key frame and does not depend on any other. Its file holds
the encoder's packets with exact timestamps; a container would round or shift them::

    {"look": ..., "extradata": ...}     a line of JSON
    pts duration key size | packet      for each packet, in decoding order
    count depth crc32                   what `Segment` checks
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast
from zlib import crc32

import av
from av.packet import Packet
from av.video.stream import VideoStream

from sidgan.errors import InputError
from sidgan.media.encoders import MUXERS, Encoding
from sidgan.media.files import finished, writing
from sidgan.media.pictures import Picture
from sidgan.media.stream import Look, PictureStream
from sidgan.types import Clip, Frame

HEAD = struct.Struct("<qqBI")  #: presentation time and duration in ticks, whether it is a key frame, size in bytes
FOOT = struct.Struct("<III")  #: number of packets, their `depth`, CRC-32 of all preceding bytes


class SegmentWriter:
    """Encodes frames as `Writer` does, into a segment. Use it as a context manager; the file appears when complete.

    Args:
        path: output.
        like: the clip whose frames are going to be written.
        encoding: how frames are encoded.
        suffix: of the container into which the segment will be joined.

    Raises:
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, like: Clip, encoding: Encoding, suffix: str) -> None:
        self._path, self._like, self._encoding = path, like, encoding
        self._stack = ExitStack()
        self._muxer = MUXERS[suffix]
        self._pictures: PictureStream | None = None
        self._sum, self._shown = 0, list[int]()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            part = stack.enter_context(finished(self._path))
            with writing(self._path):
                self._file: BinaryIO = part.open("wb")
            stack.callback(_close, self._file)
            # Nothing is written into this container, but the encoder's setup depends on its format.
            self._container = stack.enter_context(av.open(io.BytesIO(), "w", format=self._muxer))
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame, edited or not; frames must come in order.

        Raises:
            OutputError: writing failed, for example because the disk is full.
        """
        picture = cast(Picture, frame.handle).video
        if self._pictures is None:
            self._pictures = self._begin(picture)
        self._add(self._pictures.encode(picture, frame.time, frame.duration))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._pictures is not None:
                self._add(self._pictures.flush())
            with writing(self._path):
                self._file.write(FOOT.pack(len(self._shown), depth(self._shown), self._sum))
                self._file.flush()
                os.fsync(self._file.fileno())

    def _begin(self, first: av.VideoFrame) -> PictureStream:
        look = Look.of(first, self._like)
        pictures = PictureStream(self._container, look, self._like.frame_rate, self._encoding, self._like.begin)
        pictures.stream.codec_context.open()
        extradata = (pictures.stream.codec_context.extradata or b"").hex()
        self._put(json.dumps({"look": look.to_dict(), "extradata": extradata}).encode() + b"\n")
        return pictures

    def _add(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            data, shown = bytes(packet), packet.pts or 0
            self._put(HEAD.pack(shown, packet.duration or 0, packet.is_keyframe, len(data)))
            self._put(data)
            self._shown.append(shown)

    def _put(self, data: bytes) -> None:
        with writing(self._path):
            self._file.write(data)
        self._sum = crc32(data, self._sum)


def _close(file: BinaryIO) -> None:
    """Close a file without raising: it is either on disk completely, or being removed because of another error."""
    with suppress(OSError):
        file.close()


@dataclass(frozen=True)
class Piece:
    """A packet of a segment: presentation time and duration in ticks, whether it is a key frame, and its bytes."""

    shown: int
    duration: int
    key: bool
    data: bytes


class Segment:
    """A segment on disk.

    Attributes:
        look: format of its frames.
        extradata: the codec's header.
        count: number of frames.
        depth: see the function `depth`.

    Raises:
        InputError: the file is missing, damaged or incomplete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                line = file.readline()
                header = json.loads(line)
                self.look, self.extradata = Look.from_dict(header["look"]), bytes.fromhex(header["extradata"])
                left, found = path.stat().st_size - len(line) - FOOT.size, crc32(line)
                while left > 0:
                    data = file.read(min(left, 1 << 20))
                    left, found = left - len(data), crc32(data, found)
                self.count, self.depth, stated = FOOT.unpack(file.read())
        except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
            raise InputError(f"{path} is missing or damaged; start again") from error
        if found != stated:
            raise InputError(f"{path} is damaged; start again")

    def pieces(self) -> Iterator[Piece]:
        """Its packets in decoding order."""
        with self._path.open("rb") as file:
            file.readline()
            for _ in range(self.count):
                shown, duration, key, size = HEAD.unpack(file.read(HEAD.size))
                yield Piece(shown, duration, bool(key), file.read(size))


def depth(shown: list[int]) -> int:
    """The reordering depth: the most positions by which a packet comes later in decoding than in presentation order.

    Args:
        shown: presentation times in decoding order.
    """
    position = {pts: index for index, pts in enumerate(sorted(shown))}
    return max((index - position[pts] for index, pts in enumerate(shown)), default=0)


def decoding_times(shown: list[int], before: list[int]) -> list[int]:
    """The decoding timestamps of a segment's packets, in ticks, in decoding order.

    With all presentation times sorted, the n-th packet gets the one at position n minus the largest `depth` of all
    segments. Such timestamps increase strictly, and none is later than the presentation time of its own packet, even
    with a variable frame rate and across segments.

    Args:
        shown: presentation times of the packets in decoding order, ticks.
        before: presentation times of the frames before them, sorted, as many as that largest depth.
    """
    return [*before, *sorted(shown)][: len(shown)]


def earlier(shown: list[int], duration: int, depth: int) -> list[int]:
    """``depth`` presentation times, in ticks, invented to precede the first segment's, as an encoder would do."""
    order = sorted(shown)
    if len(order) > depth:
        return [time - (order[depth] - order[0]) for time in order[:depth]]
    return [order[0] - (depth - i) * max(1, duration) for i in range(depth)]
