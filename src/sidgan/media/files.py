"""Functions of `sidgan.files` for files that FFmpeg writes: its errors count as failed writes too."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import av

from sidgan import files


def finished(path: Path) -> AbstractContextManager[Path]:
    """See `sidgan.files.finished`."""
    return files.finished(path, av.FFmpegError)


def writing(path: Path) -> AbstractContextManager[None]:
    """See `sidgan.files.writing`."""
    return files.writing(path, av.FFmpegError)
