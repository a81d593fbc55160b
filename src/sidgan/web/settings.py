"""The settings of a service and of its workers, and the files of tokens and secrets."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from sidgan.errors import ConfigError, InputError
from sidgan.settings import require
from sidgan.web.limits import Limits

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MIN_SECRET = 16  #: characters of a token or secret
#: ASCII, since a header has no agreed encoding for other characters.
SECRET = rf"[!-~]{{{MIN_SECRET},500}}"


@dataclass(frozen=True)
class Means:
    """What jobs are done with, see `sidgan.dub`."""

    model: str = "bundled"
    device: str = "auto"
    engine: str = "torch"


@dataclass(frozen=True, kw_only=True)
class Service:
    """The settings of a service.

    Attributes:
        folder: holds all data.
        host, port: address to listen on.
        tokens: hash of a token -> name of its owner; without any, the service listens on loopback only.
        hosts: host names that requests may use.
        limits: what users may do.
        model, device, engine: see `sidgan.dub`.
        workers: number of worker processes that the server starts.
        memory: bytes of memory that a worker may use, including its child processes; if it uses more, its job fails.
        queue: address of the queue engine for remote workers; ``None`` without such.
        worker_secret: hash of the remote workers' secret.
    """

    folder: Path
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: dict[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = LOOPBACK
    limits: Limits = field(default_factory=Limits)
    model: str = "bundled"
    device: str = "auto"
    engine: str = "torch"
    workers: int = 1
    memory: int = 6_000_000_000
    queue: str | None = None
    worker_secret: str | None = None

    def __post_init__(self) -> None:
        require(0 < self.port < 65536, f"port must be 1 to 65535, not {self.port}")
        require(self.workers >= 0, f"workers must not be negative: {self.workers}")
        require((self.queue is None) == (self.worker_secret is None),
                "give --queue and --worker-secret together: workers on other machines need both")
        require(self.worker_secret not in self.tokens, "a user's token cannot be the workers' secret; change one")
        if self.host not in LOOPBACK and not self.tokens:
            raise ConfigError(
                f"{self.host} can be reached by other machines; give --tokens FILE, so that only your users get in "
                f"(a line such as 'anna {secrets.token_urlsafe(24)}' for each)"
            )

    @property
    def address(self) -> str:
        """The URL for a browser on this machine."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def hashed(secret: str) -> str:
    """The SHA-256 of a secret, which is stored instead of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def read_secret(file: Path) -> str:
    """The remote workers' secret: the only line of a file.

    Raises:
        InputError: the file cannot be read.
        ConfigError: it contains something else, or the secret is too short.
    """
    try:
        secret = file.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); check the name") from error
    if not re.fullmatch(SECRET, secret):
        raise ConfigError(f"{file} must hold a secret of at least {MIN_SECRET} ASCII characters and nothing else, "
                          f"such as '{secrets.token_urlsafe(24)}'")  # fmt: skip
    return secret


def read_tokens(file: Path) -> dict[str, str]:
    """Hash of a token -> name of its owner, from a file with a name and a token in each line.

    Empty lines and lines that begin with ``#`` are ignored.

    Raises:
        InputError: the file cannot be read.
        ConfigError: a line is invalid, a token is too short or used twice, or there is no token.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); check the name") from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(rf"\s*([\w.@-]{{1,64}})\s+({SECRET})\s*", line)
        if match is None:
            raise ConfigError(f"{file}, line {number}: give a name and a token of at least {MIN_SECRET} ASCII "
                              f"characters, such as 'anna {secrets.token_urlsafe(24)}'")  # fmt: skip
        if hashed(match[2]) in found:
            raise ConfigError(f"{file}, line {number}: this token is used twice; give each user a different one")
        found[hashed(match[2])] = match[1]
    if not found:
        raise ConfigError(f"{file} holds no token; write a line with a name and a token for each user")
    return found
