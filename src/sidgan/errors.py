"""The errors a user can meet. Each message is one line: what failed, where, and what to do about it.

`sidgan.cli` prints the message and leaves with the error's ``exit_code``; nothing else in the package exits a process.
"""


class SidganError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 2


class InputError(SidganError):
    """The file a user gave cannot be used: missing, not a video, no sound, cut off in the middle."""


class MarkError(InputError):
    """A video says that sidgan altered it, but what else it says cannot be read."""


class OutputError(SidganError):
    """The result cannot be written: folder missing or read-only, disk full, container unknown."""


class NoFaceError(SidganError):
    """No usable face anywhere in the video."""


class ConfigError(SidganError):
    """A setting has an unknown name or an impossible value."""


class CheckpointError(SidganError):
    """A weights file is not one of ours, is damaged, or holds another kind of network."""


class DataError(SidganError):
    """A prepared data set is missing, empty, or does not fit the configuration."""


class DownloadError(SidganError):
    """A published file cannot be downloaded, or what arrived is something else."""


class MetricError(SidganError, ValueError):
    """What is to be judged has the wrong shape or type, is not finite, or does not fit what it is compared with."""


def plain(line: str) -> str:
    """One line for people, without the control characters by which a file, or its name, could write on their screen."""
    return "".join(c if c.isprintable() else "?" for c in line)


def counted(count: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"
