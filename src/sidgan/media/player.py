"""Frames in any order: to pause a video, repeat it, or play it backwards or from the middle, in little memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice

from sidgan.errors import InputError
from sidgan.media.pictures import glance, read_chosen, read_frames, read_span
from sidgan.types import Clip, Frame

STRETCH = 32  #: frames read together when a video is played backwards


class Player:
    """Gives a clip's frames in any order, each as `read_frames` gives it; at most `STRETCH` are in memory.

    Repeating a frame is free, the next one is read on, and frame 0 starts from the beginning. For a later frame, the
    reader seeks to the key frame before it. For an earlier one, it reads the `STRETCH` frames that end with it.

    Args:
        clip: the video.
        times: presentation times of all its frames in seconds.
        glances: checksum of each frame, by `glance`, from reading the file in order. If given, frames after a seek are
            compared with them: some files decode to different frames after a seek.
    """

    def __init__(self, clip: Clip, times: Sequence[Fraction], glances: Sequence[int] = ()) -> None:
        self._clip, self._times, self._glances = clip, times, glances
        self._reader: Iterator[Frame] = iter(())
        self._at = self._next = -1  # indices of the last frame given, and of the reader's next frame
        self._held: dict[int, Frame] = {}

    def frame(self, index: int) -> Frame:
        """Frame ``index`` of the clip.

        Raises:
            InputError: as `read_frames`, or the file has changed since its times were taken.
        """
        restart, last, self._at = index == 0 and self._at != 0, self._at, index
        if index in self._held and not restart:
            return self._held[index]
        if restart or index > last:
            if restart or index != self._next:
                self._reader = self.play(index)
            frames = list(islice(self._reader, 1))
            self._next = index + 1
        else:
            self._reader, self._next = iter(()), -1
            first = max(0, index + 1 - STRETCH)
            frames = list(islice(self.play(first), index + 1 - first))
        self._held = {frame.index: frame for frame in frames}
        if index not in self._held or self._held[index].time != self._times[index]:
            raise InputError(f"{self._clip.path} was changed while it was read; start again without changing it")
        return self._held[index]

    def play(self, start: int) -> Iterator[Frame]:
        """The frames from ``start`` on; all earlier ones are decoded only if the file is not seekable.

        Raises:
            InputError: as `read_frames`.
        """
        return _played(self._clip, self._times, self._glances, start)

    def pick(self, wanted: Sequence[int]) -> Iterator[Frame]:
        """The frames with these indices, which must increase; of the others, only reference frames are decoded.

        Raises:
            InputError: as `read_frames`.
        """
        return _picked(self._clip, self._times, self._glances, wanted)


def _played(clip: Clip, times: Sequence[Fraction], glances: Sequence[int], start: int) -> Iterator[Frame]:
    """See `Player.play`. Not a method, since a reference cycle with the player would keep files open for long."""
    index = start
    with suppress(InputError):  # if there is an error, reading from the beginning will raise it
        for frame in read_span(clip, times[start], None) if 0 < start < len(times) else ():
            same = index < len(times) and frame.time == times[index]
            if not same or (glances and glance(frame) != glances[index]):
                break
            yield replace(frame, index=index)
            index += 1
    if index == start or index < len(times):
        yield from read_frames(clip, start=index)


def _picked(clip: Clip, times: Sequence[Fraction], glances: Sequence[int], wanted: Sequence[int]) -> Iterator[Frame]:
    """See `Player.pick`; from the first frame on that is missing or differs, all frames are decoded instead."""
    left = deque(wanted)
    with suppress(InputError):
        for frame in read_chosen(clip, [times[i] for i in wanted]) if wanted and not clip.tolerant else ():
            if frame.time != times[left[0]] or (glances and glance(frame) != glances[left[0]]):
                break
            yield replace(frame, index=left.popleft())
            if not left:
                return
    rest = {*left}
    yield from (frame for frame in _played(clip, times, glances, left[0]) if frame.index in rest) if left else ()
