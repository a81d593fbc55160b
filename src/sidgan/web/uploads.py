"""Uploads: counted as they arrive, examined before they are accepted, and never stored under the user's file name."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from sidgan.errors import OutputError
from sidgan.files import writing
from sidgan.web.limits import Limits, RefusedError, Seats
from sidgan.web.prober import Prober
from sidgan.web.store import Kept, Store, new_id

MAX_NAME = 120  #: characters of a file's name
CHECK_EVERY = 1 << 26  #: bytes of an upload after which disk space and the user's total are checked again
DEMO = {"video": "demo.mp4", "voice": "demo_voice.m4a"}


class Uploads:
    """Receives files."""

    def __init__(self, store: Store, prober: Prober, limits: Limits) -> None:
        self._store, self._prober, self._limits = store, prober, limits
        self._seats = Seats(limits.uploads, limits.all_uploads)

    async def receive(self, request: Request, owner: str, kind: str, name: str) -> Kept:
        """Store the body of a request as a file; ``name`` is the user's name for it.

        Raises:
            RefusedError: the file is too large, unsuitable, or one too many, or the disk is full.
        """
        try:
            stated = int(request.headers.get("content-length", "0"))
        except ValueError:
            stated = 0
        if stated > self._limits.upload:
            raise _too_large(self._limits)
        async with self._folder(owner, stated) as folder:
            size = await self._write(folder / "part", request.stream(), owner)
            return await self._accept(folder, owner, kind, _display_name(name, kind), size)

    async def demo(self, owner: str, kind: str) -> Kept:
        """Add the demo clip or voice of the package as a file of an owner.

        Raises:
            RefusedError: the owner has too many files, or the disk is full.
        """
        name = DEMO[kind]
        data = (resources.files("sidgan") / "assets" / name).read_bytes()
        async with self._folder(owner, len(data)) as folder:
            await run_in_threadpool((folder / "part").write_bytes, data)
            return await self._accept(folder, owner, kind, name, len(data))

    @asynccontextmanager
    async def _folder(self, owner: str, size: int) -> AsyncIterator[Path]:
        """A new folder for a file of ``size`` bytes, which is removed if the block fails."""
        if not self._seats.take(owner):
            raise RefusedError(429, "too_many_uploads", "too many uploads at a time; wait for one to end")
        try:
            await run_in_threadpool(self._require_room, owner, size, 0)
            folder = self._store.file_folder(new_id())
            with writing(folder):
                folder.mkdir(mode=0o700)
                try:
                    yield folder
                except BaseException:
                    await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
                    raise
        except OutputError as error:
            raise _disk_full() from error
        finally:
            self._seats.leave(owner)

    def _require_room(self, owner: str, size: int, written: int) -> None:
        """Refuse a file of ``size`` bytes, of which ``written`` are on the disk already, if it is too much."""
        files, held = self._store.usage(owner)
        if files >= self._limits.files or held + size > self._limits.bytes:
            message = f"you have {files} files with {held / 1e6:.0f} MB here, which is the limit; remove some"
            raise RefusedError(409, "too_many_files", message)
        if shutil.disk_usage(self._store.folder).free + written - size < self._limits.spare:
            raise _disk_full()

    async def _write(self, part: Path, chunks: AsyncIterator[bytes], owner: str) -> int:
        """Write an upload chunk by chunk, with one chunk in memory at a time; returns its size in bytes."""
        size, checked = 0, 0
        with part.open("wb") as file:
            try:
                async for chunk in chunks:  # `Guard` limits the time until the next one
                    size += len(chunk)
                    if size > self._limits.upload:
                        raise _too_large(self._limits)
                    if size - checked > CHECK_EVERY:
                        await run_in_threadpool(self._require_room, owner, size, size - len(chunk))
                        checked = size
                    await run_in_threadpool(file.write, chunk)
            except ClientDisconnect:
                raise RefusedError(400, "broken_off", "the upload was interrupted; send it again") from None
        if not size:
            raise RefusedError(422, "empty", "the file is empty; send its bytes as the body of the request")
        return size

    async def _accept(self, folder: Path, owner: str, kind: str, name: str, size: int) -> Kept:
        facts = await self._prober.look(folder / "part", kind, name, self._limits)
        suffix = facts.pop("suffix")
        await run_in_threadpool(self._require_room, owner, size, size)
        return await run_in_threadpool(
            self._store.add_file, folder.name, owner, kind, name, suffix, size, facts, self._limits.keep * 3600
        )


def _display_name(name: str, kind: str) -> str:
    """The user's file name made safe for display: without folders and control characters."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c if c.isprintable() else "?" for c in last)[:MAX_NAME].strip() or kind


def _disk_full() -> RefusedError:
    return RefusedError(507, "disk_full", "the service has no room for more files now; try again later")


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, "too_large", f"the file is larger than the allowed {limits.upload / 1e6:.0f} MB")
