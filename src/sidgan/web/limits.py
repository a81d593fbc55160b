"""Limits for users: sizes and counts, request rates, wrong tokens, and simultaneous uploads and streams."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from sidgan.errors import SidganError

KNOWN = 10_000  #: keys that are remembered, such as network addresses


class RefusedError(SidganError):
    """A request is refused.

    Attributes:
        status: HTTP status.
        code: one word for programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a service; upper limits, unless stated otherwise.

    Attributes:
        upload: bytes of a file.
        seconds: length of a video or voice.
        pixels: pixels of a frame.
        photo: pixels of a photo, which is reduced to 2000 px when it is read.
        rate: average frames per second.
        files, bytes: number and total size of the files of one user.
        jobs: unfinished jobs of one user.
        all_jobs: unfinished jobs of all users together.
        uploads: simultaneous uploads of one user.
        all_uploads: simultaneous uploads of all users together.
        streams: simultaneous event streams of one user.
        silence: seconds without data after which a request that has not arrived completely is dropped.
        requests: average requests per second from one address.
        burst: requests at once from one address.
        adapt: minutes of adaptation to a face.
        keep: hours that files are kept after they were last used, and results after they were made.
        spare: bytes that must stay free on the disk.
    """

    upload: int = 1 << 30
    seconds: float = 900.0
    pixels: int = 3840 * 2160
    photo: int = 64_000_000
    rate: float = 121.0
    files: int = 60
    bytes: int = 4 << 30
    jobs: int = 20
    all_jobs: int = 500
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
    """Rate limiter (token bucket): ``rate`` requests per second on average for each key, and up to ``burst`` at once.

    Memory is bounded: beyond `KNOWN` keys, the least recently seen key is forgotten.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  #: key -> requests left, and when that was
        self._lock = threading.Lock()

    def wait(self, key: str, *, counts: bool = True) -> float:
        """Seconds until a request of ``key`` is allowed; 0 if it is allowed now, which uses it up if it ``counts``."""
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
    """Limits wrong secrets from one address to ten at once and ten per minute.

    Beyond that, a right secret has to wait as well, since guessing could continue otherwise. A secret that was accepted
    from the same address before need not wait, so that an attacker cannot lock out users with the same address.
    """

    def __init__(self) -> None:
        self._pace = Pace(1 / 6, 10)
        self._accepted: set[tuple[str, str]] = set()

    def judge(self, address: str, secret: str, *, right: bool) -> None:
        """Count an attempt with a secret, or with its hash; ``right`` tells whether it is correct.

        Raises:
            RefusedError: too many wrong secrets came from this address.
        """
        if right and (address, secret) in self._accepted:
            return
        wait = self._pace.wait(address, counts=not right)
        if wait:
            raise RefusedError(429, "too_many_guesses", f"too many wrong tokens from your address; wait {wait:.0f} s")
        if right:
            if len(self._accepted) > KNOWN:
                self._accepted.clear()
            self._accepted.add((address, secret))


class Seats:
    """Limits simultaneous activities: at most ``each`` per key, and ``together`` in all."""

    def __init__(self, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Take a place, and return true, if one is free; `leave` gives it back."""
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
