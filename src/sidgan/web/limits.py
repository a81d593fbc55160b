"""What a user may ask for, and how often."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from sidgan.errors import SidganError

KNOWN = 10_000  #: addresses whose pace is remembered


class RefusedError(SidganError):
    """A request that is not granted.

    Attributes:
        status: of the HTTP response.
        code: one word for programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a service grants.

    Attributes:
        upload: bytes of a file.
        seconds: length of a video or voice.
        pixels: of a picture.
        rate: frames in a second, on average.
        files, bytes: that one user may keep.
        jobs: that one user may have waiting and running. waiting: of all users together.
        uploads: that one user may send at a time. all_uploads: of all users together.
        streams: of events that one user may listen to.
        silence: seconds without a byte after which an upload is given up.
        requests: in a second from one address, on average. burst: at once.
        adapt: minutes of adaptation.
        keep: hours that files are kept after they were last used, and results after they were made.
        spare: bytes that must stay free on the disk.
    """

    upload: int = 1 << 30
    seconds: float = 900.0
    pixels: int = 3840 * 2160
    rate: float = 121.0
    files: int = 60
    bytes: int = 4 << 30
    jobs: int = 20
    waiting: int = 500
    uploads: int = 4
    all_uploads: int = 64
    streams: int = 16
    silence: float = 30.0
    requests: float = 25.0
    burst: int = 250
    adapt: float = 10.0
    keep: float = 24.0
    spare: int = 1 << 30


class Pace:
    """Lets so many through in a second, by key; whoever waited may do ``burst`` at once.

    Memory is bounded: of more than `KNOWN` keys, those that were not seen for longest are forgotten.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, key: str, *, counts: bool = True) -> float:
        """Seconds until ``key`` may ask again: 0 where it may now, which counts unless it is to be told only."""
        with self._lock:
            now = time.monotonic()
            left, last = self._left.pop(key, (self._burst, now))
            left = min(self._burst, left + (now - last) * self._rate)
            granted = left >= 1
            self._left[key] = left - (granted and counts), now
            if len(self._left) > KNOWN:
                self._left.popitem(last=False)
            return 0.0 if granted else (1 - left) / self._rate


class Guesses:
    """Wrong secrets: ten at once from an address, and ten in a minute; after that none from there is judged.

    A right one has to wait as well then, or guessing would cost nothing. One that came from the same address before
    need not: whoever guesses locks out nobody beside them.
    """

    def __init__(self) -> None:
        self._pace = Pace(1 / 6, 10)
        self._welcome: set[tuple[str, str]] = set()

    def judge(self, address: str, secret: str, *, right: bool) -> None:
        """Let a secret, or its hash, be judged.

        Raises:
            RefusedError: not now.
        """
        if right and (address, secret) in self._welcome:
            return
        wait = self._pace.wait(address, counts=not right)
        if wait:
            raise RefusedError(429, "too_many_guesses", f"too many wrong tokens from your address; wait {wait:.0f} s")
        if right:
            if len(self._welcome) > KNOWN:
                self._welcome.clear()
            self._welcome.add((address, secret))


class Seats:
    """Counts who does something at the moment: so many of one key, so many together."""

    def __init__(self, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether there is a place; `leave` gives it back."""
        with self._lock:
            free = self._taken.get(key, 0) < self._each and sum(self._taken.values()) < self._together
            if free:
                self._taken[key] = self._taken.get(key, 0) + 1
            return free

    def leave(self, key: str) -> None:
        """Give a place back."""
        with self._lock:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
