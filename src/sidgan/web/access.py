"""Who asks: the owner of a token, or of a session that a cookie carries. Nobody sees what is another's.

A session that was begun with a token acts for whoever owns that token now, so it ends where the token is taken away or
exchanged; one that was begun without any acts for its own owner, for as long as the service asks for none.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated

from fastapi import Depends, Request, Response

from sidgan.web.limits import Guesses, RefusedError
from sidgan.web.settings import Service, hashed
from sidgan.web.store import Store

COOKIE = "sidgan"
LASTS = 30 * 86400  #: seconds that a session lasts


class Access:
    """Tells who asks."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self._guesses = Guesses()

    @property
    def open(self) -> bool:
        """Whether no token is needed, because only this machine can ask."""
        return not self._service.tokens

    def of_token(self, token: str, address: str) -> str:
        """The owner of a token.

        Raises:
            RefusedError: it is nobody's, or too many were tried.
        """
        name = self._service.tokens.get(hashed(token))
        self._guesses.judge(address, hashed(token), right=name is not None)
        if name is None:
            raise RefusedError(401, "wrong_token", "unknown token; ask the person who runs the service")
        return f"token:{name}"

    def of(self, request: Request) -> str | None:
        """The owner that a request is of, if any.

        Raises:
            RefusedError: it carries a wrong token.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.of_token(token.strip(), address_of(request))
        cookie = request.cookies.get(COOKIE)
        kind, _, which = (self._store.owner_of(hashed(cookie)) or "" if cookie else "").partition(":")
        if kind == "session":
            return f"session:{which}" if self.open else None
        name = self._service.tokens.get(which)
        return None if name is None else f"token:{name}"

    def begin(self, request: Request, response: Response) -> str:
        """Begin a session of a new owner; the cookie goes with the response."""
        secret = secrets.token_urlsafe(32)
        owner = f"session:{hashed(secret)[:32]}"
        self._give(request, response, secret, owner)
        return owner

    def log_in(self, request: Request, response: Response, token: str) -> None:
        """Begin a session of a token's owner; the cookie goes with the response.

        Raises:
            RefusedError: see `of_token`.
        """
        self.of_token(token, address_of(request))
        self._give(request, response, secrets.token_urlsafe(32), f"token:{hashed(token)}")

    def _give(self, request: Request, response: Response, secret: str, owner: str) -> None:
        self._store.add_session(hashed(secret), owner, time.time() + LASTS)
        response.set_cookie(
            COOKIE, secret, max_age=LASTS, httponly=True, samesite="strict", secure=request.url.scheme == "https"
        )  # fmt: skip

    def end(self, request: Request, response: Response) -> None:
        """End the session."""
        self._store.end_session(hashed(request.cookies.get(COOKIE, "")))
        response.delete_cookie(COOKIE)


def address_of(request: Request) -> str:
    """The address of who asks."""
    return request.client.host if request.client else ""


def reader(request: Request) -> str:
    """The owner whose things may be shown; on an open service, nobody's where there is no session yet."""
    access: Access = request.app.state.access
    owner = access.of(request)
    if owner is None and not access.open:
        raise RefusedError(401, "token_needed", "give a token: Authorization: Bearer TOKEN, or log in on the page")
    return owner or "nobody"


def writer(request: Request, response: Response) -> str:
    """The owner whose things may be changed; on an open service, a new one where there is no session yet."""
    owner = reader(request)
    access: Access = request.app.state.access
    return access.begin(request, response) if owner == "nobody" else owner


Reader = Annotated[str, Depends(reader)]
Writer = Annotated[str, Depends(writer)]
