"""Which frame of a video is shown at which time of its dub: the one place where the two are told apart.

The first pass looks at frames of the video, the second draws the frames of the output, and the check afterwards
compares the file with what was meant. All three go by one `Timeline`::

    video    0 1 2 3                       four frames, the voice lasts for nine
    cut      0 1 2 3                       (also ``keep``; both differ in the sound only)
    hold     0 1 2 3 | 3 3 3 3 3
    loop     0 1 2 3 | 0 1 2 3 | 0
    pingpong 0 1 2 3 | 2 1 | 0 1 2
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, count, pairwise
from typing import Literal, get_args

Length = Literal["cut", "hold", "loop", "pingpong", "keep"]
LENGTHS: tuple[str, ...] = get_args(Length)


@dataclass(frozen=True)
class Showing:
    """A frame of the output.

    Attributes:
        index: 0-based place in the output.
        source: which frame of the video it is made of.
        time, duration: seconds of the output, exact.
    """

    index: int
    source: int
    time: Fraction
    duration: Fraction


class Timeline:
    """The frames of an output in order; it can be walked any number of times and holds none of them.

    The whole video is always shown once, every frame at its own time. What comes after that, as long as the voice
    goes on, keeps the video's own intervals, whether they are even or not:

    - ``hold``: the last frame again and again, at the median interval of the video.
    - ``loop``: the video anew, shifted by its whole length.
    - ``pingpong``: backwards and forwards, mirrored at its last and first frame, which are not shown twice in a row.

    Args:
        times: seconds at which the video's frames are shown, from 0 on, strictly increasing.
        end: seconds at which its last frame is over.
        voice: seconds at which the voice is over.
        length: what to do about the difference.
    """

    def __init__(self, times: Sequence[Fraction], end: Fraction, voice: Fraction, length: Length) -> None:
        self._times, self._over, self.voice = times, end, voice
        self._length: Length = "hold" if length == "pingpong" and len(times) == 1 else length
        self.repeats = voice > end and length not in ("cut", "keep")  #: a frame of the video may be shown again
        (last,) = deque(self, maxlen=1)
        self._count = last.index + 1
        self.end = last.time + last.duration  #: seconds at which the last frame of the output is over
        self.repeated = (end, self.end)  #: seconds from and to which frames are shown again

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Showing]:
        once, more = len(self._times), self._repeated() if self.repeats else iter([(-1, self._over)])
        places = chain(enumerate(self._times), more)
        for index, ((source, time), (_, after)) in enumerate(pairwise(places)):
            if index >= once and time >= self.voice:
                return
            yield Showing(index, source, time, after - time)

    def _repeated(self) -> Iterator[tuple[int, Fraction]]:
        """Frame of the video and time, without end, of what follows the first showing."""
        last, whole = self._times[-1], len(self._times)
        if self._length == "hold":
            step = self._interval()
            yield from ((whole - 1, self._over + k * step) for k in count())
        elif self._length == "loop":
            yield from ((i, k * self._over + self._times[i]) for k in count(1) for i in range(whole))
        else:
            for k in count(1):
                yield from ((i, 2 * k * last - self._times[i]) for i in range(whole - 2, -1, -1))
                yield from ((i, 2 * k * last + self._times[i]) for i in range(1, whole))

    def _interval(self) -> Fraction:
        steps = sorted(after - before for before, after in pairwise([*self._times, self._over]))
        return steps[(len(steps) - 1) // 2]
