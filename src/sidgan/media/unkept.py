"""Properties of a video track that are lost in a dub, such as HDR metadata or interlacing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Discard, Disposition

from sidgan.errors import counted
from sidgan.media.source import is_still, video_stream
from sidgan.media.stills import see_through
from sidgan.media.subtitles import FONT
from sidgan.media.timecode import is_timecode, stated

#: Side data of frames that common encoders do not write.
SIDE_DATA = {
    Type.MASTERING_DISPLAY_METADATA: "light levels of HDR",
    Type.CONTENT_LIGHT_LEVEL: "light levels of HDR", Type.DYNAMIC_HDR_PLUS: "dynamic HDR",
    Type.DYNAMIC_HDR_VIVID: "dynamic HDR", Type.DOVI_RPU_BUFFER: "dynamic HDR", Type.DOVI_METADATA: "dynamic HDR",
}  # fmt: skip


def unkept(path: Path, container: InputContainer, first: av.VideoFrame, code: str | None) -> Iterator[str]:
    """Names for users of what a dub of this video loses, judged by its first frame.

    Args:
        path: the video, or photo.
        container: the same, open.
        first: its first frame.
        code: its timecode if it has one that can be kept, see `sidgan.media.timecode.timecode`.
    """
    tracks = sum(not stream.disposition & Disposition.attached_pic for stream in container.streams.video) - 1
    if tracks > 0:
        yield counted(tracks, "further video track")
    if data := sum(not is_timecode(track) and track.discard != Discard.all for track in container.streams.data):
        yield counted(data, "data track")  # FFmpeg discards titles of chapters, which are known otherwise
    if files := sum(not FONT.search(file.mimetype or "") for file in container.streams.attachments):
        yield counted(files, "attached file")
    if any(stream.disposition & Disposition.attached_pic for stream in container.streams.video):
        yield "cover picture"
    if len(first.format.components) in (2, 4) or _alpha_beside(container) or _see_through_photo(path, container):
        yield "transparency"
    if first.interlaced_frame:
        yield "interlacing"
    present = cast("Mapping[Type, object]", first.side_data)
    yield from dict.fromkeys(words for kind, words in SIDE_DATA.items() if kind in present)
    if code is None and any(stated(container)):
        yield "timecode"


def _see_through_photo(path: Path, container: InputContainer) -> bool:
    return is_still(container) and see_through(path)


def _alpha_beside(container: InputContainer) -> bool:
    """Whether alpha is stored beside the pictures, as in WebM (VP8 and VP9), where the decoder ignores it."""
    pictures = video_stream(container)
    return pictures is not None and pictures.metadata.get("alpha_mode", "0") != "0"
