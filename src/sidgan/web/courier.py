"""The HTTP client of a remote worker: sends the workers' secret, resumes transfers, and retries if asked to."""

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

BLOCK = 1 << 20  #: bytes that are read at a time
SILENCE = 30.0  #: seconds without data after which a request fails
MAX_PAUSE = 15.0  #: seconds between two attempts
UNAVAILABLE = (502, 503, 504)  #: HTTP statuses of a proxy whose server does not answer
Show = Callable[[float], None]
T = TypeVar("T")


class UnreachableError(ConfigError):
    """The server does not answer."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirects, since the secret is for one server only."""

    def redirect_request(self, *args: Any) -> None:
        """Do not follow."""


class Courier:
    """A client of one server.

    Args:
        server: address, with http or https.
        secret: secret of the service's workers.
        say: called with each line for the log.

    Raises:
        ConfigError: ``server`` is not an address.
    """

    def __init__(self, server: str, secret: str, say: Callable[[str], None]) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise ConfigError(f"--server {server} is not an address; give one such as https://dub.example.org")
        self._base, self._say = f"{server.rstrip('/')}/api/worker/", say
        self._server, self._headers = server, {"authorization": f"Bearer {secret}"}
        self._opener = urllib.request.build_opener(_NoRedirects())
        if parts.scheme == "http" and parts.hostname not in LOOPBACK:
            say(f"{server} does not use https: others on the network can read the videos and the workers' secret")

    def ask(self, path: str, values: Mapping[str, Any], silence: float = SILENCE) -> dict[str, Any]:
        """POST values as JSON; returns the JSON object of the response, or an empty one if its body is empty.

        Raises:
            RefusedError: the server refuses.
            UnreachableError: it does not answer.
        """
        data, headers = json.dumps(values).encode(), {"content-type": "application/json"}
        with self._open(path, "POST", data, headers, silence) as response:
            text = self._read(response)
        with suppress(ValueError):
            answer = json.loads(text or b"{}")
            if isinstance(answer, dict):
                return answer
        raise self._unreachable("what answers is not a sidgan service")

    def patiently(self, call: Callable[[], T]) -> T:
        """Repeat a call until the server answers, with growing pauses; returns the call's result.

        Raises:
            RefusedError: the server refuses.
        """
        pause, silent = 0.5, False
        while True:
            try:
                return call()
            except UnreachableError as error:
                if not silent:
                    self._say(f"{error}; trying again until it does")
                silent, pause = True, min(2 * pause, MAX_PAUSE)
                time.sleep(pause)

    def fetch(self, path: str, worker: str, out: Path, size: int, show: Show) -> None:
        """Download a file of ``size`` bytes; a partial file of an earlier attempt is continued.

        Raises:
            OutputError: the file cannot be written.
            RefusedError: the server refuses.
        """
        url = f"{path}?{urlencode({'worker': worker})}"
        with writing(out):
            out.touch()

        def fetch_rest() -> None:
            position = out.stat().st_size
            with self._open(url, "GET", None, {"range": f"bytes={position}-"}) as response:
                if response.status != 206:
                    position = 0
                with writing(out), out.open("r+b") as file:
                    file.truncate(position)
                    file.seek(position)
                    while data := self._read(response):
                        file.write(data)
                        position += len(data)
                        show(position / size)
            if position < size:
                raise self._unreachable("the connection broke off")

        while out.stat().st_size < size:
            self.patiently(fetch_rest)

    def send(self, path: str, worker: str, file: Path, show: Show) -> str:
        """Upload a file in pieces of `PIECE` bytes; returns its SHA-256.

        Raises:
            RefusedError: the server refuses.
        """
        size, at, hash = file.stat().st_size, 0, hashlib.sha256()
        with file.open("rb") as data:
            while piece := data.read(PIECE):
                url = f"{path}/{quote(file.name)}?{urlencode({'worker': worker, 'at': at})}"
                self.patiently(partial(self._put, url, piece))
                hash.update(piece)
                at += len(piece)
                show(at / size)
        return hash.hexdigest()

    def _put(self, path: str, data: bytes) -> None:
        self._open(path, "PUT", data, {}).close()

    def _read(self, response: Any) -> bytes:
        try:
            data: bytes = response.read(BLOCK)
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error
        return data

    def _open(
        self, path: str, method: str, data: bytes | None, headers: Mapping[str, str], silence: float = SILENCE
    ) -> Any:
        request = urllib.request.Request(self._base + path, data, {**self._headers, **headers}, method=method)
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
            problem = json.loads(text)["error"]
            code, message = str(problem["code"]), str(problem["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "http", ""
        if error.code in UNAVAILABLE or code in ("too_fast", "too_many_guesses"):  # others may have guessed; try again
            return self._unreachable(f"it answers {error.code}")
        if code == "http":  # not a service, or one without the routes for remote workers
            message = (f"{self._server} answers {error.code}: no service there takes workers; check --server, and that "
                       "it was started with --queue and --worker-secret")  # fmt: skip
        return RefusedError(error.code, code, message)

    def _unreachable(self, reason: object) -> UnreachableError:
        return UnreachableError(f"{self._server} does not answer ({' '.join(str(reason).split())}); check --server")
