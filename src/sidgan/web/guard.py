"""Middleware in front of everything: checks of host, origin, size and rate of requests, and security headers."""

from __future__ import annotations

import asyncio
import json
import math
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sidgan.web.limits import Pace
from sidgan.web.settings import Service
from sidgan.web.terms import PIECE

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; "
    "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
)
#: For reports, which are self-contained pages with inline style and images, and no scripts.
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"
HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
}  # fmt: skip
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
MAX_BODY = 1 << 16  #: bytes of a request that is not an upload; uploads are counted as they arrive


class Guard:
    """ASGI middleware around the application.

    It refuses unknown host names, since another site could otherwise reach a service on loopback through a host name
    of its own (DNS rebinding); cross-site requests; bodies that are too large or do not arrive; and clients that send
    too many requests.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._hosts = app, {host.lower() for host in service.hosts}
        self._pace = Pace(service.limits.requests, service.limits.burst)
        self._silence = service.limits.silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it to the application; add security headers to every response."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("content-security-policy", PAGE_POLICY)
                out.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, self._patient(receive), answer)
            return
        status, code, message, wait = refusal
        body = json.dumps({"error": {"code": code, "message": message}}).encode()
        extra = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        extra += [(b"retry-after", str(math.ceil(wait)).encode())] if wait else []
        await answer({"type": "http.response.start", "status": status, "headers": extra})
        await answer({"type": "http.response.body", "body": body})

    def _patient(self, receive: Receive) -> Receive:
        """``receive``, which refuses a request if no more of its body arrives for `Limits.silence` seconds."""
        complete = False

        async def receive_soon() -> Message:
            nonlocal complete
            if complete:  # the next message is the end of the connection
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), self._silence)
            except TimeoutError:
                text = f"no data arrived for {self._silence:.0f} s; send it again"
                raise HTTPException(408, text, {"connection": "close"}) from None
            complete = not message.get("more_body", False)
            return message

        return receive_soon

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, str, float] | None:
        """Status, code, message and seconds to wait; ``None`` if the request may pass."""
        host = headers.get("host", "")
        if (_split(f"//{host}").hostname or "") not in self._hosts:
            return 421, "unknown_host", "this service is not known by that name; its owner can add it: --name", 0
        origin = headers.get("origin")
        if scope["method"] not in SAFE_METHODS and origin is not None and _split(origin).netloc != host:
            return 403, "cross_site", "this request comes from the page of another site", 0
        # A length beside a transfer encoding is ignored by HTTP, so it says nothing.
        stated = "" if "transfer-encoding" in headers else headers.get("content-length", "0")
        limit = PIECE if scope["path"].startswith("/api/worker/") else MAX_BODY
        if scope["path"] != "/api/files" and not (stated.isdecimal() and len(stated) < 9 and int(stated) <= limit):
            return 413, "too_large", f"send a Content-Length header, and at most {limit >> 10} KiB", 0
        client = scope.get("client")
        wait = self._pace.wait(client[0] if client else "")
        if wait:
            return 429, "too_fast", f"too many requests; wait {math.ceil(wait)} s", wait
        return None


def _split(address: str) -> SplitResult:
    """The parts of an address; empty parts, which match no host, if it is not a valid one."""
    try:
        return urlsplit(address)
    except ValueError:
        return SplitResult("", "", "", "", "")
