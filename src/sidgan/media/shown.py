"""Timestamps of a file's frames, from its packets: a fast check of a file written by this package."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from sidgan.errors import InputError
from sidgan.media.source import opened, unreadable, video_stream


def shown_times(path: Path) -> list[Fraction]:
    """Presentation times of the frames in seconds, sorted, with the first frame at 0.

    Only key frames are decoded, which is much faster. Every separately encoded segment starts with one, so this proves
    that each segment fits the file's codec header.

    Raises:
        InputError: there is no frame, or a key frame cannot be decoded.
    """
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{path} is no longer a video; it was changed during the work, so start again")
        stream.codec_context.skip_frame = "NONKEY"
        time_base, shown, keys, decoded = stream.time_base or Fraction(1, 1000), list[int](), 0, 0
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard:
                    shown.append(packet.pts)
                    keys += packet.is_keyframe
                decoded += len(packet.decode())
        except av.FFmpegError as error:
            raise unreadable(path, shown[-1] * time_base if shown else None, error) from error
    if not shown or decoded < keys:  # some decoders ignore skip_frame and decode every frame
        raise InputError(f"{path} is damaged: {decoded} of {keys} key frames can be decoded; export it again")
    shown.sort()
    return [(pts - shown[0]) * time_base for pts in shown]
