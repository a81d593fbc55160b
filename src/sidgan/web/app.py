"""The ASGI application: page, API, and what runs in the background: workers and the removal of expired files."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext, suppress
from importlib import resources
from threading import Event

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from sidgan.version import __version__
from sidgan.web import remote
from sidgan.web.access import Access
from sidgan.web.api import Parts, router
from sidgan.web.guard import Guard
from sidgan.web.handout import Feeder, Handout
from sidgan.web.limits import Guesses, RefusedError, Seats
from sidgan.web.log import say
from sidgan.web.prober import Prober
from sidgan.web.queue import Queue
from sidgan.web.settings import Service
from sidgan.web.store import Store
from sidgan.web.supervisor import Supervisor
from sidgan.web.terms import Terms
from sidgan.web.uploads import Uploads

CLEANING = 600.0  #: seconds between two removals of expired files
#: Type of a mistake in a request -> what is said of its field, where Pydantic's own words are not for callers.
PLAIN = {"extra_forbidden": "is not known here; leave it out", "missing": "is missing", "too_short": "is empty"}
#: The files of the page. Only these are served, from memory.
STATIC = {
    "app.css": "text/css", "app.js": "text/javascript", "api.js": "text/javascript", "player.js": "text/javascript",
    "recorder.js": "text/javascript", "words.js": "text/javascript", "icon.svg": "image/svg+xml",
}  # fmt: skip


def create_app(service: Service, closing: Event | None = None) -> Guard:
    """The application of a service; it starts and stops the workers.

    Args:
        service: the settings.
        closing: set by the server when it is to stop, so that event streams end.

    Raises:
        OutputError: the folder cannot be used.
        EngineError: the queue engine for remote workers cannot be used.
    """
    store, prober = Store(service.folder), Prober()
    queue = Queue(store, 3600 * service.limits.keep)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        cleaning = asyncio.create_task(_clean(store))
        with remote_workers, Supervisor(service):
            yield
        cleaning.cancel()
        with suppress(asyncio.CancelledError):
            await cleaning
        prober.close()

    app = FastAPI(
        title="sidgan", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        openapi_url="/api/openapi.json",
        description="Dub video: redraw the mouth of a talking face so that it speaks a new audio track.",
    )  # fmt: skip
    app.state.access = Access(service, store)
    app.state.parts = Parts(
        service, store, queue, Uploads(store, prober, service.limits), Seats(service.limits.streams, 500),
        closing or Event(),
    )  # fmt: skip
    app.include_router(router)
    remote_workers = _remote_workers(app, service, queue)
    _page(app)
    _describe_access(app)
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(sqlite3.OperationalError, _busy)
    app.add_exception_handler(Exception, _broken)
    return Guard(app, service)


def _remote_workers(app: FastAPI, service: Service, queue: Queue) -> AbstractContextManager[object]:
    """Add the routes for remote workers, if the service has any; the context offers jobs to them."""
    if service.queue is None or service.worker_secret is None:
        return nullcontext()
    handout, key = Handout(service.queue), f"sidgan:{queue.store.name()}:next"
    handout.check()
    terms = Terms.of(service.model, service.engine)
    app.state.remote = remote.Remote(service.worker_secret, terms, key, Guesses())
    app.include_router(remote.router)
    return Feeder(queue, handout, key, say)


def _describe_access(app: FastAPI) -> None:
    """Add to the description of the API how a request says whose it is. All routes must be there already."""
    access: Access = app.state.access
    api = app.openapi()  # the description itself, which is served from now on
    api["components"]["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "the user's secret"},
        "session": {"type": "apiKey", "in": "cookie", "name": access.cookie,
                    "description": "set by POST /api/session, or without a token by an open service"},
    }  # fmt: skip
    api["security"] = [{"token": []}, {"session": []}, *([{}] if access.open else [])]


def _page(app: FastAPI) -> None:
    folder = resources.files("sidgan.web") / "static"
    files = {name: (folder / name).read_bytes() for name in (*STATIC, "index.html")}

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    def index(request: Request) -> Response:
        page, access = Response(files["index.html"], media_type="text/html"), app.state.access
        if access.open and access.of(request) is None:  # else parallel first requests would start several sessions
            access.begin(request, page)
        return page

    @app.head("/static/{name}", include_in_schema=False)
    @app.get("/static/{name}", include_in_schema=False)
    def static(name: str) -> Response:
        if name not in STATIC:
            raise RefusedError(404, "not_found", "there is no such page")
        return Response(files[name], media_type=STATIC[name], headers={"cache-control": "no-cache"})


async def _clean(store: Store) -> None:
    while True:
        try:
            await run_in_threadpool(store.forget)
        except (sqlite3.Error, OSError) as error:
            say(f"expired files cannot be removed now ({error}); trying again")
        await asyncio.sleep(CLEANING)


def _problem(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _problem(error.status, error.code, str(error))


def _invalid(request: Request, error: Exception) -> Response:
    """One line about the first invalid value, without the value itself."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:] if part not in ("dub", "frame", "preview", "look"))
    if where == "consent":
        line = "consent must be true: dub only if everybody who is seen or heard agreed to it"
    elif first["type"] == "json_invalid":
        line = "what was sent is not JSON; send an object such as {\"kind\": \"look\", \"video\": \"...\"}"
    elif first["type"] in PLAIN and where:
        line = f"{where} {PLAIN[first['type']]}"
    else:
        line = f"{where}: {first['msg']}" if where else str(first["msg"])
    return _problem(422, "invalid", " ".join(line.split())[:500])


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {408: "too_slow", 416: "no_range"}.get(error.status_code, "http")
    answer = _problem(error.status_code, code, str(error.detail).lower())
    answer.headers.update(error.headers or {})
    return answer


def _busy(request: Request, error: Exception) -> Response:
    """The database is locked for too long, or the disk is full or missing: trying again later may help."""
    say(f"{request.method} {request.url.path}: the service's database cannot be used now ({error})")
    return _problem(503, "busy", "the service is busy; try again later")


def _broken(request: Request, error: Exception) -> Response:
    return _problem(500, "internal", "the service failed; its log says why")
