"""What stands before everything: who may call by which name, how often, and what every answer carries."""

from __future__ import annotations

import json
import math
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidgan.web.limits import Pace
from sidgan.web.settings import Service
from sidgan.web.terms import PIECE

PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
#: A report is a page of its own with its style and pictures in it, and nothing that runs.
REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
}  # fmt: skip
READING = ("GET", "HEAD", "OPTIONS")
LETTER = 1 << 16  #: bytes of a request that is not an upload; those are counted as they come


class Guard:
    """Wraps the application.

    It refuses names that the service is not known by, since a stranger's page could otherwise reach a service on
    loopback by a name of its own; requests that another site's page sends; large bodies where none belong; and whoever
    asks too often.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._hosts = app, {host.lower() for host in service.hosts}
        self._pace = Pace(service.limits.requests, service.limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("content-security-policy", PAGE)
                out.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, answer)
            return
        status, code, message, wait = refusal
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        given = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        given += [(b"retry-after", str(math.ceil(wait)).encode())] if wait else []
        await answer({"type": "http.response.start", "status": status, "headers": given})
        await answer({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str, float] | None:
        host = headers.get("host", "")
        if (_parts(f"//{host}").hostname or "") not in self._hosts:
            return 421, "unknown_host", "this service is not known by that name; its owner can add it: --name", 0
        origin = headers.get("origin")
        if scope["method"] not in READING and origin is not None and _parts(origin).netloc != host:
            return 403, "cross_site", "this request comes from the page of another site", 0
        stated = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
        most = PIECE if scope["path"].startswith("/api/worker/") else LETTER
        if scope["path"] != "/api/files" and not (stated.isdecimal() and len(stated) < 9 and int(stated) <= most):
            return 413, "too_large", f"say how long the request is, and send at most {most >> 10} KiB", 0
        client = scope.get("client")
        wait = self._pace.wait(client[0] if client else "")
        if wait:
            return 429, "too_fast", f"too many requests; wait {math.ceil(wait)} s", wait
        return None


def _parts(address: str) -> SplitResult:
    """The parts of an address; none of what is no address, which no name and no host is equal to."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
