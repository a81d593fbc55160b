"""Files out: complete under their final name, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from sidgan.errors import OutputError


@contextmanager
def finished(path: Path) -> Iterator[Path]:
    """A hidden file beside ``path`` to write into, which takes the name ``path`` when the block ends well.

    When it does not, the hidden file is removed and what stood under the final name stays. What a kill leaves
    behind, the next run overwrites.

    Raises:
        OutputError: the folder is missing or cannot be written, or the block could not write.
    """
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; create it or choose another")
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name in it")
        part.touch()
    try:
        yield part
        with writing(path):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system and FFmpeg say about a failed write into one line about ``path``."""
    try:
        yield
    except (av.FFmpegError, OSError) as error:
        reason = (error.strerror or str(error)).lower()
        raise OutputError(f"{path} cannot be written: {reason}; free space or choose another folder") from error
