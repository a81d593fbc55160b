"""Which frame of the video each frame of the output shows, and when.

The first pass analyses frames of the video, the second draws frames of the output, and the final check compares the
written file with the plan. All three use one `Timeline`::

    video    0 1 2 3                       four frames, the voice lasts for nine
    cut      0 1 2 3                       (also ``keep``; the two differ in the sound only)
    hold     0 1 2 3 | 3 3 3 3 3
    loop     0 1 2 3 | 0 1 2 3 | 0
    pingpong 0 1 2 3 | 2 1 | 0 1 2
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count, islice, pairwise
from typing import Literal, get_args

Length = Literal["cut", "hold", "loop", "pingpong", "keep"]
LENGTHS: tuple[str, ...] = get_args(Length)


@dataclass(frozen=True)
class Showing:
    """A frame of the output.

    Attributes:
        index: 0-based index in the output.
        source: index of the video frame that it shows.
        time, duration: seconds in the output, exact.
    """

    index: int
    source: int
    time: Fraction
    duration: Fraction


class Timeline:
    """The frames of an output, in order, as an iterable; they are computed anew in each iteration and not stored.

    The whole video is always shown once, every frame at its own time. Frames after that, as long as the voice lasts,
    keep the video's own intervals, even if these vary:

    - ``hold``: the last frame repeated, at the median interval of the video.
    - ``loop``: the video repeated from the start.
    - ``pingpong``: backwards and forwards, mirrored at its last and first frame, which are not shown twice in a row.

    Args:
        times: seconds at which the video's frames are shown, starting at 0, strictly increasing.
        end: seconds at which its last frame ends.
        voice: seconds at which the voice ends.
        length: what to do if the voice is longer.
    """

    def __init__(self, times: Sequence[Fraction], end: Fraction, voice: Fraction, length: Length) -> None:
        self._times, self._end, self.voice = times, end, voice
        self._length: Length = "hold" if length == "pingpong" and len(times) == 1 else length
        self.repeats = voice > end and length not in ("cut", "keep")  #: whether frames are shown again
        self.rewinds = self.repeats and self._length != "hold"  #: whether others than the last one are
        (last,) = deque(self, maxlen=1)
        self._count = last.index + 1
        self.end = last.time + last.duration  #: seconds at which the last frame of the output ends
        self.repeated = (end, self.end)  #: seconds from and to which frames are shown again

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Showing]:
        return self.since(0)

    def since(self, first: int) -> Iterator[Showing]:
        """The frames from ``first`` on; the video's own frames before it are skipped at no cost."""
        once, more = len(self._times), self._repeated() if self.repeats else iter([(-1, self._end)])
        own = range(min(first, once), once)
        showings = chain(((i, self._times[i]) for i in own), islice(more, first - own.start, None))
        for index, ((source, time), (_, following)) in enumerate(pairwise(showings), first):
            if index >= once and time >= self.voice:
                return
            yield Showing(index, source, time, following - time)

    def _repeated(self) -> Iterator[tuple[int, Fraction]]:
        """Endless (video frame, time in the output) of what follows after the whole video was shown."""
        last, whole = self._times[-1], len(self._times)
        if self._length == "hold":
            step = self._interval()
            yield from ((whole - 1, self._end + k * step) for k in count())
        elif self._length == "loop":
            yield from ((i, k * self._end + self._times[i]) for k in count(1) for i in range(whole))
        else:
            for k in count(1):
                yield from ((i, 2 * k * last - self._times[i]) for i in range(whole - 2, -1, -1))
                yield from ((i, 2 * k * last + self._times[i]) for i in range(1, whole))

    def _interval(self) -> Fraction:
        steps = sorted(after - before for before, after in pairwise([*self._times, self._end]))
        return steps[(len(steps) - 1) // 2]
