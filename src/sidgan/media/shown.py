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
    times = [time for time, _ in _shown(path)]
    return [time - times[0] for time in times]


def shown_for(path: Path) -> Fraction:
    """For how many seconds the frames of a file are shown: from when the first one is to when the last one ends.

    Raises:
        InputError: as for `shown_times`.
    """
    spans = _shown(path)
    return max(time + length for time, length in spans) - spans[0][0]


def _shown(path: Path) -> list[tuple[Fraction, Fraction]]:
    """When each frame is shown, and for how long, in seconds on the file's clock, sorted."""
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise InputError(f"{path} is no longer a video; it was changed during the work, so start again")
        stream.codec_context.skip_frame = "NONKEY"
        time_base, shown, keys, decoded = stream.time_base or Fraction(1, 1000), list[tuple[int, int]](), 0, 0
        try:
            for packet in container.demux(stream):
                if packet.pts is not None and not packet.is_discard:
                    shown.append((packet.pts, packet.duration or 0))
                    keys += packet.is_keyframe
                decoded += len(packet.decode())
        except av.FFmpegError as error:
            raise unreadable(path, shown[-1][0] * time_base if shown else None, error) from error
    if not shown or decoded < keys:  # some decoders ignore skip_frame and decode every frame
        raise InputError(f"{path} is damaged: {decoded} of {keys} key frames can be decoded; export it again")
    return [(pts * time_base, duration * time_base) for pts, duration in sorted(shown)]
