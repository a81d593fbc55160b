"""The server's routes for remote workers, which take jobs, download files, send heartbeats and upload results.

Remote workers share a secret, which gives access to these routes only; user tokens give no access to them. The routes
are not part of the documented API, since they serve only `sidgan.web.away` of the same version.

::

    worker                                       server
      hello: terms, ids of kept files      ─▶    the engine's key; ids to remove
      (the engine gives it a job id)
      take                                 ─▶    the job and a list of its files; the lease begins
      files                                ─▶    their bytes
      beat, beat ...                       ─▶    whether the job is still wanted
      results, in pieces                   ─▶    stored in a staging folder
      finish: digests                      ─▶    compared; then the results are moved, and the job is done
"""

from __future__ import annotations

import hmac
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sidgan.errors import OutputError
from sidgan.files import digest, writing
from sidgan.media import separator
from sidgan.web.access import address_of
from sidgan.web.api import AppParts, IdPath, Parts
from sidgan.web.limits import Guesses, RefusedError
from sidgan.web.queue import REMOTE, Work, files_of
from sidgan.web.schema import Given, Id
from sidgan.web.settings import hashed
from sidgan.web.terms import RESULTS, Terms

MAX_GROWTH = 8  #: size limit of a result, in multiples of that of an upload: encoded again, a video may be larger
MAX_IDS = 1000  #: ids in a greeting
STAGING = ".sent-"  #: prefix of the folders of results whose job is not finished


@dataclass(frozen=True)
class Remote:
    """What remote workers are checked against.

    Attributes:
        secret: hash of the workers' secret.
        terms: of the service.
        key: the engine's key under which this service's jobs are offered.
        guesses: limits wrong secrets.
    """

    secret: str
    terms: Terms
    key: str
    guesses: Guesses


class Hello(Given):
    """A worker's `Terms`, and the ids of the files and jobs in its folder."""

    version: Annotated[str, Field(max_length=100)]
    weights: Annotated[str, Field(max_length=400)]
    engine: Annotated[str, Field(max_length=40)]
    separates: bool = False
    kept: Annotated[list[Id], Field(max_length=MAX_IDS)]


class Taker(Given):
    """The name under which a worker takes a job; used once."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")]


class Holder(Given):
    """The worker name that `take` returned."""

    worker: Annotated[str, Field(max_length=200)]


class Beat(Holder):
    """A heartbeat with the progress, 0 to 1 of a stage."""

    share: Annotated[float, Field(ge=0, le=1)]
    stage: Annotated[str, Field(max_length=400)]


class Finish(Holder):
    """The outcome of a job; ``digests`` maps names of result files to their SHA-256."""

    result: dict[str, Any] | None
    error: Annotated[str | None, Field(max_length=4000)]
    notes: Annotated[list[Annotated[str, Field(max_length=4000)]], Field(max_length=200)]
    digests: dict[str, str]


def require_worker(request: Request) -> None:
    """Refuse requests without the workers' secret."""
    remote: Remote = request.app.state.remote
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    attempt = hashed(secret.strip())
    right = scheme.lower() == "bearer" and hmac.compare_digest(attempt, remote.secret)
    remote.guesses.judge(address_of(request), attempt, right=right)
    if not right:
        raise RefusedError(401, "wrong_secret", "this is not the secret of the service's workers; give --worker-secret "
                           "the file that the service was started with")  # fmt: skip


router = APIRouter(prefix="/api/worker", dependencies=[Depends(require_worker)], include_in_schema=False)
HeldBy = Annotated[str, Query(max_length=200)]


@router.post("/hello")
def hello(request: Request, parts: AppParts, body: Hello) -> dict[str, Any]:
    """The engine's key, and the ids that the worker can remove; refused if its results could differ from local ones."""
    remote: Remote = request.app.state.remote
    terms = replace(remote.terms, separates=separator() is not None)  # checked now, as for each order
    differs = terms.other(Terms(body.version, body.weights, body.engine, body.separates))
    if differs:
        raise RefusedError(409, "differs", differs)
    known = parts.store.known()
    return {"key": remote.key, "drop": [id for id in body.kept if id not in known]}


@router.post("/jobs/{id}/take")
def take(parts: AppParts, id: IdPath, body: Taker) -> dict[str, Any]:
    """The job and a list of its files; the same again if the worker repeats a request whose answer was lost."""
    worker = f"{REMOTE}{body.name}"
    work = parts.queue.held(id, worker) or parts.queue.take(id, worker)
    if work is None:
        raise RefusedError(409, "not_waiting", "this job is no longer waiting")
    for leftover in parts.queue.folder(id).glob(f"{STAGING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    files = [parts.store.file(file, work.owner) for file in dict.fromkeys(files_of(work.spec))]
    return {"worker": work.worker, "kind": work.kind, "spec": work.spec, "files": [
        {"id": file.id, "kind": file.kind, "name": file.name, "suffix": file.suffix, "bytes": file.bytes,
         "facts": file.facts} for file in files if file is not None
    ]}  # fmt: skip


@router.get("/jobs/{id}/files/{file}")
def content(parts: AppParts, id: IdPath, file: IdPath, worker: HeldBy) -> FileResponse:
    """One of the files that the job needs; supports range requests."""
    work = _held(parts, id, worker)
    kept = parts.store.file(file, work.owner) if file in files_of(work.spec) else None
    if kept is None or not parts.store.path(kept).is_file():
        raise RefusedError(404, "no_file", "this job has no such file, or it was deleted")
    return FileResponse(parts.store.path(kept), media_type="application/octet-stream")


@router.post("/jobs/{id}/beat")
def beat(parts: AppParts, id: IdPath, body: Beat) -> dict[str, bool]:
    """Renew the lease; tells whether the job still belongs to this worker."""
    work = parts.queue.held(id, body.worker)
    return {"wanted": work is not None and parts.queue.beat(work, body.share, body.stage)}


@router.post("/jobs/{id}/release", status_code=204)
def release(parts: AppParts, id: IdPath, body: Holder) -> None:
    """Return the job to the queue."""
    parts.queue.release(_held(parts, id, body.worker))


@router.put("/jobs/{id}/results/{name}", status_code=204)
async def receive(
    request: Request, parts: AppParts, id: IdPath, name: str, worker: HeldBy, at: Annotated[int, Query(ge=0)]
) -> None:
    """Store a piece of a result, from byte ``at`` on; pieces come in order, and a repeated one replaces the first."""
    work = await run_in_threadpool(_held, parts, id, worker)
    data = await request.body()  # its size is limited by `Guard`
    await run_in_threadpool(_keep, parts, work, name, at, data)


@router.post("/jobs/{id}/finish", status_code=204)
def finish(parts: AppParts, id: IdPath, body: Finish) -> None:
    """Finish a job, done or failed; results are accepted only if all are complete and their digests match."""
    work, folder = _held(parts, id, body.worker), parts.queue.folder(id)
    result = body.result
    if body.error is None:
        result = {**(body.result or {}), "files": _accepted(parts, work, body)}
    if parts.queue.beat(work, 1.0, ""):  # nobody else takes it while files are moved
        for name in (result or {}).get("files", ()):
            os.replace(_staging(parts, work) / name, folder / name)
        parts.queue.finish(work, result, body.error, body.notes)
        if body.error is None:
            for leftover in folder.glob(".*"):  # staging folders, and unfinished work of a local worker
                shutil.rmtree(leftover, ignore_errors=True)


def _held(parts: Parts, id: str, worker: str) -> Work:
    work = parts.queue.held(id, worker)
    if work is None:
        raise RefusedError(409, "not_yours", "this job no longer belongs to this worker")
    return work


def _staging(parts: Parts, work: Work) -> Path:
    """The folder of a worker's results until the job is finished; hashed, so that the path contains no remote input."""
    return parts.queue.folder(work.id) / f"{STAGING}{hashed(str(work.worker))[:16]}"


def _keep(parts: Parts, work: Work, name: str, at: int, data: bytes) -> None:
    found = RESULTS[work.kind].fullmatch(name)
    if found is None:
        raise RefusedError(422, "unknown_result", f"a {work.kind} has no result of this name")
    limits = parts.service.limits
    if at + len(data) > MAX_GROWTH * limits.upload:
        raise RefusedError(413, "too_large", f"{found[0]} is larger than {MAX_GROWTH * limits.upload / 1e6:.0f} MB, "
                           f"{MAX_GROWTH} times the limit of an upload; raise --max-mb")  # fmt: skip
    if shutil.disk_usage(parts.store.folder).free - len(data) < limits.spare:
        raise RefusedError(507, "disk_full", "the service has no room for this result now; free space and retry")
    file = _staging(parts, work) / found[0]
    try:
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with file.open("ab") as out:
                if out.tell() < at:
                    raise RefusedError(422, "piece_missing", f"{found[0]} lacks a piece before byte {at}")
                out.truncate(at)
                out.write(data)
    except OutputError as error:
        raise RefusedError(507, "disk_full", "the service has no room for this result; free space and retry") from error


def _accepted(parts: Parts, work: Work, body: Finish) -> list[str]:
    """The names of the results; refused unless all arrived complete and unchanged."""
    names = (body.result or {}).get("files")
    if not isinstance(names, list) or not all(isinstance(n, str) and RESULTS[work.kind].fullmatch(n) for n in names):
        raise RefusedError(422, "unknown_result", f"a {work.kind} has no results of these names")
    for name in names:
        file = _staging(parts, work) / name
        if not file.is_file() or digest(file) != body.digests.get(name):
            raise RefusedError(422, "damaged", f"the result {name} did not arrive as it was sent; retry")
    return names
