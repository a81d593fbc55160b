"""What operating systems do each in their own way: spelling a name, locking a file, claiming its room; memory."""

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
    """A name in the form in which names are compared: Unicode has two for an accent, and macOS stores the other one."""
    return unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """A path to be read, with its names as the disk has them; as it is given where there is no such file."""
    if not os.path.exists(path) and path.name:
        with suppress(OSError):
            alike = [other for other in on_disk(path.parent).iterdir() if spelt(other.name) == spelt(path.name)]
            return alike[0] if len(alike) == 1 else path
    return path


def hold(file: IO[str]) -> None:
    """Lock an open file for this process alone, until it is closed or the process ends, however it ends.

    Raises:
        BlockingIOError: another process, or another handle of this one, holds it.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:  # it says "permission denied", whatever the reason
            raise BlockingIOError(str(error)) from error
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def reserve(path: Path) -> None:
    """Claim the whole length of a file that is there, where the system can (not macOS, not Windows).

    A map that is written to where the disk is full ends the process without a word.

    Raises:
        OSError: there is no room for it.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def bound_memory(most: int) -> None:
    """Let this process ask for so many bytes of address space at most, where the system can hold it to that (Linux)."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def keep_memory() -> None:
    """Keep what is freed for what is needed next, up to 256 MiB, instead of giving it back (Linux with glibc).

    A network's maps are tens of megabytes each. By default they go back to the system after each layer, which hands
    them out again page by page, filled with zeros: a tenth of a dub's processor time.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tell is not None:
        trim_threshold, mmap_threshold, most_arenas = -1, -3, -8
        tell(trim_threshold, 256 << 20)
        tell(mmap_threshold, 32 << 20)  # the most it takes; above, blocks are the system's own and go back at once
        tell(most_arenas, 1)  # else each thread keeps memory of its own: a tenth more in all


class _Counters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of the Windows API."""

    _fields_ = (
        ("size", ctypes.c_uint32), ("faults", ctypes.c_uint32), ("peak", ctypes.c_size_t),
        *((f"other{i}", ctypes.c_size_t) for i in range(7)),
    )  # fmt: skip


def _high_water() -> int | None:
    """KiB, as Linux tells it; what ``getrusage`` says begins with the memory of the process that began this one."""
    with suppress(OSError):
        told = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
        return int(told[1]) if told else None
    return None


def peak_memory() -> float:
    """The most memory that this process has held, MiB."""
    if sys.platform == "win32":
        counters, system = _Counters(), ctypes.windll.kernel32
        counters.size = ctypes.sizeof(counters)
        system.GetCurrentProcess.restype = ctypes.c_void_p  # a handle is as long as a pointer
        system.K32GetProcessMemoryInfo.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32
        system.K32GetProcessMemoryInfo(system.GetCurrentProcess(), ctypes.byref(counters), counters.size)
        most = float(counters.peak) / (1 << 20)
    elif sys.platform == "linux" and (told := _high_water()):
        most = told / (1 << 10)
    else:
        import resource

        scale = 1 << 20 if sys.platform == "darwin" else 1 << 10  # systems count in bytes or KiB
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return most
