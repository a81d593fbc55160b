"""When the frames of a file are shown, told by its packets: all that is asked of a file that we wrote ourselves."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from sidgan.errors import InputError
from sidgan.media.source import opened, unreadable, video_stream


def shown_times(path: Path) -> list[Fraction]:
    """Seconds at which the frames are shown, in order, on a clock whose 0 is the first of them.

    Only key frames are decoded, which takes a fraction of what all take: one for each stretch that was encoded by
    itself, so that each is known to fit the header it stands under.

    Raises:
        InputError: there is no picture, or a key frame cannot be decoded.
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
    if not shown or decoded < keys:  # some decoders take every frame all the same
        raise InputError(f"{path} is damaged: {decoded} of {keys} key frames can be decoded; export it again")
    shown.sort()
    return [(pts - shown[0]) * time_base for pts in shown]
