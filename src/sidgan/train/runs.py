"""A complete training in one call: resolve settings, load data, create the run folder, run the loop."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric

from sidgan import checkpoint, downloads
from sidgan.config import FPS
from sidgan.data.contents import contents, speech_contents
from sidgan.data.dataset import PackedSet, read_manifest
from sidgan.data.shards import is_shards
from sidgan.data.shardset import ShardSet
from sidgan.data.speech import SpeechSet
from sidgan.data.splits import ASIDE
from sidgan.engine import choose_device, choose_precision
from sidgan.errors import DataError, counted
from sidgan.nn import VGG19
from sidgan.settings import from_dict, override, read_toml, require
from sidgan.train.diagnosis import offset_histogram, self_test
from sidgan.train.folder import keep, require_same_data, run_folder
from sidgan.train.gan import GanTask, GanTrainConfig, require_fit
from sidgan.train.listener import ListenerTask, ListenerTrainConfig
from sidgan.train.loop import Task, run
from sidgan.train.occlusion import OcclusionTask, OcclusionTrainConfig
from sidgan.train.processes import topology
from sidgan.train.syncnet import SyncTask, SyncTrainConfig

Config = ListenerTrainConfig | SyncTrainConfig | OcclusionTrainConfig | GanTrainConfig

#: Default number of updates, by kind of training.
STEPS = {"listener": 3000, "occlusion": 4000, "syncnet": 2000, "gan": 2000}


def sync_config(name: str, steps: int | None, minutes: float | None, changes: Sequence[str]) -> SyncTrainConfig:
    """Settings of an expert's training: a preset or file (tables ``model``, ``train``), changed by ``a.b=value``s."""
    return from_dict(SyncTrainConfig, _resolve(name, "model", steps, minutes, changes, STEPS["syncnet"]))


def listener_config(name: str, steps: int | None, minutes: float | None, changes: Sequence[str]) -> ListenerTrainConfig:
    """Settings of a listener's training; see `sync_config`."""
    return from_dict(ListenerTrainConfig, _resolve(name, "model", steps, minutes, changes, STEPS["listener"]))


def occlusion_config(
    name: str, steps: int | None, minutes: float | None, changes: Sequence[str]
) -> OcclusionTrainConfig:
    """Settings of an occlusion network's training; see `sync_config`."""
    return from_dict(OcclusionTrainConfig, _resolve(name, "model", steps, minutes, changes, STEPS["occlusion"]))


def gan_config(name: str, steps: int | None, minutes: float | None, changes: Sequence[str]) -> GanTrainConfig:
    """Settings of a generator's training; see `sync_config`, but with the tables ``generator`` and ``train``."""
    values = _resolve(name, "generator", steps, minutes, changes, STEPS["gan"])
    for table in ("weights", "discriminators"):
        levels = values.get(table)
        if isinstance(levels, dict):
            wrong = [level for level in levels if not str(level).isdecimal()]
            require(not wrong, f"'{table}.{', '.join(wrong)}': {table} are set by level, such as {table}.128")
            values[table] = {int(level): entry for level, entry in levels.items()}
    return from_dict(GanTrainConfig, values)


def _resolve(
    name: str, network: str, steps: int | None, minutes: float | None, changes: Sequence[str], usual: int
) -> dict[str, Any]:
    """The settings of preset or file ``name`` as keywords. ``steps`` and ``minutes`` override it unless ``None``.

    Args:
        network: name of the table of the network, ``model`` or ``generator``.
        usual: default number of updates.
    """
    values = read_toml(name)
    other = {"model", "generator"} - {network}
    require(network in values or not other & values.keys(),
            f"{name} is not for this kind of network: it has a table '{min(other)}', not '{network}'")  # fmt: skip
    values = {network: values.get(network, {}), **_table(values, "train", name)}
    loop = _table(values, "loop", name)
    given = {k: v for k, v in (("steps", steps), ("minutes", minutes)) if v is not None}
    values["loop"] = {"steps": usual} | loop | given
    return override(values, list(changes))


def _table(values: dict[str, Any], key: str, name: str) -> dict[str, Any]:
    table = values.get(key, {})
    require(isinstance(table, dict), f"'{key}' of {name} must be a table, not {table!r}")
    return dict(table)


def train_listener(
    speech: Sequence[Path], config: ListenerTrainConfig, folder: Path | None, device: str, start: str | None = None
) -> Path:
    """Train a listener on labelled recordings, from weights ``start`` or from scratch; returns the weights file."""
    begin = checkpoint.load_listener(start) if start else None
    fabric = launch(device, config.precision)
    with run_folder(fabric, config, folder, "listener") as place:
        with _stoppable():
            found = _compared(place, map(speech_contents, speech))
            task = ListenerTask(config, SpeechSet.read(speech), fabric, begin)
        return _train(task, config, place, found)


def train_syncnet(
    data: Sequence[Path], config: SyncTrainConfig, folder: Path | None, device: str, start: str | None = None,
    ears: str | None = None,
) -> Path:  # fmt: skip
    """Train an expert on prepared folders or shards, from weights ``start`` or from scratch; returns the weights file.

    Args:
        ears: weights of a listener or expert, to initialise the audio encoder.
    """
    begin = checkpoint.load_syncnet(start) if start else None
    hearing = checkpoint.load_ears(ears) if ears else None
    fabric = launch(device, config.precision)
    with run_folder(fabric, config, folder, "syncnet") as place:
        with _stoppable():
            found = _compared(place, map(contents, data))
            _require_one_size(found)
            train, held = _sets(data, fabric, config)
            task = SyncTask(config, train, held, fabric, begin, hearing)
            task.note(_data_summary(train, held))
            if not (place / "last.pt").is_file():
                if not isinstance(train, ShardSet):  # shards have no list of all records
                    task.note(*offset_histogram(record for root in data for record in read_manifest(root)))
                if config.self_test:
                    test = self_test(train, config.model, lr=config.lr, seed=config.seed, device=fabric.device)
                    task.note(test)
        return _train(task, config, place, found)


def train_occlusion(
    data: Sequence[Path], config: OcclusionTrainConfig, folder: Path | None, device: str, start: str | None = None
) -> Path:
    """Train an occlusion network on prepared folders, from ``start`` or from scratch; returns the weights file."""
    begin = checkpoint.load_occlusion(start) if start else None
    fabric = launch(device, config.precision)
    require(not any(map(is_shards, data)), "train occlusion needs prepared folders; give these instead of shards")
    with run_folder(fabric, config, folder, "occlusion") as place:
        with _stoppable():
            found = _compared(place, map(contents, data))
            train, held = _sets(data, fabric, config)
            task = OcclusionTask(config, train, held, fabric, begin)
            task.note(_data_summary(train, held))
        return _train(task, config, place, found)


class Prepared:
    """Prepared folders for several trainings in one process, read once, when the first training starts.

    Args:
        folders: prepared folders; or shards, which are opened anew for every training.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self._kept: tuple[PackedSet, dict[str, PackedSet]] | None = None

    def sets(self, fabric: Fabric, config: SyncTrainConfig | GanTrainConfig) -> tuple[PackedSet, dict[str, PackedSet]]:
        """The training set and every held-out split except ``test``, which is for `sidgan.evaluation`."""
        if self._kept is not None:
            return self._kept
        found = _sets(self.folders, fabric, config)
        if not isinstance(found[0], ShardSet):
            self._kept = found
        return found


def train_gan(
    data: Sequence[Path] | Prepared, config: GanTrainConfig, expert: str, folder: Path | None, device: str,
    start: str | None = None, ears: str | None = None,
) -> Path:  # fmt: skip
    """Train a generator on prepared folders or shards, from ``start`` or from scratch; returns the weights file.

    Critics stored beside ``start`` are used as well, at levels where their settings match.

    Args:
        expert: weights for the sync loss, and for the audio encoder unless ``start`` or ``ears`` is given.
        ears: weights of a listener or expert, to initialise the audio encoder.
    """
    messages: list[str] = []
    begin = checkpoint.load_generator(start) if start else None
    rivals = checkpoint.load_critics(start, messages.append) if start and config.critics else None
    hearing = checkpoint.load_ears(ears) if ears else None
    sync = checkpoint.load_syncnet(expert)
    fabric = launch(device, config.precision)
    kind, size = config.generator.kind, config.generator.size
    with run_folder(fabric, config, folder, f"gan{size}" if kind == "sidgan" else kind) as place:
        with _stoppable():
            prepared = data if isinstance(data, Prepared) else Prepared(data)
            found = _compared(place, map(contents, prepared.folders))
            for entry in found:  # before a download of hundreds of MB, and before clips are loaded
                require_fit(config, entry["size"] or size, sync)
            _require_one_size(found)
            vgg = _vgg(config, fabric)
            train, held = prepared.sets(fabric, config)
            task = GanTask(config, train, held, fabric, sync, begin, vgg, hearing, rivals)
            task.note(*messages, _data_summary(train, held))
        return _train(task, config, place, found)


def _vgg(config: GanTrainConfig, fabric: Fabric) -> VGG19 | None:
    if not config.needs_vgg:
        return None
    # One process downloads it first; then the first process of each machine does, unless the cache is shared.
    for fetches in (fabric.is_global_zero, fabric.local_rank == 0) if config.vgg in downloads.VGGS else ():
        if fetches:
            downloads.fetch(downloads.VGGS[config.vgg])
        fabric.barrier()
    return checkpoint.load_vgg(config.vgg)


def launch(device: str, precision: str) -> Fabric:
    """Start Fabric with a device for each process.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or, for one process, ``cuda:N``.
        precision: ``auto`` for the one that suits the device, or Lightning's name of one.
    """
    for name in ("lightning.fabric", "lightning.pytorch"):  # these loggers report the precision on standard error
        logging.getLogger(name).setLevel(logging.WARNING)
    where = choose_device(device)
    if precision == "auto":
        precision = choose_precision(where)
    fabric = Fabric(precision=precision, **topology(where))  # type: ignore[arg-type]
    fabric.launch()
    return fabric


def _compared(place: Path, data: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The data as given, once it is known that the run in ``place`` was not started with other data."""
    found = list(data)
    require_same_data(place, found)
    return found


def _require_one_size(data: Iterable[Mapping[str, Any]]) -> None:
    """Raise a `DataError` if folders, as `sidgan.data.contents` describes them, have crops of different sizes."""
    sides = sorted({entry["size"] for entry in data if entry["size"] is not None})
    if len(sides) > 1:
        raise DataError(f"the folders have crops of {' and '.join(map(str, sides))} px; give folders of one size")


def _sets(
    data: Sequence[Path], fabric: Fabric, config: SyncTrainConfig | GanTrainConfig | OcclusionTrainConfig
) -> tuple[PackedSet, dict[str, PackedSet]]:
    """The training set and every held-out split of the folders, except test splits."""
    not_held_out = {"train", "test", ASIDE}
    if fabric.is_global_zero:
        print(f"reading {', '.join(map(str, data))}")  # may take minutes
    if any(map(is_shards, data)) and not isinstance(config, OcclusionTrainConfig):
        require(all(map(is_shards, data)), "give either folders of shards or prepared folders, not both")
        train = ShardSet(data, seed=config.seed, rank=fabric.global_rank, world=fabric.world_size, pool=config.pool,
                         device=fabric.device, report=_reporter(fabric))  # fmt: skip
        return train, {name: train.sample(name) for name in train.splits if name not in not_held_out}
    names = {split for folder in data for record in read_manifest(folder) for split in record.get("splits", {})}
    held = {name: PackedSet(data, [name], device=fabric.device) for name in sorted(names - not_held_out)}
    return PackedSet(data, ["train"], device=fabric.device), held


def _data_summary(train: PackedSet, held: dict[str, PackedSet]) -> str:
    """A line on the size of the training set and of each held-out set."""
    sizes = "; ".join(_data_size(name, data) for name, data in {"train": train, **held}.items())
    return sizes if held else (f"{sizes}; no clips are held out, so nothing shows whether the model works on other "
                              "footage; sidgan prepare --splits holds clips out")  # fmt: skip


def _data_size(name: str, data: PackedSet) -> str:
    if isinstance(data, ShardSet):  # it holds only a pool of its clips
        return f"{name}: {counted(len(data.shards), 'shard')}"
    return f"{name}: {counted(len(data.clips), 'clip')}, {sum(map(len, data.clips)) / FPS / 60:.1f} min"


def _reporter(fabric: Fabric) -> Callable[[str], None] | None:
    """How a process reports unreadable clips: the first one in its log (``None``), the others on standard error."""
    name = f"process {fabric.global_rank}"
    return None if fabric.is_global_zero else lambda line: print(f"{name} {line}", file=sys.stderr)


def _train(task: Task, config: Config, folder: Path, data: Sequence[Mapping[str, Any]]) -> Path:
    task.fabric.barrier()  # until all processes have read the existing files
    if task.fabric.is_global_zero:
        keep(folder, config, data)
    try:
        run(task, folder, config.loop, card={"data": list(data)})
    except KeyboardInterrupt:
        if task.fabric.is_global_zero:
            print(_how_to_resume(folder, config.loop.save_every))
        raise
    return folder / "weights.safetensors"


def _how_to_resume(folder: Path, every: int) -> str:
    """How to resume an interrupted run: without ``--run``, the same command would start a new one."""
    if not (folder / "last.pt").is_file():
        return f"nothing is saved in {folder} yet; it is saved every {every} steps (loop.save_every)"
    return f"add --run {folder} to the command to resume from the last save (every {every} steps)"


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGTERM within the block into an exception, so that a run folder is cleaned up.

    Not for training steps: a process that waits for others runs no Python code, so it could not be stopped.
    """

    def stop(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)  # a shell's exit status of a process ended by a signal

    if threading.current_thread() is not threading.main_thread():  # only the main thread can handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
