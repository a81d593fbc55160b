"""The API: each route is one call into uploads or queue, for whoever asks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Event
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool

from sidgan.media import separator
from sidgan.version import __version__
from sidgan.web.access import Access, Reader, Writer
from sidgan.web.guard import REPORT
from sidgan.web.limits import RefusedError, Seats
from sidgan.web.queue import ENDED, Queue, Work, files_of
from sidgan.web.schema import FileKind, FileOut, JobOut, Login, Look, Me, Order, Preview, Priority, Problem, WholeDub
from sidgan.web.settings import Service
from sidgan.web.store import Kept, Store
from sidgan.web.uploads import LONGEST, Uploads

TICK = 0.5  #: seconds between two looks at a job that somebody follows
ALIVE = 15.0  #: seconds after which something is sent, whatever happens
TYPES = {
    ".mp4": "video/mp4", ".mkv": "video/x-matroska", ".wav": "audio/wav", ".jpg": "image/jpeg", ".png": "image/png",
    ".html": "text/html; charset=utf-8", ".ogg": "audio/ogg", ".mp3": "audio/mpeg", ".flac": "audio/flac",
}  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What the routes work with; ``closing`` is set when the server is to end, which streams would hold up."""

    service: Service
    store: Store
    queue: Queue
    uploads: Uploads
    streams: Seats
    closing: Event


def parts(request: Request) -> Parts:
    """Of the application that a request came to."""
    return cast(Parts, request.app.state.parts)


Of = Annotated[Parts, Depends(parts)]
IdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "interrupted, or not JSON", 401: "a token is needed", 403: "not from this page",
        404: "no such file or job", 408: "too slow", 409: "not possible now", 410: "deleted", 413: "too large",
        421: "unknown host", 422: "invalid", 429: "too many, or too fast", 503: "busy", 507: "disk full",
    }.items()
}  # fmt: skip
router = APIRouter(prefix="/api", responses=REFUSALS)


# ----------------------------------------------------------------------------------------------------------- sessions


@router.get("/me", summary="The current user and the limits")
def me(request: Request, of: Of) -> Me:
    """Works without a token too."""
    access: Access = request.app.state.access
    owner, limits = access.of(request), of.service.limits
    told = {"upload": limits.upload, "seconds": limits.seconds, "pixels": limits.pixels, "jobs": limits.jobs,
            "files": limits.files, "keep": limits.keep, "adapt": limits.adapt if _learns() else 0.0}  # fmt: skip
    name = owner.partition(":")[2] if owner and owner.startswith("token:") else None
    return Me(known=owner is not None, needs_token=not access.open, name=name, version=__version__, limits=told,
              separates=separator() is not None)  # fmt: skip


@router.post("/session", status_code=204, summary="Log in with a token (programs send it with each request instead)")
def log_in(request: Request, response: Response, login: Login) -> None:
    """Sets a session cookie that scripts cannot read."""
    access: Access = request.app.state.access
    access.log_in(request, response, login.token)


@router.delete("/session", status_code=204, summary="Log out")
def log_out(request: Request, response: Response) -> None:
    """Ends the session of the cookie."""
    request.app.state.access.end(request, response)


# -------------------------------------------------------------------------------------------------------------- files


@router.get("/files", summary="Your files, the newest first")
def list_files(owner: Reader, of: Of) -> list[FileOut]:
    """All files that are still kept."""
    return [FileOut.of(file) for file in of.store.files(owner)]


@router.post(
    "/files", status_code=201, summary="Upload a video, or any file with sound as a voice",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {
        "schema": {"type": "string", "format": "binary"}}}}},
)  # fmt: skip
async def upload(
    request: Request, owner: Writer, of: Of, kind: FileKind,
    name: Annotated[str, Query(max_length=LONGEST * 4, description="what you call it; only shown")] = "",
) -> FileOut:  # fmt: skip
    """The body of the request is the file. One that is too large is refused while it arrives."""
    return FileOut.of(await of.uploads.receive(request, owner, kind, name))


@router.post("/demo", status_code=201, summary="Use the bundled demo clip or voice")
async def demo(owner: Writer, of: Of, kind: FileKind) -> FileOut:
    """The person in the clip is computer-generated."""
    return FileOut.of(await of.uploads.demo(owner, kind))


@router.get("/files/{id}", summary="Facts about a file")
def get_file(owner: Reader, of: Of, id: IdPath) -> FileOut:
    """Name, kind, size, length and more."""
    return FileOut.of(_file(of, owner, id))


@router.get("/files/{id}/content", response_class=Response, summary="Content of a file",
            responses={200: {"content": {"application/octet-stream": {}}}})  # fmt: skip
def content(owner: Reader, of: Of, id: IdPath) -> Response:
    """As uploaded; supports range requests."""
    file = _file(of, owner, id)
    path = of.store.path(file)
    if not path.is_file():
        raise RefusedError(410, "gone", "this file was deleted")
    return FileResponse(path, media_type=TYPES.get(file.suffix, "application/octet-stream"),
                        content_disposition_type="inline", filename=f"{file.kind}{file.suffix}")  # fmt: skip


@router.delete("/files/{id}", status_code=204, summary="Remove a file")
def remove_file(owner: Reader, of: Of, id: IdPath) -> None:
    """Refused while an unfinished job needs the file."""
    _file(of, owner, id)
    if not of.store.remove_file(id, owner):
        raise RefusedError(409, "in_use", "an unfinished job needs this file; cancel that first")


# --------------------------------------------------------------------------------------------------------------- jobs


@router.get("/jobs", summary="Your jobs, the newest first")
def list_jobs(owner: Reader, of: Of) -> list[JobOut]:
    """Includes ended jobs, as long as their results are kept."""
    return [_told(of, work) for work in of.queue.jobs(owner)]


@router.post("/jobs", status_code=201, summary="Start a job: find people, preview, or dub")
def add_job(owner: Writer, of: Of, order: Annotated[Order, Body()]) -> JobOut:
    """The job waits for a worker; follow its events, or ask for its state."""
    spec = order.model_dump(exclude={"kind", "priority", "consent"})
    limits = of.service.limits
    video, *voices = (_file(of, owner, id) for id in files_of(spec))
    if video.kind != "video":
        raise RefusedError(422, "no_video", f"{video.name} was uploaded as a voice; give a video")
    for voice in voices:
        if not voice.facts["sound"]:
            raise RefusedError(422, "no_sound", f"{voice.name} has no sound; give a voice")
    if not isinstance(order, Look):
        if isinstance(order, Preview) and order.at and order.at >= video.facts["seconds"]:
            raise RefusedError(422, "too_late", f"{video.name} ends at {video.facts['seconds']:.1f} s; choose an "
                                                "earlier moment")  # fmt: skip
        adapt = order.adapt if isinstance(order, WholeDub) else None
        if adapt is not None and not _learns():
            raise RefusedError(422, "no_tool", "this service cannot adapt to faces: it needs the extra train")
        if adapt is not None and adapt > limits.adapt:
            raise RefusedError(422, "too_long", f"at most {limits.adapt:g} minutes of adaptation are allowed")
        if order.match_loudness and not video.facts["sound"]:
            raise RefusedError(422, "no_sound", f"{video.name} has no sound to match; leave match_loudness out")
        if order.background == "original":
            _require_own_sound(video)
    priority = order.priority if isinstance(order, WholeDub) else 0
    return _told(of, of.queue.add(owner, order.kind, spec, priority, limits))


@router.get("/jobs/{id}", summary="The state of one job")
def get_job(owner: Reader, of: Of, id: IdPath) -> JobOut:
    """Progress, or the result."""
    return _told(of, _job(of, owner, id))


@router.get("/jobs/{id}/events", response_class=StreamingResponse, summary="Progress of a job as events",
            responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})  # fmt: skip
def events(owner: Reader, of: Of, id: IdPath) -> StreamingResponse:
    """Server-sent events: each is the job as JSON, the last one when the job has ended."""
    _job(of, owner, id)
    if not of.streams.take(owner):
        raise RefusedError(429, "too_many_streams", "too many streams of events at a time; close one")
    return StreamingResponse(_events(of, owner, id), media_type="text/event-stream")


@router.post("/jobs/{id}/cancel", summary="Stop a job")
def cancel(owner: Reader, of: Of, id: IdPath) -> JobOut:
    """Finished parts are kept for a while, so that the job can be retried."""
    _job(of, owner, id)
    return _after(of, owner, id, of.queue.cancel(id, owner), "it has already ended")


@router.post("/jobs/{id}/retry", summary="Resume a job that failed or was cancelled")
def retry(owner: Reader, of: Of, id: IdPath) -> JobOut:
    """It resumes where it stopped."""
    _job(of, owner, id)
    return _after(of, owner, id, of.queue.retry(id, owner, of.service.limits), "it neither failed nor was cancelled")


@router.patch("/jobs/{id}", summary="Change the priority of an unfinished job")
def prefer(owner: Reader, of: Of, id: IdPath, change: Priority) -> JobOut:
    """Only relative to your own jobs."""
    _job(of, owner, id)
    return _after(of, owner, id, of.queue.prefer(id, owner, change.priority), "it has already ended")


@router.delete("/jobs/{id}", status_code=204, summary="Remove a job that has ended, with its results")
def remove_job(owner: Reader, of: Of, id: IdPath) -> None:
    """Cannot be undone."""
    _job(of, owner, id)
    if not of.queue.remove(id, owner):
        raise RefusedError(409, "not_over", "this job has not ended; cancel it first")


@router.get("/jobs/{id}/files/{name}", response_class=Response, summary="A result of a job",
            responses={200: {"content": {"application/octet-stream": {}}}})  # fmt: skip
def result(
    owner: Reader, of: Of, id: IdPath, name: Annotated[str, Path(max_length=40)],
    download: Annotated[str | None, Query(max_length=LONGEST, description="save it under this name")] = None,
) -> Response:  # fmt: skip
    """A file that the job lists among its results."""
    work = _job(of, owner, id)
    names = (work.result or {}).get("files", ())
    known = next((one for one in names if one == name), None)  # the service's own word, never the client's
    path = of.queue.folder(id) / str(known)
    if known is None or not path.is_file():
        raise RefusedError(404, "no_file", "this job has no such result")
    kind = TYPES.get(path.suffix, "application/octet-stream")
    headers = {"content-security-policy": REPORT} if path.suffix == ".html" else {}
    saved = download.replace("/", "_").replace("\\", "_") if download else known
    return FileResponse(path, media_type=kind, headers=headers, filename=saved,
                        content_disposition_type="attachment" if download else "inline")  # fmt: skip


async def _events(of: Parts, owner: str, id: str) -> AsyncIterator[str]:
    try:
        last, sent = "", time.monotonic()
        while True:
            work = await run_in_threadpool(of.queue.get, id, owner)
            if work is None:
                return
            told = json.dumps((await run_in_threadpool(_told, of, work)).model_dump())
            if told != last:
                yield f"data: {told}\n\n"
                last, sent = told, time.monotonic()
            elif time.monotonic() - sent > ALIVE:
                yield ": still here\n\n"
                sent = time.monotonic()
            if work.state in ENDED or of.closing.is_set():
                return
            await asyncio.sleep(TICK)
    finally:
        of.streams.leave(owner)


def _require_own_sound(video: Kept) -> None:
    if not video.facts["sound"]:
        raise RefusedError(422, "no_sound", f"{video.name} has no sound of its own; leave background out")
    if separator() is None:
        raise RefusedError(422, "no_tool", "this service cannot separate sound; give music and effects as a file")


def _learns() -> bool:
    """Whether faces can be learnt first; needs what a plain installation does not have."""
    return find_spec("lightning") is not None


def _told(of: Parts, work: Work) -> JobOut:
    return JobOut.of(work, of.queue.ahead(work) if work.state == "waiting" else 0)


def _after(of: Parts, owner: str, id: str, done: bool, otherwise: str) -> JobOut:
    if not done:
        raise RefusedError(409, "not_now", otherwise)
    return _told(of, _job(of, owner, id))


def _file(of: Parts, owner: str, id: str) -> Kept:
    file = of.store.file(id, owner)
    if file is None:
        raise RefusedError(404, "no_file", "you have no such file; it may have expired")
    return file


def _job(of: Parts, owner: str, id: str) -> Work:
    work = of.queue.get(id, owner)
    if work is None:
        raise RefusedError(404, "no_job", "you have no such job; it may have expired")
    return work
