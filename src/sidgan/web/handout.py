"""The queue engine between a service and its workers elsewhere: Redis, or what speaks like it.

It holds one thing: the number of the job that is next, where one waits. Workers wait for it without asking again and
again; the one that has waited longest gets it, and then asks the server for the job. So whatever the engine loses or
tells twice, no job is lost or done twice: which job is whose stands in the service's own file alone, and nothing that
others must not see is in the engine.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Self

from sidgan.errors import ConfigError, OutputError
from sidgan.web.queue import Queue

INSTALL = "pip install 'sidgan[queue]'"
TICK = 0.25  #: seconds between two looks at what is next
KEPT = 10  #: seconds after which the engine forgets the number of a server that has died
SILENCE = 30.0  #: seconds without an answer after which the engine is not there


class EngineError(ConfigError):
    """The queue engine cannot be used."""


class Handout:
    """The engine at an address such as ``redis://host:6379/0``, or ``rediss://`` with TLS.

    Raises:
        EngineError: no address of one, or the package for it is not installed.
    """

    def __init__(self, address: str) -> None:
        if find_spec("redis") is None:
            raise EngineError(f"redis, which --queue needs, is not installed; run: {INSTALL}")
        from redis import Redis, RedisError
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.shown = _without_password(address)
        self._errors = (RedisError, OSError)
        try:
            self._redis = Redis.from_url(
                address, protocol=2, decode_responses=True, socket_timeout=SILENCE, socket_connect_timeout=5,
                retry=Retry(NoBackoff(), 1),
            )  # fmt: skip
        except ValueError as error:
            raise EngineError(f"{self.shown} is not the address of a Redis server ({error}); give one such as "
                              "redis://host:6379/0") from None  # fmt: skip

    def check(self) -> None:
        """Raise `EngineError` where it does not answer."""
        try:
            self._redis.ping()
        except self._errors as error:
            raise self._unreachable(error) from error

    def offer(self, key: str, id: str | None) -> None:
        """Let the next worker have this number, and no earlier one; ``None``: nobody anything.

        Raises:
            EngineError: it does not answer.
        """
        try:
            if id is None:
                self._redis.delete(key)
            elif self._redis.lrange(key, 0, -1) == [id]:
                self._redis.expire(key, KEPT)
            else:
                with self._redis.pipeline() as all_or_nothing:
                    all_or_nothing.delete(key)
                    all_or_nothing.rpush(key, id)
                    all_or_nothing.expire(key, KEPT)
                    all_or_nothing.execute()
        except self._errors as error:
            raise self._unreachable(error) from error

    def next(self, key: str, wait: int) -> str | None:
        """The number that is offered, for this worker alone; ``None`` where there is none within ``wait`` s.

        Raises:
            EngineError: it does not answer.
        """
        try:
            found = self._redis.blpop([key], timeout=wait)
        except self._errors as error:
            raise self._unreachable(error) from error
        return None if found is None else str(found[1])

    def _unreachable(self, error: Exception) -> EngineError:
        reason = " ".join(str(error).split()).rstrip(".")
        return EngineError(f"the queue engine at {self.shown} does not answer ({reason}); start it, or mind --queue")


class Feeder:
    """Offers the job that is next, for as long as the server runs. Use it as a context manager."""

    def __init__(self, queue: Queue, handout: Handout, key: str, say: Callable[[str], None]) -> None:
        self._queue, self._handout, self._key, self._say = queue, handout, key, say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def __enter__(self) -> Self:
        self._queue.renew()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Offer nothing any more."""
        self._stop.set()
        self._thread.join()

    def _feed(self) -> None:
        trouble = ""
        while not self._stop.wait(TICK):
            try:
                self._handout.offer(self._key, self._queue.next())
            except (EngineError, OutputError, sqlite3.Error) as error:
                if not trouble:
                    self._say(f"{error}; workers on other machines wait until then")
                trouble = str(error)
            else:
                if trouble:
                    self._say("workers on other machines get jobs again")
                trouble = ""


def _without_password(address: str) -> str:
    scheme, _, rest = address.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest.rpartition("@")[2]
