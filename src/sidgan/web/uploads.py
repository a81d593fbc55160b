"""Files in: counted as they come, looked at before they are accepted, and never called by a name of the sender's."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from sidgan.web.limits import Limits, RefusedError, Seats
from sidgan.web.prober import Prober
from sidgan.web.store import Kept, Store, new_id

LONGEST = 120  #: characters of a file's name
DEMO = {"video": "demo.mp4", "voice": "demo_voice.m4a"}


class Uploads:
    """Takes files."""

    def __init__(self, store: Store, prober: Prober, limits: Limits) -> None:
        self._store, self._prober, self._limits = store, prober, limits
        self._seats = Seats(limits.uploads, limits.all_uploads)

    async def receive(self, request: Request, owner: str, kind: str, name: str) -> Kept:
        """The body of a request as a file.

        Raises:
            RefusedError: too large, too slow, too many, no room, or not what it should be.
        """
        try:
            stated = int(request.headers.get("content-length", "0"))
        except ValueError:
            stated = 0
        if stated > self._limits.upload:
            raise _too_large(self._limits)
        async with self._folder(owner, stated) as folder:
            size = await self._written(folder / "part", request.stream(), owner)
            return await self._accept(folder, owner, kind, _shown(name, kind), size)

    async def demo(self, owner: str, kind: str) -> Kept:
        """The clip or the voice that comes with the package, as somebody's file.

        Raises:
            RefusedError: they have too many files, or there is no room.
        """
        name = DEMO[kind]
        data = (resources.files("sidgan") / "assets" / name).read_bytes()
        async with self._folder(owner, len(data)) as folder:
            await run_in_threadpool((folder / "part").write_bytes, data)
            return await self._accept(folder, owner, kind, name, len(data))

    @asynccontextmanager
    async def _folder(self, owner: str, size: int) -> AsyncIterator[Path]:
        """A new folder for a file of so many bytes, which is gone again where the block fails."""
        if not self._seats.take(owner):
            raise RefusedError(429, "too_many_uploads", "too many uploads at a time; wait for one to end")
        try:
            await run_in_threadpool(self._require_room, owner, size)
            folder = self._store.file_folder(new_id())
            folder.mkdir(mode=0o700)
            try:
                yield folder
            except BaseException:
                await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
                raise
        finally:
            self._seats.leave(owner)

    def _require_room(self, owner: str, size: int) -> None:
        files, held = self._store.usage(owner)
        if files >= self._limits.files or held + size > self._limits.bytes:
            told = f"you have {files} files with {held / 1e6:.0f} MB here, which is the limit; remove some"
            raise RefusedError(409, "too_many_files", told)
        if shutil.disk_usage(self._store.folder).free - size < self._limits.spare:
            raise RefusedError(507, "disk_full", "the service has no room for more files now; try again later")

    async def _written(self, part: Path, chunks: AsyncIterator[bytes], owner: str) -> int:
        """How many bytes were written; memory holds one piece at a time, however many there are."""
        size, checked = 0, 0
        with part.open("wb") as file:
            try:
                while True:
                    chunk = await asyncio.wait_for(anext(chunks), self._limits.silence)
                    size += len(chunk)
                    if size > self._limits.upload:
                        raise _too_large(self._limits)
                    if size - checked > 1 << 26:
                        await run_in_threadpool(self._require_room, owner, size)
                        checked = size
                    await run_in_threadpool(file.write, chunk)
            except StopAsyncIteration:
                pass
            except TimeoutError:
                told = f"no data arrived for {self._limits.silence:.0f} s; send the file again"
                raise RefusedError(408, "too_slow", told) from None
            except ClientDisconnect:
                raise RefusedError(400, "broken_off", "the upload was interrupted; send it again") from None
        if not size:
            raise RefusedError(422, "empty", "the file is empty; send its bytes as the body of the request")
        return size

    async def _accept(self, folder: Path, owner: str, kind: str, name: str, size: int) -> Kept:
        facts = await self._prober.look(folder / "part", kind, name, self._limits)
        suffix = facts.pop("suffix")
        await run_in_threadpool(self._require_room, owner, size)
        return await run_in_threadpool(
            self._store.add_file, folder.name, owner, kind, name, suffix, size, facts, self._limits.keep * 3600
        )


def _shown(name: str, kind: str) -> str:
    """What a user calls a file, as something that may be shown: without folders and control characters."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c if c.isprintable() else "?" for c in last)[:LONGEST].strip() or kind


def _too_large(limits: Limits) -> RefusedError:
    return RefusedError(413, "too_large", f"the file is larger than the allowed {limits.upload / 1e6:.0f} MB")
