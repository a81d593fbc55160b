"""Stretches of encoded pictures in small files of their own, which are joined later without encoding them again.

A segment begins with a picture that needs no other and is complete in itself: it comes from an encoder that saw nothing
else. Its file holds the packets as they left that encoder, with exact times, since a container would round them, shift
them or note them in ways of its own::

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

HEAD = struct.Struct("<qqBI")  #: presentation time and duration in ticks, whether it is a key frame, bytes
FOOT = struct.Struct("<III")  #: number of packets, their `depth`, CRC-32 of all bytes before


class SegmentWriter:
    """Encode frames as `Writer` does, into a segment. Use it as a context manager; the file appears when complete.

    Args:
        path: the segment.
        like: the clip whose frames are going to be written.
        encoding: how.
        suffix: of the container that it will be joined into.

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
            # Nothing is written into it, but encoders are told by a container how they are to be set up.
            self._container = stack.enter_context(av.open(io.BytesIO(), "w", format=self._muxer))
            self._stack = stack.pop_all()
        return self

    def write(self, frame: Frame) -> None:
        """Encode one frame, edited or not; frames must come in order.

        Raises:
            OutputError: the disk is full or went away.
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
    """Close a file that either is all on the disk already, or was given up with an error that is to be told."""
    with suppress(OSError):
        file.close()


@dataclass(frozen=True)
class Piece:
    """A packet of a segment: when it is shown and for how long, in ticks, whether it is a key frame, and its bytes."""

    shown: int
    duration: int
    key: bool
    data: bytes


class Segment:
    """A segment on disk.

    Attributes:
        look: of its pictures.
        extradata: what a decoder must know before the first of them.
        count: pictures.
        depth: see `depth`.

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
    """By how many places, at most, a packet comes later in decoding order than in order of presentation."""
    place = {pts: index for index, pts in enumerate(sorted(shown))}
    return max((index - place[pts] for index, pts in enumerate(shown)), default=0)


def decoding_times(shown: list[int], before: list[int]) -> list[int]:
    """When the packets of a segment are to be decoded, in ticks, in decoding order.

    A packet takes the time at which the picture is shown that is as many places earlier in order of presentation as
    the largest `depth` of all segments. Such times increase strictly, and none is later than its own picture is shown,
    however uneven the clock and wherever a new encoder took over.

    Args:
        shown: presentation times of the packets in decoding order, ticks.
        before: presentation times of the pictures before them, in order, as many as that largest depth.
    """
    return [*before, *sorted(shown)][: len(shown)]


def earlier(shown: list[int], duration: int, depth: int) -> list[int]:
    """``depth`` presentation times, in ticks, to stand before the first segment's, as an encoder would make them up."""
    order = sorted(shown)
    if len(order) > depth:
        return [time - (order[depth] - order[0]) for time in order[:depth]]
    return [order[0] - (depth - i) * max(1, duration) for i in range(depth)]
