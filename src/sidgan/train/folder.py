"""The folder of a run: created or reused, locked by one training at a time, resumed only with its settings and data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from sidgan import portable
from sidgan.errors import CheckpointError, ConfigError, OutputError
from sidgan.files import write_text, writing
from sidgan.settings import by_full_name, from_dict, to_dict


def new_run(parent: Path, name: str) -> Path:
    """The next free numbered folder ``parent/NNN-name``."""
    numbers = [int(p.name[:3]) for p in parent.glob("[0-9][0-9][0-9]-*")]
    return parent / f"{max(numbers, default=-1) + 1:03d}-{name}"


@contextmanager
def run_folder(fabric: Fabric, config: Any, folder: Path | None, name: str) -> Iterator[Path]:
    """Create and lock the folder of a run for the duration of the block. Enter it before loading data, which is slow.

    If the block fails before anything was written into the folder, a new folder is removed again, and an existing one
    is left unchanged.

    Args:
        config: settings of the training, a dataclass.
        folder: a run to resume, or a new folder; by default the next free ``runs/NNN-name``.

    Raises:
        CheckpointError: the run was started with other settings.
        OutputError: the folder cannot be created, or another training is running in it.
    """
    folder = fabric.broadcast(folder or new_run(Path("runs"), name))
    new_folders, holds_lock = [path for path in (folder, *folder.parents) if not path.exists()], False
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = set(os.listdir(folder))
    if found == {"lock"}:  # left by a training that was killed while loading data
        found = set()
    try:
        with _locked(fabric, folder):
            holds_lock = fabric.is_global_zero
            before = _read(folder / "config.json")
            if before is not None and not same_run(config, before):
                raise CheckpointError(f"{folder} was started with other settings{_differing(before, to_dict(config))}; "
                                      "use the same settings, or another --run folder")  # fmt: skip
            yield folder
    except BaseException:
        with suppress(OSError):  # a parent folder is used by another run in the meantime
            if holds_lock and set(os.listdir(folder)) - found == {"lock"}:
                (folder / "lock").unlink()
                for path in new_folders:
                    path.rmdir()
        raise


@contextmanager
def _locked(fabric: Fabric, folder: Path) -> Iterator[None]:
    """Lock a run folder for the processes of one training: two trainings would mix their files.

    Raises:
        OutputError: another training holds the lock.
    """
    taken = False
    with ExitStack() as stack:
        if fabric.is_global_zero:
            with writing(folder):
                lock = stack.enter_context((folder / "lock").open("w", encoding="utf-8"))
            try:
                portable.hold(lock)
            except BlockingIOError:
                taken = True
            except OSError:  # file systems of clusters may not support locks: go on without one
                pass
        if fabric.broadcast(taken):
            raise OutputError(f"another training is running in {folder}; wait for it, stop it, or give another --run "
                              "folder")  # fmt: skip
        yield


def require_same_data(folder: Path, data: Sequence[Mapping[str, Any]]) -> None:
    """Raise a `CheckpointError` if the run in a folder was started with other data, see `sidgan.data.contents`."""
    before = _read(folder / "data.json")
    if before is None:  # a new run, or one of an older version
        return
    was, now = (", ".join(f"{c['folder']} {c['sha256'][:8]}" for c in found) for found in (before["data"], data))
    if was != now:
        raise CheckpointError(f"{folder} was started with other data ({was}, not {now}); give the same, or another "
                              "--run folder")  # fmt: skip


def keep(folder: Path, config: Any, data: Sequence[Mapping[str, Any]]) -> None:
    """Write settings and data of a run into its folder, unless the same are there.

    Raises:
        CheckpointError: the existing files cannot be read.
        OutputError: they cannot be written.
    """
    for name, content in (("config.json", to_dict(config)), ("data.json", {"data": list(data)})):
        if _read(folder / name) != content:
            write_text(folder / name, json.dumps(content, indent=1, sort_keys=True))


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a run's ``config.json`` or ``data.json``, ``None`` if there is no such file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is damaged; remove it, and resume with the same settings and data that the "
                              "run was started with")  # fmt: skip
    return found


def same_run(config: Any, begun: dict[str, Any]) -> bool:
    """Whether a run that was started with the settings ``begun`` may be resumed with ``config``.

    Settings that did not exist at that time count with their defaults.
    """
    try:
        before = to_dict(from_dict(type(config), begun))
    except ConfigError:
        return False
    return _fixed_settings(before) == _fixed_settings(to_dict(config))


def _differing(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Up to three changed settings by their full names, in parentheses; empty if none exists in both."""
    one, other = (by_full_name(_fixed_settings(settings)) for settings in (before, now))
    names = [name for name in other if name in one and one[name] != other[name]]
    changes = ", ".join(f"{name} was {one[name]} and is {other[name]}" for name in names[:3])
    return f" ({changes})" if changes else ""


def _fixed_settings(values: dict[str, Any]) -> dict[str, Any]:
    """The settings that must not change when a run is resumed."""
    free, loop = {"loop", "self_test", "watch"}, values.get("loop")
    steps = loop.get("steps") if isinstance(loop, dict) else None  # the file may belong to another program
    return {k: v for k, v in values.items() if k not in free} | {"steps": steps}
