"""The API: each route checks its request and calls the store, the uploads or the queue for the request's owner."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.util import find_spec
from threading import Event
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from sidgan.media import separator
from sidgan.version import __version__
from sidgan.web.access import Access, Reader, Writer
from sidgan.web.guard import REPORT_POLICY
from sidgan.web.limits import RefusedError, Seats
from sidgan.web.queue import ENDED, Queue, Work, files_of, length_of
from sidgan.web.schema import FileKind, FileOut, JobOut, Login, Look, Me, Order, Preview, Priority, Problem, WholeDub
from sidgan.web.settings import Service
from sidgan.web.store import Kept, Store
from sidgan.web.uploads import MAX_NAME, Uploads

POLL = 0.5  #: seconds between two queries of a job's state for an event stream
KEEPALIVE = 15.0  #: seconds without an event after which a comment is sent, so that proxies keep the stream open
MIME_TYPES = {
    ".mp4": "video/mp4", ".mkv": "video/x-matroska", ".wav": "audio/wav", ".jpg": "image/jpeg", ".png": "image/png",
    ".html": "text/html; charset=utf-8", ".ogg": "audio/ogg", ".mp3": "audio/mpeg", ".flac": "audio/flac",
    ".webp": "image/webp", ".avif": "image/avif", ".tiff": "image/tiff", ".bmp": "image/bmp",
}  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The components that the routes use.

    Attributes:
        streams: counts open event streams.
        closing: set when the server is to stop, so that event streams end.
    """

    service: Service
    store: Store
    queue: Queue
    uploads: Uploads
    streams: Seats
    closing: Event


def _parts_of(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


AppParts = Annotated[Parts, Depends(_parts_of)]
IdPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "interrupted, or not JSON", 401: "a token is needed", 403: "not from this page",
        404: "no such file or job", 408: "too slow", 409: "not possible now", 410: "deleted", 413: "too large",
        416: "no such range of bytes", 421: "unknown host", 422: "invalid", 429: "too many, or too fast",
        503: "busy", 507: "disk full",
    }.items()
}  # fmt: skip
router = APIRouter(prefix="/api", responses=REFUSALS)
PUBLIC: dict[str, Any] = {"security": [{}]}  #: in the description of a route that needs neither token nor session


class _File(FileResponse):
    """A file, or the range of bytes that is asked for. Starlette refuses a wrong range in plain text; this does not."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                length = Headers(raw=message["headers"]).get("content-range")
                raise HTTPException(message["status"], "the file has no such range of bytes",
                                    {"content-range": length} if length else None)  # fmt: skip
            await send(message)

        await super().__call__(scope, receive, answer)


# ----------------------------------------------------------------------------------------------------------- sessions


@router.get("/me", summary="The current user and the limits", openapi_extra=PUBLIC)
def me(request: Request, parts: AppParts) -> Me:
    """Works without a token too."""
    access: Access = request.app.state.access
    owner, limits = access.of(request), parts.service.limits
    shown = {"upload": limits.upload, "seconds": limits.seconds, "pixels": limits.pixels, "photo": limits.photo,
             "jobs": limits.jobs, "files": limits.files, "keep": limits.keep,
             "adapt": limits.adapt if _can_adapt() else 0.0}  # fmt: skip
    name = owner.partition(":")[2] if owner and owner.startswith("token:") else None
    return Me(known=owner is not None, needs_token=not access.open, name=name, version=__version__, limits=shown,
              separates=separator() is not None)  # fmt: skip


@router.post("/session", status_code=204, openapi_extra=PUBLIC,
             summary="Log in with a token (programs send it with each request instead)")  # fmt: skip
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
def list_files(owner: Reader, parts: AppParts) -> list[FileOut]:
    """All files that are still kept."""
    return [FileOut.of(file) for file in parts.store.files(owner)]


@router.post(
    "/files", status_code=201, summary="Upload a video or photo, or any file with sound as a voice",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {
        "schema": {"type": "string", "format": "binary"}}}}},
)  # fmt: skip
async def upload(
    request: Request, owner: Writer, parts: AppParts, kind: FileKind,
    name: Annotated[str, Query(max_length=MAX_NAME * 4, description="file name, only for display")] = "",
) -> FileOut:  # fmt: skip
    """The body of the request is the file. One that is too large is refused while it arrives."""
    return FileOut.of(await parts.uploads.receive(request, owner, kind, name))


@router.post("/demo", status_code=201, summary="Use the bundled demo clip or voice")
async def demo(owner: Writer, parts: AppParts, kind: FileKind) -> FileOut:
    """The person in the clip is computer-generated."""
    return FileOut.of(await parts.uploads.demo(owner, kind))


@router.get("/files/{id}", summary="Facts about a file")
def get_file(owner: Reader, parts: AppParts, id: IdPath) -> FileOut:
    """Name, kind, size, length and more."""
    return FileOut.of(_file(parts, owner, id))


@router.head("/files/{id}/content", include_in_schema=False)
@router.get("/files/{id}/content", response_class=Response, summary="Content of a file",
            responses={200: {"content": {"application/octet-stream": {}}}})  # fmt: skip
def content(owner: Reader, parts: AppParts, id: IdPath) -> Response:
    """As uploaded; supports range requests."""
    file = _file(parts, owner, id)
    path = parts.store.path(file)
    if not path.is_file():
        raise RefusedError(410, "gone", "this file was deleted")
    kind = "photo" if file.facts.get("still") else file.kind
    return _File(path, media_type=MIME_TYPES.get(file.suffix, "application/octet-stream"),
                 content_disposition_type="inline", filename=f"{kind}{file.suffix}")  # fmt: skip


@router.delete("/files/{id}", status_code=204, summary="Remove a file")
def remove_file(owner: Reader, parts: AppParts, id: IdPath) -> None:
    """Refused while an unfinished job uses the file."""
    _file(parts, owner, id)
    if not parts.store.remove_file(id, owner):
        raise RefusedError(409, "in_use", "an unfinished job needs this file; cancel that first")


# --------------------------------------------------------------------------------------------------------------- jobs


@router.get("/jobs", summary="Your jobs, the newest first")
def list_jobs(owner: Reader, parts: AppParts) -> list[JobOut]:
    """Includes ended jobs, as long as their results are kept."""
    return [_job_out(parts, work) for work in parts.queue.jobs(owner)]


@router.post("/jobs", status_code=201, summary="Start a job: find people, preview, or dub")
def add_job(owner: Writer, parts: AppParts, order: Annotated[Order, Body()]) -> JobOut:
    """The job is queued; follow its events, or poll its state."""
    spec = order.model_dump(exclude={"kind", "priority", "consent"})
    limits = parts.service.limits
    files = {id: _file(parts, owner, id) for id in files_of(spec)}
    video = files[order.video]
    if video.kind != "video":
        raise RefusedError(422, "no_video", f"{video.name} was uploaded as a voice; give a video or photo")
    for voice in (files[id] for id in files_of(spec)[1:]):
        if not voice.facts["sound"]:
            raise RefusedError(422, "no_sound", f"{voice.name} has no sound; give a voice")
    if not isinstance(order, Look):
        if isinstance(order, Preview) and order.at and order.at >= (length := length_of(spec, files)):
            ends = "the voice ends" if video.facts.get("still") else f"{video.name} ends"
            raise RefusedError(422, "too_late", f"{ends} at {length:.1f} s; choose an earlier moment")
        if isinstance(order, WholeDub) and order.adapt is not None:
            _require_adaptable(video, order.adapt, limits.adapt)
        if order.match_loudness and not video.facts["sound"]:
            raise RefusedError(422, "no_sound", f"{video.name} has no sound to match; leave match_loudness out")
        if order.background == "original":
            _require_own_sound(video)
    priority = order.priority if isinstance(order, WholeDub) else 0
    return _job_out(parts, parts.queue.add(owner, order.kind, spec, priority, limits))


@router.get("/jobs/{id}", summary="The state of one job")
def get_job(owner: Reader, parts: AppParts, id: IdPath) -> JobOut:
    """Progress, or the result."""
    return _job_out(parts, _job(parts, owner, id))


@router.get("/jobs/{id}/events", response_class=StreamingResponse, summary="Progress of a job as events",
            responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})  # fmt: skip
def events(owner: Reader, parts: AppParts, id: IdPath) -> StreamingResponse:
    """Server-sent events: each is the job as JSON, the last one when the job has ended."""
    _job(parts, owner, id)
    if not parts.streams.take(owner):
        raise RefusedError(429, "too_many_streams", "too many streams of events at a time; close one")
    unbuffered = {"x-accel-buffering": "no"}  # else nginx in its default settings would hold events back
    return StreamingResponse(_events(parts, owner, id), media_type="text/event-stream", headers=unbuffered)


@router.post("/jobs/{id}/cancel", summary="Stop a job")
def cancel(owner: Reader, parts: AppParts, id: IdPath) -> JobOut:
    """Finished parts are kept for a while, so that the job can be retried."""
    _job(parts, owner, id)
    return _changed(parts, owner, id, parts.queue.cancel(id, owner), "it has already ended")


@router.post("/jobs/{id}/retry", summary="Resume a job that failed or was cancelled")
def retry(owner: Reader, parts: AppParts, id: IdPath) -> JobOut:
    """It resumes where it stopped."""
    _job(parts, owner, id)
    done = parts.queue.retry(id, owner, parts.service.limits)
    return _changed(parts, owner, id, done, "it neither failed nor was cancelled")


@router.patch("/jobs/{id}", summary="Change the priority of an unfinished job")
def prefer(owner: Reader, parts: AppParts, id: IdPath, change: Priority) -> JobOut:
    """Only relative to your own jobs."""
    _job(parts, owner, id)
    return _changed(parts, owner, id, parts.queue.prefer(id, owner, change.priority), "it has already ended")


@router.delete("/jobs/{id}", status_code=204, summary="Remove a job that has ended, with its results")
def remove_job(owner: Reader, parts: AppParts, id: IdPath) -> None:
    """Cannot be undone."""
    _job(parts, owner, id)
    if not parts.queue.remove(id, owner):
        raise RefusedError(409, "not_over", "this job has not ended; cancel it first")


@router.head("/jobs/{id}/files/{name}", include_in_schema=False)
@router.get("/jobs/{id}/files/{name}", response_class=Response, summary="A result of a job",
            responses={200: {"content": {"application/octet-stream": {}}}})  # fmt: skip
def result(
    owner: Reader, parts: AppParts, id: IdPath, name: Annotated[str, Path(max_length=40)],
    download: Annotated[str | None, Query(max_length=2 * MAX_NAME, description="save it under this name")] = None,
) -> Response:  # fmt: skip
    """A file that the job lists among its results."""
    work = _job(parts, owner, id)
    names = (work.result or {}).get("files", ())
    known = next((one for one in names if one == name), None)  # the stored string, so no path comes from the client
    path = parts.queue.folder(id) / str(known)
    if known is None or not path.is_file():
        raise RefusedError(404, "no_file", "this job has no such result")
    media_type = MIME_TYPES.get(path.suffix, "application/octet-stream")
    headers = {"content-security-policy": REPORT_POLICY} if path.suffix == ".html" else {}
    filename = download.replace("/", "_").replace("\\", "_") if download else known
    return _File(path, media_type=media_type, headers=headers, filename=filename,
                 content_disposition_type="attachment" if download else "inline")  # fmt: skip


async def _events(parts: Parts, owner: str, id: str) -> AsyncIterator[str]:
    try:
        last, sent = "", time.monotonic()
        while True:
            work = await run_in_threadpool(parts.queue.get, id, owner)
            if work is None:
                return
            event = json.dumps((await run_in_threadpool(_job_out, parts, work)).model_dump())
            if event != last:
                yield f"data: {event}\n\n"
                last, sent = event, time.monotonic()
            elif time.monotonic() - sent > KEEPALIVE:
                yield ": still here\n\n"
                sent = time.monotonic()
            if work.state in ENDED or parts.closing.is_set():
                return
            await asyncio.sleep(POLL)
    finally:
        parts.streams.leave(owner)


def _require_own_sound(video: Kept) -> None:
    if not video.facts["sound"]:
        raise RefusedError(422, "no_sound", f"{video.name} has no sound of its own; leave background out")
    if separator() is None:
        raise RefusedError(422, "no_tool", "this service cannot separate sound; give music and effects as a file")


def _require_adaptable(video: Kept, minutes: float, most: float) -> None:
    if not _can_adapt():
        raise RefusedError(422, "no_tool", "this service cannot adapt to faces: it needs the extra train")
    if video.facts.get("still"):
        raise RefusedError(422, "photo", f"{video.name} is a photo, which shows too little to adapt; leave adapt out")
    if minutes > most:
        raise RefusedError(422, "too_long", f"at most {most:g} minutes of adaptation are allowed")


def _can_adapt() -> bool:
    """Whether the network can be adapted to faces, which needs the extra ``train``."""
    return find_spec("lightning") is not None


def _job_out(parts: Parts, work: Work) -> JobOut:
    return JobOut.of(work, parts.queue.ahead(work) if work.state == "waiting" else 0)


def _changed(parts: Parts, owner: str, id: str, done: bool, reason: str) -> JobOut:
    """The job after a change; refused with the reason if the change was not ``done``."""
    if not done:
        raise RefusedError(409, "not_now", reason)
    return _job_out(parts, _job(parts, owner, id))


def _file(parts: Parts, owner: str, id: str) -> Kept:
    file = parts.store.file(id, owner)
    if file is None:
        raise RefusedError(404, "no_file", "you have no such file; it may have expired")
    return file


def _job(parts: Parts, owner: str, id: str) -> Work:
    work = parts.queue.get(id, owner)
    if work is None:
        raise RefusedError(404, "no_job", "you have no such job; it may have expired")
    return work
