"""Pictures in any order: a video that is held, repeated, run backwards or entered in its middle, without keeping it."""

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

STRETCH = 32  #: frames read together where the order is not the file's


class Player:
    """Hands out a clip's frames in any order, each as `read_frames` gives it; few are in memory.

    The same frame again costs nothing, the next one reads on, and frame 0 begins anew. Any later one is entered at the
    key frame before it. For an earlier one, the `STRETCH` frames that end with it are read in the same way.

    Args:
        clip: the video.
        times: seconds at which its frames are shown, all of them.
        glances: of each frame, what `glance` saw when the file was read from its beginning. With them, an entry is
            made sure of: some files decode to other pictures when they are entered in their middle.
    """

    def __init__(self, clip: Clip, times: Sequence[Fraction], glances: Sequence[int] = ()) -> None:
        self._clip, self._times, self._glances = clip, times, glances
        self._reader: Iterator[Frame] = iter(())
        self._at = self._next = -1  # the frame last handed out, and the one that the reader comes to
        self._held: dict[int, Frame] = {}

    def frame(self, index: int) -> Frame:
        """Frame ``index`` of the clip.

        Raises:
            InputError: as `read_frames`, or the file has changed since its times were taken.
        """
        begins, last, self._at = index == 0 and self._at != 0, self._at, index
        if index in self._held and not begins:
            return self._held[index]
        if begins or index > last:
            if begins or index != self._next:
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
        """The frames from ``start`` on; what is before them is decoded only where the file cannot be entered later.

        Raises:
            InputError: as `read_frames`.
        """
        return _played(self._clip, self._times, self._glances, start)

    def pick(self, wanted: Sequence[int]) -> Iterator[Frame]:
        """The frames of these numbers, which must rise; of the others only what they build on is decoded.

        Raises:
            InputError: as `read_frames`.
        """
        return _picked(self._clip, self._times, self._glances, wanted)


def _played(clip: Clip, times: Sequence[Fraction], glances: Sequence[int], start: int) -> Iterator[Frame]:
    """See `Player.play`; it must not hold the player that holds it, or files would stay open for long."""
    index = start
    with suppress(InputError):  # reading from the beginning says what is wrong, if anything is
        for frame in read_span(clip, times[start], None) if 0 < start < len(times) else ():
            same = index < len(times) and frame.time == times[index]
            if not same or (glances and glance(frame) != glances[index]):
                break
            yield replace(frame, index=index)
            index += 1
    if index == start or index < len(times):
        yield from read_frames(clip, start=index)


def _picked(clip: Clip, times: Sequence[Fraction], glances: Sequence[int], wanted: Sequence[int]) -> Iterator[Frame]:
    """See `Player.pick`; what does not come so, or not as it was, is played."""
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
