"""What belongs to the pictures of a video and is not in its dub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition

from sidgan.media.timecode import stated

#: What decoders hand out beside the samples of a picture, and common encoders write nothing of.
BESIDE = {
    Type.MASTERING_DISPLAY_METADATA: "light levels of HDR",
    Type.CONTENT_LIGHT_LEVEL: "light levels of HDR", Type.DYNAMIC_HDR_PLUS: "dynamic HDR",
    Type.DYNAMIC_HDR_VIVID: "dynamic HDR", Type.DOVI_RPU_BUFFER: "dynamic HDR", Type.DOVI_METADATA: "dynamic HDR",
}  # fmt: skip


def unkept(container: InputContainer, first: av.VideoFrame, code: str | None) -> Iterator[str]:
    """What of an open video's pictures no dub takes over, as far as the first of them and its timecode tell."""
    tracks = sum(not stream.disposition & Disposition.attached_pic for stream in container.streams.video) - 1
    if tracks > 0:
        yield f"{tracks} further picture track{'s' * (tracks > 1)}"
    if len(first.format.components) in (2, 4):  # of grey and of colours
        yield "transparency"
    if first.interlaced_frame:
        yield "interlacing"
    beside = cast("Mapping[Type, object]", first.side_data)
    yield from dict.fromkeys(words for kind, words in BESIDE.items() if kind in beside)
    if code is None and any(stated(container)):
        yield "timecode"
