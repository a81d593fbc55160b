"""A video stream being encoded, with the colour tags, pixel aspect ratio and timestamps of its source frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, cast

import av
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from sidgan.media.encoders import Encoding
from sidgan.media.pictures import arranged
from sidgan.types import Clip


@dataclass(frozen=True)
class Look:
    """What an encoder must know about frames besides their samples.

    Attributes:
        layout: FFmpeg's name of the pixel format.
        width, height: px as stored, before rotation.
        time_base: seconds per tick of their timestamps.
        shape: pixel aspect ratio, width to height; ``None`` if the file does not specify it.
        tags: colour space, range, primaries and transfer, as codes of ITU-T H.273.
    """

    layout: str
    width: int
    height: int
    time_base: Fraction
    shape: Fraction | None
    tags: tuple[int, int, int, int]

    @classmethod
    def of(cls, picture: av.VideoFrame, clip: Clip | None = None) -> Look:
        """The look of a frame, with the pixel aspect ratio of its clip."""
        tags = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
        time_base, shape = cast(Fraction, picture.time_base), None if clip is None else clip.shape
        return cls(picture.format.name, picture.width, picture.height, time_base, shape, tags)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Look:
        """The inverse of `to_dict`."""
        shape = None if values["shape"] is None else Fraction(values["shape"])
        exact = {"time_base": Fraction(values["time_base"]), "shape": shape, "tags": tuple(values["tags"])}
        return cls(**(values | exact))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"time_base": str(self.time_base), "shape": self.shape and str(self.shape)}


class PictureStream:
    """A stream of ``container`` for frames of one look.

    Args:
        container: where the stream is added.
        look: of all its frames.
        rate: average frames per second.
        encoding: how frames are encoded.
        shift: seconds to add to a frame's time to get its time in the file.
    """

    def __init__(
        self, container: OutputContainer, look: Look, rate: Fraction, encoding: Encoding, shift: Fraction
    ) -> None:
        self.look, self._shift = look, shift
        size = look.width, look.height
        self.stream: VideoStream = encoding.stream(container, look.layout, size, rate, look.time_base)
        context = self.stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = look.tags
        if look.shape is not None:
            context.sample_aspect_ratio = look.shape

    def encode(self, picture: av.VideoFrame, time: Fraction, duration: Fraction) -> list[Packet[VideoStream]]:
        """Encode a frame, shown at ``time`` for ``duration`` seconds; the packets that are ready by now."""
        picture.pts = round((time + self._shift) / self.look.time_base)
        picture.duration = round(duration / self.look.time_base)
        return self.stream.encode(arranged(picture, self.stream.pix_fmt))

    def flush(self) -> list[Packet[VideoStream]]:
        """The remaining packets; the encoder takes no more frames."""
        return self.stream.encode(None)
