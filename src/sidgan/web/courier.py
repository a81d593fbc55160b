"""How a worker elsewhere talks to the server: over HTTP, with its secret, and again where nobody answers."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from sidgan.errors import ConfigError
from sidgan.files import writing
from sidgan.web.limits import RefusedError
from sidgan.web.settings import LOOPBACK
from sidgan.web.terms import PIECE

BLOCK = 1 << 20
SILENCE = 30.0  #: seconds without a byte after which a request is given up
SLOWEST = 15.0  #: seconds between two attempts at most
BUSY = (502, 503, 504)  #: answers of a proxy whose server is away
Show = Callable[[float], None]
T = TypeVar("T")


class UnreachableError(ConfigError):
    """The server does not answer."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the secret is for one server."""

    def redirect_request(self, *given: Any) -> None:
        """Not followed."""


class Courier:
    """Asks one server.

    Raises:
        ConfigError: it has no such address.
    """

    def __init__(self, server: str, secret: str, say: Callable[[str], None]) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ConfigError(f"--server {server} is not an address; give one such as https://dub.example.org")
        self._at, self._say = f"{server.rstrip('/')}/api/worker/", say
        self._server, self._head = server, {"authorization": f"Bearer {secret}"}
        self._opener = urllib.request.build_opener(_Stay())
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            say(f"{server} does not use https: others on the network can read the videos and the workers' secret")

    def ask(self, path: str, given: Mapping[str, Any], silence: float = SILENCE) -> dict[str, Any]:
        """What the server says; empty where it says nothing.

        Raises:
            RefusedError: it says no. UnreachableError: nothing.
        """
        data, head = json.dumps(given).encode(), {"content-type": "application/json"}
        with self._open(path, "POST", data, head, silence) as told:
            text = self._read(told)
        with suppress(ValueError):
            answer = json.loads(text or b"{}")
            if isinstance(answer, dict):
                return answer
        raise self._unreachable("what answers is something else")

    def patiently(self, call: Callable[[], T]) -> T:
        """What a call gives, tried until the server answers.

        Raises:
            RefusedError: it says no.
        """
        pause, silent = 0.5, False
        while True:
            try:
                return call()
            except UnreachableError as error:
                if not silent:
                    self._say(f"{error}; trying again until it does")
                silent, pause = True, min(2 * pause, SLOWEST)
                time.sleep(pause)

    def fetch(self, path: str, worker: str, out: Path, size: int, show: Show) -> None:
        """A file of so many bytes; what an earlier attempt left is gone on with.

        Raises:
            OutputError: it cannot be written. RefusedError: the server says no.
        """
        where = f"{path}?{urlencode({'worker': worker})}"
        with writing(out):
            out.touch()

        def rest() -> None:
            there = out.stat().st_size
            with self._open(where, "GET", None, {"range": f"bytes={there}-"}) as part:
                if part.status != 206:
                    there = 0
                with writing(out), out.open("r+b") as file:
                    file.truncate(there)
                    file.seek(there)
                    while data := self._read(part):
                        file.write(data)
                        there += len(data)
                        show(there / size)
            if there < size:
                raise self._unreachable("it broke off")

        while out.stat().st_size < size:
            self.patiently(rest)

    def send(self, path: str, worker: str, file: Path, show: Show) -> str:
        """Send a file piece by piece; its SHA-256.

        Raises:
            RefusedError: the server says no.
        """
        size, at, found = file.stat().st_size, 0, hashlib.sha256()
        with file.open("rb") as data:
            while piece := data.read(PIECE):
                where = f"{path}/{quote(file.name)}?{urlencode({'worker': worker, 'at': at})}"
                self.patiently(partial(self._put, where, piece))
                found.update(piece)
                at += len(piece)
                show(at / size)
        return found.hexdigest()

    def _put(self, path: str, data: bytes) -> None:
        self._open(path, "PUT", data, {}).close()

    def _read(self, answer: Any) -> bytes:
        try:
            data: bytes = answer.read(BLOCK)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        return data

    def _open(
        self, path: str, method: str, data: bytes | None, head: Mapping[str, str], silence: float = SILENCE
    ) -> Any:
        request = urllib.request.Request(self._at + path, data, {**self._head, **head}, method=method)
        try:
            return self._opener.open(request, timeout=silence)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from None
        except (OSError, HTTPException) as error:
            raise self._unreachable(getattr(error, "reason", error)) from error

    def _refusal(self, error: urllib.error.HTTPError) -> ConfigError | RefusedError:
        with error:
            text = self._read(error)
        try:
            told = json.loads(text)["error"]
            code, message = str(told["code"]), str(told["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "http", ""
        if error.code in BUSY or code in ("too_fast", "too_many_guesses"):  # others' guesses, if this secret is right
            return self._unreachable(f"it answers {error.code}")
        if code == "http":  # what answers is no service, or one that has no such address
            message = (f"{self._server} answers {error.code}: no service there takes workers; check --server, and that "
                       "it was started with --queue and --worker-secret")  # fmt: skip
        return RefusedError(error.code, code, message)

    def _unreachable(self, reason: object) -> UnreachableError:
        return UnreachableError(f"{self._server} does not answer ({' '.join(str(reason).split())}); check --server")
