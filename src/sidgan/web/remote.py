"""What the server does for workers elsewhere: they ask for a job, its files and whether it is still wanted, and send
what came of it.

They are known by a secret of their own, which opens nothing else, as nobody's token opens this. It is no part of the
API that users read about: it serves one program only, which comes with the service and must be of its version.

::

    worker                                       server
      hello: terms, what I keep            ─▶    the engine's key; what to remove
      (the engine gives it a number)
      take                                 ─▶    the job and what its files are; from here on it has a lease
      files                                ─▶    their bytes
      beat, beat ...                       ─▶    whether the job is still wanted
      results, piece by piece              ─▶    kept apart
      finish: digests                      ─▶    compared; then the results count, and the job is done
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
from sidgan.web.api import IdPath, Of, Parts
from sidgan.web.limits import Guesses, RefusedError
from sidgan.web.queue import REMOTE, Work, files_of
from sidgan.web.schema import Given, Id
from sidgan.web.settings import hashed
from sidgan.web.terms import RESULTS, Terms

LARGEST = 8  #: times what an upload may have: a result is encoded anew, and may be larger than what came
KEPT = 1000  #: numbers in a greeting
APART = ".sent-"  #: what names of folders begin with where results lie until they count


@dataclass(frozen=True)
class Remote:
    """What workers elsewhere are compared with.

    Attributes:
        secret: its hash.
        terms: of the service.
        key: where the engine offers this service's jobs.
    """

    secret: str
    terms: Terms
    key: str
    guesses: Guesses


class Hello(Given):
    """A worker's terms, and the files and jobs that it keeps."""

    version: Annotated[str, Field(max_length=100)]
    weights: Annotated[str, Field(max_length=400)]
    engine: Annotated[str, Field(max_length=40)]
    separates: bool = False
    kept: Annotated[list[Id], Field(max_length=KEPT)]


class Taker(Given):
    """Who takes a job: a name that is used once."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,100}$")]


class Holder(Given):
    """What a worker that took a job was called."""

    worker: Annotated[str, Field(max_length=200)]


class Beat(Holder):
    """How far it is."""

    share: Annotated[float, Field(ge=0, le=1)]
    stage: Annotated[str, Field(max_length=400)]


class Finish(Holder):
    """What came of it."""

    result: dict[str, Any] | None
    error: Annotated[str | None, Field(max_length=4000)]
    notes: Annotated[list[Annotated[str, Field(max_length=4000)]], Field(max_length=200)]
    digests: dict[str, str]


def known(request: Request) -> None:
    """Let nobody pass but a worker."""
    remote: Remote = request.app.state.remote
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    given = hashed(secret.strip())
    right = scheme.lower() == "bearer" and hmac.compare_digest(given, remote.secret)
    remote.guesses.judge(address_of(request), given, right=right)
    if not right:
        raise RefusedError(401, "wrong_secret", "this is not the secret of the service's workers; give --worker-secret "
                           "the file that the service was started with")  # fmt: skip


router = APIRouter(prefix="/api/worker", dependencies=[Depends(known)], include_in_schema=False)
HeldBy = Annotated[str, Query(max_length=200)]


@router.post("/hello")
def hello(request: Request, of: Of, given: Hello) -> dict[str, Any]:
    """The engine's key, and what the worker need not keep; refused where it could not do what this one would."""
    remote: Remote = request.app.state.remote
    terms = replace(remote.terms, separates=separator() is not None)  # as orders are accepted by it
    differs = terms.other(Terms(given.version, given.weights, given.engine, given.separates))
    if differs:
        raise RefusedError(409, "differs", differs)
    useful = of.store.known()
    return {"key": remote.key, "drop": [id for id in given.kept if id not in useful]}


@router.post("/jobs/{id}/take")
def take(of: Of, id: IdPath, given: Taker) -> dict[str, Any]:
    """The job and what its files are; said again where the answer did not arrive."""
    worker = f"{REMOTE}{given.name}"
    work = of.queue.held(id, worker) or of.queue.take(id, worker)
    if work is None:
        raise RefusedError(409, "not_waiting", "this job is no longer waiting")
    for left in of.queue.folder(id).glob(f"{APART}*"):
        shutil.rmtree(left, ignore_errors=True)
    files = [of.store.file(file, work.owner) for file in dict.fromkeys(files_of(work.spec))]
    return {"worker": work.worker, "kind": work.kind, "spec": work.spec, "files": [
        {"id": file.id, "kind": file.kind, "name": file.name, "suffix": file.suffix, "bytes": file.bytes,
         "facts": file.facts} for file in files if file is not None
    ]}  # fmt: skip


@router.get("/jobs/{id}/files/{file}")
def content(of: Of, id: IdPath, file: IdPath, worker: HeldBy) -> FileResponse:
    """One of the files that the job needs; parts of it on request."""
    work = _held(of, id, worker)
    kept = of.store.file(file, work.owner) if file in files_of(work.spec) else None
    if kept is None or not of.store.path(kept).is_file():
        raise RefusedError(404, "no_file", "this job has no such file, or it was deleted")
    return FileResponse(of.store.path(kept), media_type="application/octet-stream")


@router.post("/jobs/{id}/beat")
def beat(of: Of, id: IdPath, given: Beat) -> dict[str, bool]:
    """Whether the job is still wanted, from this worker."""
    work = of.queue.held(id, given.worker)
    return {"wanted": work is not None and of.queue.beat(work, given.share, given.stage)}


@router.post("/jobs/{id}/release", status_code=204)
def release(of: Of, id: IdPath, given: Holder) -> None:
    """Give it back."""
    of.queue.release(_held(of, id, given.worker))


@router.put("/jobs/{id}/results/{name}", status_code=204)
async def receive(
    request: Request, of: Of, id: IdPath, name: str, worker: HeldBy, at: Annotated[int, Query(ge=0)]
) -> None:
    """A piece of a result, from byte ``at`` on; pieces come in their order, and one that comes twice counts once."""
    work = await run_in_threadpool(_held, of, id, worker)
    data = await request.body()  # as long as the guard allows
    await run_in_threadpool(_keep, of, work, name, at, data)


@router.post("/jobs/{id}/finish", status_code=204)
def finish(of: Of, id: IdPath, given: Finish) -> None:
    """The job is done, or failed; its results count if they are all there and arrived as they were sent."""
    work, folder = _held(of, id, given.worker), of.queue.folder(id)
    result = given.result
    if given.error is None:
        result = {**(given.result or {}), "files": _accepted(of, work, given)}
    if of.queue.beat(work, 1.0, ""):  # nobody else takes it while files are moved
        for name in (result or {}).get("files", ()):
            os.replace(_apart(of, work) / name, folder / name)
        of.queue.finish(work, result, given.error, given.notes, of.service.limits.keep * 3600)
        if given.error is None:
            for left in folder.glob(".*"):  # pieces, and what a worker that shares the folder began
                shutil.rmtree(left, ignore_errors=True)


def _held(of: Parts, id: str, worker: str) -> Work:
    work = of.queue.held(id, worker)
    if work is None:
        raise RefusedError(409, "not_yours", "this job no longer belongs to this worker")
    return work


def _apart(of: Parts, work: Work) -> Path:
    """Where a worker's results lie until they count; no word of its own is in the path."""
    return of.queue.folder(work.id) / f"{APART}{hashed(str(work.worker))[:16]}"


def _keep(of: Parts, work: Work, name: str, at: int, data: bytes) -> None:
    found = RESULTS[work.kind].fullmatch(name)
    if found is None:
        raise RefusedError(422, "unknown_result", f"a {work.kind} has no result of this name")
    limits = of.service.limits
    if at + len(data) > LARGEST * limits.upload:
        raise RefusedError(413, "too_large", f"{found[0]} is larger than {LARGEST * limits.upload / 1e6:.0f} MB, "
                           f"{LARGEST} times what an upload may have; raise --max-mb")  # fmt: skip
    if shutil.disk_usage(of.store.folder).free - len(data) < limits.spare:
        raise RefusedError(507, "disk_full", "the service has no room for this result now; free space and retry")
    file = _apart(of, work) / found[0]
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


def _accepted(of: Parts, work: Work, given: Finish) -> list[str]:
    """Names of the results, all of which arrived."""
    names = (given.result or {}).get("files")
    if not isinstance(names, list) or not all(isinstance(n, str) and RESULTS[work.kind].fullmatch(n) for n in names):
        raise RefusedError(422, "unknown_result", f"a {work.kind} has no results of these names")
    for name in names:
        file = _apart(of, work) / name
        if not file.is_file() or digest(file) != given.digests.get(name):
            raise RefusedError(422, "damaged", f"the result {name} did not arrive as it was sent; retry")
    return names
