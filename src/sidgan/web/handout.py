"""The queue engine between a service and its remote workers: Redis or a compatible server.

It holds one thing: the id of the next job, if one is waiting. Workers block on it instead of polling; the one that has
waited longest gets the id, and then asks the server for the job. Which worker has which job is recorded only in the
service's database. So if the engine loses an id or delivers it twice, no job is lost or done twice, and the engine
contains nothing confidential.
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
TICK = 0.25  #: seconds between two queries for the next job
EXPIRY = 10  #: seconds after which an id expires if the server that offered it has died
SILENCE = 30.0  #: seconds without an answer after which a request to the engine fails


class EngineError(ConfigError):
    """The queue engine cannot be used."""


class Handout:
    """A client of the engine at an address such as ``redis://host:6379/0``, or ``rediss://`` with TLS.

    Raises:
        EngineError: the address is invalid, or the package `redis` is not installed.
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
        """Raise `EngineError` if the engine does not answer."""
        try:
            self._redis.ping()
        except self._errors as error:
            raise self._unreachable(error) from error

    def offer(self, key: str, id: str | None) -> None:
        """Offer a job id to the next worker, instead of any earlier one; with ``None``, offer nothing.

        Raises:
            EngineError: the engine does not answer.
        """
        try:
            if id is None:
                self._redis.delete(key)
            elif self._redis.lrange(key, 0, -1) == [id]:
                self._redis.expire(key, EXPIRY)
            else:
                with self._redis.pipeline() as transaction:
                    transaction.delete(key)
                    transaction.rpush(key, id)
                    transaction.expire(key, EXPIRY)
                    transaction.execute()
        except self._errors as error:
            raise self._unreachable(error) from error

    def next(self, key: str, wait: int) -> str | None:
        """Take the offered job id; ``None`` if there is none within ``wait`` seconds.

        Raises:
            EngineError: the engine does not answer.
        """
        try:
            found = self._redis.blpop([key], timeout=wait)
        except self._errors as error:
            raise self._unreachable(error) from error
        return None if found is None else str(found[1])

    def _unreachable(self, error: Exception) -> EngineError:
        reason = " ".join(str(error).split()).rstrip(".")
        return EngineError(f"the queue engine at {self.shown} does not answer ({reason}); start it, or check --queue")


class Feeder:
    """A thread that offers the next job to remote workers while the server runs. Use it as a context manager."""

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
        """Stop offering jobs."""
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
