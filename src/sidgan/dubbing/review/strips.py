"""A strip: one picture that compares faces of a video with those of its dub, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np

from sidgan import geometry, media, provenance
from sidgan.errors import InputError, MarkError
from sidgan.faces import search
from sidgan.timeline import Length, Timeline
from sidgan.types import Byte, Clip, Frame


def strip(
    before: Path, after: Path, out: Path, times: Sequence[float] | None = None, *, length: Length = "cut",
    count: int = 6, size: int = 320,
) -> None:  # fmt: skip
    """Write a picture of a face at several moments: from ``before`` in the upper row, from ``after`` below.

    Of several faces in a frame, the one that was changed most is shown; where none was changed, the largest.

    Args:
        before: the source.
        after: its dub.
        out: a ``.png`` file.
        times: seconds of the dub.
        length: how the dub was made longer than the source, as in `sidgan.dub`; a photo is held in any case.
        count: without ``times``, the number of moments, spread evenly over what was redrawn, by the mark of the dub;
            without a mark, over the dub.
        size: side of each face in px.

    Raises:
        InputError: a video cannot be read, or the dub ends before the first of the times.
        OutputError: ``out`` cannot be written.
    """
    source, dubbed = (media.probe(video, tolerant=True) for video in (before, after))  # damaged parts are skipped
    moments = sorted(times) if times is not None else _redrawn(after, dubbed.duration, count)
    filmed = _filmed(source, Fraction(dubbed.duration), "hold" if source.still else length)
    columns: list[Byte] = []
    for pair in zip(filmed, media.read_frames(dubbed), strict=False):
        if len(columns) == len(moments):
            break
        if pair[1].time + pair[1].duration > moments[len(columns)]:
            columns.append(_column(*pair, size))
    if not columns:
        raise InputError(f"{after} ends before {moments[0]} s; give earlier times")
    media.write_png(out, np.concatenate(columns, axis=1))


def _filmed(source: Clip, voice: Fraction, length: Length) -> Iterator[Frame]:
    """The frame of the source that each frame of its dub shows; see `Timeline`."""
    shown, glances, end = list[Fraction](), list[int](), Fraction(0)
    for frame in media.read_frames(source):
        shown.append(frame.time)
        glances.append(media.glance(frame))
        end = frame.time + frame.duration
        yield frame
    player = media.Player(source, shown, glances)
    for showing in islice(Timeline(shown, end, voice, length), len(shown), None):
        yield player.frame(showing.source)


def _redrawn(video: Path, end: float, count: int) -> list[float]:
    """``count`` moments in seconds before ``end``, spread evenly over the redrawn parts of a dub, or else over all."""
    try:
        mark = provenance.read(video)
    except MarkError:
        mark = None
    marked = mark.edited.spans if mark is not None else ()
    spans = [(start, min(stop, end)) for start, stop in marked if start < min(stop, end)] or [(0.0, end)]
    lengths = [stop - start for start, stop in spans]
    before = np.concatenate([[0.0], np.cumsum(lengths)])  # redrawn seconds before each part
    wanted = before[-1] * (np.arange(count) + 0.5) / count
    part = np.searchsorted(before, wanted, side="right") - 1
    return [float(spans[i][0] + t - before[i]) for i, t in zip(part, wanted, strict=True)]


def _column(before: Frame, after: Frame, size: int) -> Byte:
    """(2 ``size``, ``size``, 3): the face that differs most between two frames, from both of them.

    Without a face, the largest square in the middle of the frames.
    """
    squares = [geometry.face_square(face.landmarks) for face in search(geometry.luma8(before))]
    height, width = before.planes[0].shape
    side = min(height, width)
    middle = np.array([width / 2, (height - side) / 2, side], np.float32)
    largest_first = sorted(squares, key=lambda square: -float(square[2])) or [middle]
    units = [geometry.square_matrix(square) for square in largest_first]
    columns = [np.concatenate([geometry.crop_face(frame, unit, size).image for frame in (before, after)])
               for unit in units]  # fmt: skip
    return max(columns, key=lambda column: _difference(column[:size], column[size:]))


def _difference(one: Byte, other: Byte) -> int:
    """Mean difference of two pictures in whole levels of 255, so that what encoding alone changes is mostly none."""
    return round(float(np.abs(one.astype(np.int16) - other).mean()))
