"""Pictures in any order: a video that is held, repeated or run backwards, without keeping it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice

from sidgan.errors import InputError
from sidgan.media.pictures import read_frames, read_span
from sidgan.types import Clip, Frame

STRETCH = 32  #: frames read together where the order is not the file's


class Player:
    """Hands out a clip's frames in any order, each as `read_frames` gives it; few are in memory.

    The same frame again costs nothing, the next one reads on, and frame 0 begins anew. For any other, such as the one
    before, the `STRETCH` frames that end with it are read, from the key frame before them on.

    Args:
        clip: the video.
        times: seconds at which its frames are shown, all of them.
    """

    def __init__(self, clip: Clip, times: Sequence[Fraction]) -> None:
        self._clip, self._times = clip, times
        self._reader: Iterator[Frame] = iter(())
        self._at = self._next = -1  # the frame last handed out, and the one that the reader comes to
        self._held: dict[int, Frame] = {}

    def frame(self, index: int) -> Frame:
        """Frame ``index`` of the clip.

        Raises:
            InputError: as `read_frames`, or the file has changed since its times were taken.
        """
        begins, self._at = index == 0 and self._at != 0, index
        if index in self._held and not begins:
            return self._held[index]
        if begins or index == self._next:
            if begins:
                self._reader = read_frames(self._clip)
            frames = list(islice(self._reader, 1))
            self._next = index + 1
        else:
            self._reader, self._next = iter(()), -1
            frames = self._stretch(max(0, index + 1 - STRETCH), index + 1)
        self._held = {frame.index: frame for frame in frames}
        if index not in self._held or self._held[index].time != self._times[index]:
            raise InputError(f"{self._clip.path} was changed while it was read; leave it alone and start again")
        return self._held[index]

    def _stretch(self, first: int, stop: int) -> list[Frame]:
        """Frames ``first`` to before ``stop``."""
        end = self._times[stop] if stop < len(self._times) else None
        frames = list(islice(read_span(self._clip, self._times[first], end), stop - first))
        if [frame.time for frame in frames] != list(self._times[first:stop]):  # an index that is wrong about times
            frames = list(islice(read_frames(self._clip, start=first), stop - first))
        return [replace(frame, index=index) for index, frame in enumerate(frames, first)]
