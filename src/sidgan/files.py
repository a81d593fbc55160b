"""Files out: complete under their final name, or not there at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sidgan.errors import CheckpointError, InputError, OutputError

if TYPE_CHECKING:
    import numpy as np

ADDRESS = re.compile("[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  #: how an address begins, as a path


@contextmanager
def finished(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """A hidden file beside ``path`` to write into, which takes the name ``path`` when the block ends well.

    When it does not, the hidden file is removed and what stood under the final name stays. What a kill leaves
    behind, the next run overwrites.

    Args:
        path: the final name.
        failures: see `writing`.

    Raises:
        OutputError: the folder is missing or cannot be written, or the block could not write.
    """
    require_place(path)
    part = path.with_name(f".{path.name}.part")
    with writing(path, *failures):
        part.touch()
    try:
        yield part
        with writing(path, *failures):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, which appears only when complete.

    Raises:
        OutputError: as `finished` does, and where the disk is full.
    """
    with finished(path) as part, writing(path):
        part.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as NumPy's ``.npz``, which appears only when complete.

    Raises:
        OutputError: as `write_text`.
    """
    import numpy as np  # here: commands look at their files before libraries are imported

    with finished(path) as part, writing(path), part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def ending(path: Path) -> str:
    """The ending of a file's name in small letters, such as ``.mp4``: cameras and some systems write large ones."""
    return path.suffix.lower()


def require_ending(path: Path, wanted: str) -> None:
    """Raise an `OutputError` where a file would be called something else than what it is: no program would open it."""
    if ending(path) != wanted:
        raise OutputError(f"{path} must end in {wanted}, the format that is written")


def require_file(path: Path) -> None:
    """Raise an `OutputError` where a path is a folder, as an empty one is: the one that a program is in."""
    with writing(path):  # some systems say of what may not be looked at neither yes nor no
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name in it")


def require_place(path: Path) -> None:
    """Raise an `OutputError` where a path is a folder, or would lie in one that is not there. Nothing is written."""
    require_file(path)
    with writing(path):
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; create it or choose another")


def require_there(path: Path) -> None:
    """Raise an `InputError` where a path leads to nothing, to a folder, or to what can be read only once."""
    if not path.exists():
        if ADDRESS.match(path.as_posix()):
            raise InputError(f"{path.as_posix().replace(':/', '://', 1)} is an address; download it and give the file")
        raise InputError(f"{path}: there is no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one file in it")
    if not path.is_file():  # a second look would wait for ever
        raise InputError(f"{path} is a pipe or a device, and must be read more than once; save it as a file")


def weights_at(path: Path | str) -> Path:
    """The weights file that a path leads to, by itself or by the run folder that it is in; it may not be there."""
    inside = Path(path) / "weights.safetensors"
    return inside if inside.is_file() else Path(path)


def require_weights(file: Path) -> None:
    """Raise a `CheckpointError` where a weights file is not there, or is a folder."""
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; give a weights file, the folder of a run that has written one, or "
                              "'bundled'")  # fmt: skip
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name, or give a run's folder or 'bundled'")


def look_first(
    inputs: Iterable[Path | None], outputs: Iterable[Path | None], weights: Iterable[str | None] = ()
) -> None:
    """Raise what a command would raise of its files later: called before it imports what takes seconds.

    Args:
        inputs: files to be read. outputs: files to be written. ``None`` stands for one that was not given.
        weights: as `sidgan.checkpoint.file_of` takes them.
    """
    for path in filter(None, outputs):
        require_place(path)
    for path in filter(None, inputs):
        require_there(path)
    for name in filter(None, weights):
        if name != "bundled":
            require_weights(weights_at(name))


def check_target(path: Path) -> None:
    """Raise the `OutputError` that `finished` would raise, before work is spent on what cannot be kept."""

    class Enough(Exception):  # noqa: N818  no error
        pass

    with suppress(Enough), finished(path):
        raise Enough


def require_apart(path: Path, others: Iterable[Path], what: str = "one of the inputs") -> None:
    """Raise an `OutputError` where what is to be written is one of some other files, whatever they are called."""
    if any(_same(path, other) for other in others):
        raise OutputError(f"{path} is {what}; choose another name")


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)  # some systems take large and small letters for the same
    return os.path.realpath(one) == os.path.realpath(other)  # not yet there, either of them


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Turn what the system says about a failed write into one line about ``path``.

    Args:
        path: what is being written.
        failures: what the library that writes raises, beside `OSError`.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        yield
    except kinds as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        what = "free space or choose another folder"
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # what is written beside it has a longer one
            what = "choose a shorter name"
        raise OutputError(f"{path} cannot be written: {reason}; {what}") from error
