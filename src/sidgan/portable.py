"""What depends on the operating system: Unicode in file names, file locks, reserving disk space, memory."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import IO


def spelt(name: str) -> str:
    """A name in Unicode normal form NFC, for comparing names; macOS stores accents in the decomposed form."""
    return unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """An existing path that equals ``path`` up to Unicode normal form; ``path`` itself where there is none."""
    if not os.path.exists(path) and path.name:
        with suppress(OSError):
            alike = [other for other in on_disk(path.parent).iterdir() if spelt(other.name) == spelt(path.name)]
            return alike[0] if len(alike) == 1 else path
    return path


def hold(file: IO[str]) -> None:
    """Lock an open file exclusively, until it is closed or the process ends for whatever reason.

    Raises:
        BlockingIOError: another process, or another handle of this process, holds the lock.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:  # Windows reports a lock as "permission denied"
            raise BlockingIOError(str(error)) from error
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def reserve(path: Path) -> None:
    """Allocate disk space for the full length of an existing file, where supported (not on macOS or Windows).

    Writing to a memory-mapped file on a full disk would kill the process without an error message.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def bound_memory(most: int) -> None:
    """Limit the address space of this process to ``most`` bytes, and disable core dumps; on Linux only."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def keep_memory() -> None:
    """Let ``malloc`` keep up to 256 MiB of freed memory for reuse instead of returning it (Linux with glibc).

    Feature maps of a network are tens of megabytes each. By default they are returned to the system after each layer,
    and the new pages that it zeroes for the next one cost a tenth of a dub's processor time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        trim_threshold, mmap_threshold, arena_max = -1, -3, -8
        mallopt(trim_threshold, 256 << 20)
        mallopt(mmap_threshold, 32 << 20)  # the largest allowed; larger blocks are always returned at once
        mallopt(arena_max, 1)  # otherwise each thread keeps an arena of its own: a tenth more memory in all


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("faults", ctypes.c_uint32), ("peak", ctypes.c_size_t),
        *((f"other{i}", ctypes.c_size_t) for i in range(7)),
    )  # fmt: skip


def _high_water_mark() -> int | None:
    """Peak memory in KiB, on Linux; that of ``getrusage`` includes the parent process before ``exec``."""
    with suppress(OSError):
        match = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        return int(match[1]) if match else None
    return None


def peak_memory() -> float:
    """Peak resident memory of this process, MiB."""
    if sys.platform == "win32":
        counters, system = _Counters(), ctypes.windll.kernel32
        counters.size = ctypes.sizeof(counters)
        system.GetCurrentProcess.restype = ctypes.c_void_p  # a handle has the size of a pointer
        system.K32GetProcessMemoryInfo.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32
        system.K32GetProcessMemoryInfo(system.GetCurrentProcess(), ctypes.byref(counters), counters.size)
        peak = float(counters.peak) / (1 << 20)
    elif sys.platform == "linux" and (kib := _high_water_mark()):
        peak = kib / (1 << 10)
    else:
        import resource

        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # macOS counts in bytes, others in KiB
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return peak
