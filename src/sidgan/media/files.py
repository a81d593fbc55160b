"""`sidgan.files` for what FFmpeg writes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import av

from sidgan import files


def finished(path: Path) -> AbstractContextManager[Path]:
    """As `sidgan.files.finished`; FFmpeg's failures are failed writes too."""
    return files.finished(path, av.FFmpegError)


def writing(path: Path) -> AbstractContextManager[None]:
    """As `sidgan.files.writing`; FFmpeg's failures are failed writes too."""
    return files.writing(path, av.FFmpegError)
