"""Writing files atomically: under its final name, a file is either complete or absent; and checks of paths."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sidgan.errors import CheckpointError, InputError, OutputError
from sidgan.portable import hold

if TYPE_CHECKING:
    import numpy as np

ADDRESS = re.compile("[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  #: start of a URL after `Path` has merged its slashes


@contextmanager
def finished(path: Path, *failures: type[Exception]) -> Iterator[Path]:
    """A hidden file beside ``path`` to write into, which is renamed to ``path`` when the block succeeds.

    If the block raises, the hidden file is removed, and an existing file ``path`` stays as it is. A hidden file that a
    killed process left behind is overwritten by the next run. Runs that write ``path`` at the same time write hidden
    files of their own (except on Windows), and the last one to finish wins.

    Args:
        path: the final name.
        failures: see `writing`.

    Raises:
        OutputError: the folder is missing or not writable, or the file cannot be renamed.
    """
    require_place(path)
    with ExitStack() as held:
        with writing(path, *failures):
            part = _hidden(path, held)
        try:
            yield part
            with writing(path, *failures):
                os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _hidden(path: Path, held: ExitStack) -> Path:
    """Create a hidden file beside ``path`` that no other run writes; its lock is released when ``held`` closes."""
    part = path.with_name(f".{path.name}.part")
    if os.name == "nt":  # a file that is open, as a lock needs, could not be renamed
        part.touch()
        return part
    file = held.enter_context(part.open("a", encoding="utf-8"))
    with suppress(OSError):  # another run holds the lock, or the file system has no locks
        hold(file)
        if os.path.samestat(os.fstat(file.fileno()), part.stat()):  # else another run has renamed it meanwhile
            return part
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    part.touch(exist_ok=False)
    return part


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, which appears only when complete.

    Raises:
        OutputError: as `finished`, or the disk is full.
    """
    with finished(path) as part, writing(path):
        part.write_text(text, encoding="utf-8")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as NumPy's ``.npz``, which appears only when complete.

    Raises:
        OutputError: as `write_text`.
    """
    import numpy as np  # imported here, as commands check their files before they import libraries

    with finished(path) as part, writing(path), part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def ending(path: Path) -> str:
    """The file name extension in lower case, such as ``.mp4``; some cameras write it in upper case."""
    return path.suffix.lower()


def require_ending(path: Path, wanted: str) -> None:
    """Raise an `OutputError` unless the file name ends in ``wanted``; programs could not open it otherwise."""
    if ending(path) != wanted:
        raise OutputError(f"{path} must end in {wanted}, the format that is written")


def require_file(path: Path) -> None:
    """Raise an `OutputError` if a path is a folder, as an empty path is (the current folder)."""
    with writing(path):  # `is_dir` may raise, for example a `PermissionError`
        if path.is_dir():
            raise OutputError(f"{path} is a folder; give a file name in it")


def require_place(path: Path) -> None:
    """Raise an `OutputError` if a path is a folder, or its parent folder does not exist. Nothing is written."""
    require_file(path)
    with writing(path):
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist; create it or choose another")


def require_there(path: Path) -> None:
    """Raise an `InputError` unless a path is an existing regular file (no folder, URL, pipe or device)."""
    if not path.exists():
        if ADDRESS.match(path.as_posix()):
            raise InputError(f"{path.as_posix().replace(':/', '://', 1)} is a URL; download it and give the file")
        raise InputError(f"{path}: there is no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give one file in it")
    if not path.is_file():  # reading a pipe a second time would block for ever
        raise InputError(f"{path} is a pipe or a device, and must be read more than once; save it as a file")


def weights_at(path: Path | str) -> Path:
    """The weights file of a path, which is the file itself or the folder of a run. Its existence is not checked."""
    inside = Path(path) / "weights.safetensors"
    return inside if inside.is_file() else Path(path)


def require_weights(file: Path) -> None:
    """Raise a `CheckpointError` if a weights file does not exist, or is a folder."""
    if file.is_dir():
        raise CheckpointError(f"{file} is a folder; give a weights file, the folder of a run that has written one, or "
                              "'bundled'")  # fmt: skip
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name, or give a run's folder or 'bundled'")


def look_first(
    inputs: Iterable[Path | None], outputs: Iterable[Path | None], weights: Iterable[str | None] = ()
) -> None:
    """Check a command's files before it imports heavy libraries, and raise the errors that it would raise later.

    Args:
        inputs: files to read; ``None`` stands for one that was not given.
        outputs: files to write; likewise.
        weights: as for `sidgan.checkpoint.file_of`; likewise.

    Raises:
        SidganError: see `require_place`, `require_there` and `require_weights`.
    """
    for path in filter(None, outputs):
        require_place(path)
    for path in filter(None, inputs):
        require_there(path)
    for name in filter(None, weights):
        if name != "bundled":
            require_weights(weights_at(name))


def check_target(path: Path) -> None:
    """Raise the `OutputError` that `finished` would raise, before work is spent on a result that cannot be saved."""

    class Cancel(Exception):  # noqa: N818  not an error: it makes `finished` remove its hidden file
        pass

    with suppress(Cancel), finished(path):
        raise Cancel


def require_apart(path: Path, others: Iterable[Path], what: str = "one of the inputs") -> None:
    """Raise an `OutputError` if ``path`` and one of ``others`` are the same file, even under different names."""
    if any(_same(path, other) for other in others):
        raise OutputError(f"{path} is {what}; choose another name")


def _same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)  # not by name, as some file systems ignore upper and lower case
    return os.path.realpath(one) == os.path.realpath(other)  # at least one of them does not exist yet


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def writing(path: Path, *failures: type[Exception]) -> Iterator[None]:
    """Turn errors of a failed write into an `OutputError`, whose one line names ``path`` and the reason.

    Args:
        path: the file being written.
        failures: errors of the library that writes, in addition to `OSError`.

    Raises:
        OutputError: the block raised one of these errors.
    """
    kinds: tuple[type[Exception], ...] = (OSError, *failures)
    try:
        yield
    except kinds as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        advice = "free space or choose another folder"
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # perhaps only of the hidden file, which is longer
            advice = "choose a shorter name"
        raise OutputError(f"{path} cannot be written: {reason}; {advice}") from error
