"""Authentication: a request's owner is the owner of its token, or of the session in its cookie.

Files and jobs belong to an owner, and nobody else sees them. A session that was started with a token acts for whoever
owns that token now, so it ends when the token is removed or changed. A session that was started without a token is its
own owner, and is valid as long as the service needs no tokens.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated

from fastapi import Depends, Request, Response

from sidgan.web.limits import Guesses, RefusedError
from sidgan.web.settings import Service, hashed
from sidgan.web.store import Store

SESSION_LENGTH = 30 * 86400  #: seconds


class Access:
    """Determines the owner of a request, and starts and ends sessions.

    Attributes:
        cookie: name of the cookie of a session.
    """

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self.cookie = f"sidgan-{store.name()[:8]}"  # services on one machine share cookies, whatever their ports
        self._guesses = Guesses()

    @property
    def open(self) -> bool:
        """Whether no token is needed, because only this machine can reach the service."""
        return not self._service.tokens

    def of_token(self, token: str, address: str) -> str:
        """The owner of a token.

        Raises:
            RefusedError: the token is unknown, or there were too many wrong ones from this address.
        """
        name = self._service.tokens.get(hashed(token))
        self._guesses.judge(address, hashed(token), right=name is not None)
        if name is None:
            raise RefusedError(401, "wrong_token", "unknown token; ask the person who runs the service")
        return f"token:{name}"

    def of(self, request: Request) -> str | None:
        """The owner of a request; ``None`` if it has neither a token nor a valid session.

        Raises:
            RefusedError: see `of_token`.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip(), address_of(request))
        cookie = request.cookies.get(self.cookie)
        kind, _, hash = (self._store.owner_of(hashed(cookie)) or "" if cookie else "").partition(":")
        if kind == "session":
            return f"session:{hash}" if self.open else None
        name = self._service.tokens.get(hash)
        return None if name is None else f"token:{name}"

    def begin(self, request: Request, response: Response) -> str:
        """Start a session with a new owner, which is returned; the response sets the cookie."""
        secret = secrets.token_urlsafe(32)
        owner = f"session:{hashed(secret)[:32]}"
        self._add_session(request, response, secret, owner)
        return owner

    def log_in(self, request: Request, response: Response, token: str) -> None:
        """Start a session for a token's owner; the response sets the cookie.

        Raises:
            RefusedError: see `of_token`.
        """
        self.of_token(token, address_of(request))
        self._add_session(request, response, secrets.token_urlsafe(32), f"token:{hashed(token)}")

    def _add_session(self, request: Request, response: Response, secret: str, owner: str) -> None:
        self._store.add_session(hashed(secret), owner, time.time() + SESSION_LENGTH)
        response.set_cookie(
            self.cookie, secret, max_age=SESSION_LENGTH, httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip

    def end(self, request: Request, response: Response) -> None:
        """End the session of the request's cookie."""
        self._store.end_session(hashed(request.cookies.get(self.cookie, "")))
        response.delete_cookie(self.cookie)


def address_of(request: Request) -> str:
    """The client's network address; empty if unknown."""
    return request.client.host if request.client else ""


def reader(request: Request) -> str:
    """The owner for a read request; on an open service, ``nobody`` if there is no session yet.

    Raises:
        RefusedError: a token is needed.
    """
    access: Access = request.app.state.access
    owner = access.of(request)
    if owner is None and not access.open:
        raise RefusedError(401, "token_needed", "give a token: Authorization: Bearer TOKEN, or log in on the page")
    return owner or "nobody"


def writer(request: Request, response: Response) -> str:
    """The owner for a request that adds something; on an open service, a new session starts if there is none yet.

    Raises:
        RefusedError: a token is needed.
    """
    owner = reader(request)
    access: Access = request.app.state.access
    return access.begin(request, response) if owner == "nobody" else owner


Reader = Annotated[str, Depends(reader)]
Writer = Annotated[str, Depends(writer)]
