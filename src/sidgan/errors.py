"""The errors that users can meet. Each message is one line: what failed, where, and what to do about it.

`sidgan.cli` prints the message and leaves with the error's ``exit_code``; nothing else in the package exits a process.
"""

from collections.abc import Sequence


class SidganError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 2


class InputError(SidganError):
    """A file or argument that the user gave cannot be used: missing, not a video, no sound, truncated."""


class MarkError(InputError):
    """A video carries the mark of an alteration by sidgan, but its contents cannot be read."""


class OutputError(SidganError):
    """The result cannot be written: folder missing or read-only, disk full, container unknown."""


class NoFaceError(SidganError):
    """No usable face anywhere in the video."""


class ConfigError(SidganError):
    """A setting has an unknown name or an impossible value."""


class CheckpointError(SidganError):
    """A weights file was not written by this package, is damaged, or holds another kind of network."""


class DataError(SidganError):
    """A prepared data set is missing, empty, or does not fit the configuration."""


class DownloadError(SidganError):
    """A published file cannot be downloaded, or what arrived is another file."""


class MetricError(SidganError, ValueError):
    """An input of a metric has the wrong shape or type, is not finite, or does not match the other input."""


def plain(line: str) -> str:
    """Replace control characters by ``?``: text from a file or its name must not control the user's terminal."""
    return "".join(c if c.isprintable() else "?" for c in line)


def counted(count: int, one: str, many: str = "") -> str:
    """A number and its noun, such as ``1 frame`` or ``2 frames``; ``many`` is an irregular plural."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """The first ``most`` of some names and the number of the others, such as ``a, b, c and 2 more``."""
    others = len(names) - most
    return ", ".join(names[:most]) + (f" and {others} more" if others > 0 else "")
