"""Writes a few seconds of a file as a separate file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np

from sidgan.errors import InputError
from sidgan.media.encoders import Encoding
from sidgan.media.mix import RATE
from sidgan.media.pictures import Picture, probe, read_span
from sidgan.media.sound import decode_audio, write_wav
from sidgan.media.writer import Writer

CRF = 12  #: x264's constant quality; better than a dub's, since an excerpt will be encoded again


def write_excerpt(path: Path, video: Path, start: float, end: float) -> float:
    """Write the frames of a video that are shown from ``start`` to before ``end``, without sound.

    Args:
        path: output; ``.mp4``, ``.mov`` or ``.mkv``.
        video: the source.
        start, end: seconds, rounded to milliseconds.

    Returns:
        The time in the source, in seconds, of the first frame; it is at 0 in the excerpt.

    Raises:
        InputError: the video cannot be read, or ends before ``start``.
        OutputError: ``path`` cannot be written.
    """
    clip, first, shift = replace(probe(video), origin=Fraction(0)), None, 0  # timestamps below start at 0
    with Writer(path, clip, encoding=Encoding(crf=CRF)) as writer:
        for frame in read_span(clip, Fraction(round(1000 * start), 1000), Fraction(round(1000 * end), 1000)):
            picture = cast(Picture, frame.handle).video
            if first is None:
                first, shift = frame.time, picture.pts or 0
            picture.pts = (picture.pts or 0) - shift
            writer.write(replace(frame, time=frame.time - first))
        if first is None:
            raise InputError(f"{video} is over at {start:.1f} s; choose an earlier moment")
    return float(first)


def write_sound_excerpt(path: Path, sound: Path, start: float, end: float) -> None:
    """Write the sound from ``start`` to ``end`` seconds, mono at 48 kHz, padded with silence if it ends before.

    Raises:
        InputError: the file has no sound, or cannot be read.
        OutputError: ``path`` cannot be written.
    """
    first, stop, done = round(start * RATE), round(end * RATE), 0
    held = np.zeros(stop - first, np.float32)
    for block in decode_audio(sound, RATE):
        a, b = max(done, first), min(done + len(block), stop)
        if a < b:
            held[a - first : b - first] = block[a - done : b - done]
        done += len(block)
        if done >= stop:
            break
    write_wav(path, held, RATE)
