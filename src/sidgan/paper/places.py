"""Resolve the PLACE of a method that a user names: existing results, or weights or videos that are judged now."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sidgan import checkpoint
from sidgan.data.sources import folder as videos_below
from sidgan.errors import ConfigError, InputError
from sidgan.evaluation.lists import choose
from sidgan.evaluation.networks import NetworkFiles
from sidgan.evaluation.prepared import Settings, evaluate_to
from sidgan.evaluation.results import COMPOSITE
from sidgan.evaluation.videos import VideoSettings, evaluate_videos
from sidgan.paper.collect import COPIES, Judged, copies, is_result, read_judged
from sidgan.paper.published import SETS
from sidgan.types import Show

MANIFEST = "manifest.jsonl"
ROWS = ("truth", "model", "wrong")  #: rows of an evaluation that a table of methods needs


@dataclass(frozen=True)
class Judging:
    """Settings for judging methods that have no results yet.

    Attributes:
        out: folder for their result folders.
        data: set -> prepared folder, or folder of true videos.
        split: split of a prepared folder; by default the published test list of the set.
        system: judge the composite or the raw image. networks: networks for FID and LSE.
        max_frames, workers, device: see `sidgan.evaluation.evaluate_to`.
        progress: called with the share done and a line of text.
    """

    out: Path
    data: Mapping[str, Path] = field(default_factory=dict)
    split: str | None = None
    system: str = COMPOSITE
    networks: NetworkFiles = field(default_factory=NetworkFiles)
    max_frames: int | None = None
    workers: int = 1
    device: str = "cpu"
    progress: Show = lambda share, text: None


def judged(name: str, where: str | None, place: str, how: Judging) -> list[tuple[str, Judged]]:
    """Results of one method as pairs (set, results); a method without results is judged on every set that has data.

    Args:
        name: name of the method. where: judge on this set only; by default on all sets of ``how.data``.
        place: a result folder, a weights file, ``bundled``, a run folder, or a folder of finished videos.
        how: settings for judging; not used for a result folder, except the split.

    Raises:
        ConfigError: it is not known on which set the results were made, or there is no data to judge on.
        InputError: there is nothing at this place.
    """
    if is_result(Path(place)):
        found = read_judged(name, Path(place), how.split)
        on = where or found.set
        if on is None:
            raise ConfigError(f"{name}: {place} does not say on which set it was judged; give it as "
                              f"'{name}@SET={place}', SET one of {', '.join(SETS)}")  # fmt: skip
        return [(on, found)]
    return [(one, _judge(name, place, one, how)) for one in judgeable(name, where, place, how.data)]


def judgeable(name: str, where: str | None, place: str, data: Mapping[str, Path]) -> list[str]:
    """The sets that a method must be judged on, none if it has results; called before anything is downloaded.

    Raises:
        ConfigError, InputError: the same as `judged` raises for its place and data.
    """
    if is_result(Path(place)):
        return []
    sets = [where] if where else list(data)
    missing = next((s for s in sets if s not in data), None)
    if not sets or missing:
        raise ConfigError(f"{name}: {place} has not been judged; give --data {missing or 'SET'}=FOLDER to judge it on, "
                          "or a result folder of sidgan eval")  # fmt: skip
    weights = weights_of(place)
    for folder in (data[one] for one in sets):
        if weights is not None and not (folder / MANIFEST).is_file():
            raise InputError(f"{name}: {folder} was not prepared, and a generator is judged on prepared clips; run "
                             f"sidgan prepare, or give a folder of {name}'s finished videos")  # fmt: skip
        if weights is None:
            videos_below(Path(place))
            videos_below(folder)
    return sets


def copied(on: str, methods: Sequence[Judged], how: Judging) -> list[Judged]:
    """Results of the baselines `COPIES` on the set ``on``, which ignore the sound, to compare methods with.

    They are taken from the results of a method that has them; otherwise they are judged on the set's prepared clips.
    They are left out if it has none.
    """
    data = how.data.get(on)
    if (found := copies(methods)) or data is None or not (data / MANIFEST).is_file():
        return found
    return copies([_judge_clips("copies", checkpoint.file_of("bundled"), on, how, ("truth", *COPIES))])


def _judge(name: str, place: str, on: str, how: Judging) -> Judged:
    data, weights = how.data[on], weights_of(place)
    if weights is None:
        out = how.out / f"{file_name(name)}@{on}"
        out.parent.mkdir(parents=True, exist_ok=True)
        evaluate_videos(
            out, Path(place), data, networks=how.networks, workers=how.workers, progress=_progress(name, how),
            settings=VideoSettings(max_frames=how.max_frames, device=how.device),
        )  # fmt: skip
        return read_judged(name, out)
    return _judge_clips(name, weights, on, how, ROWS)


def _judge_clips(name: str, weights: Path, on: str, how: Judging, rows: tuple[str, ...]) -> Judged:
    out = how.out / f"{file_name(name)}@{on}{'' if how.system == COMPOSITE else f'-{how.system}'}"
    out.parent.mkdir(parents=True, exist_ok=True)
    test_list = None if how.split else partial(choose, clips=on)
    settings = Settings(rows=rows, systems=(how.system,), max_frames=how.max_frames, device=how.device)
    evaluate_to(
        out, weights, [how.data[on]], splits=[how.split or "test"], choose=test_list, networks=how.networks,
        workers=how.workers, settings=settings, progress=_progress(name, how),
    )  # fmt: skip
    return read_judged(name, out, how.split)


def _progress(name: str, how: Judging) -> Callable[[int, int], None]:
    return lambda done, total: how.progress(done / total, f"{name}: {done} of {total} clips")


def weights_of(place: str) -> Path | None:
    """The weights file at a place: the file itself, the bundled one, or that of a run; ``None`` for other folders.

    Raises:
        InputError: there is nothing at this place, or the run has written no weights yet.
    """
    path = Path(place)
    if place == "bundled":
        return checkpoint.file_of(place)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"there is nothing at {place}; give a result folder, a run, a weights file or a video folder")
    if (path / "config.json").is_file():
        if not (path / "weights.safetensors").is_file():
            raise InputError(f"the run {place} has no weights yet; resume it, or leave it out")
        return path / "weights.safetensors"
    return None


def unfinished(place: str) -> str | None:
    """A note about a run folder whose training has not made all its steps; otherwise ``None``."""
    path = Path(place)
    if not (path / "config.json").is_file() or not (path / "weights.safetensors").is_file():
        return None
    done = checkpoint.read_meta(path / "weights.safetensors")["meta"].get("steps")
    wanted = json.loads((path / "config.json").read_text(encoding="utf-8")).get("loop", {}).get("steps")
    return f"{place} is at step {done} of {wanted}" if done and wanted and int(done) < int(wanted) else None


def file_name(name: str) -> str:
    """A method's name with characters replaced that are unsafe in file names."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).strip(".") or "method"


def by_set(results: Sequence[tuple[str, Judged]]) -> dict[str, list[Judged]]:
    """Group pairs (set, results) by set."""
    found: dict[str, list[Judged]] = {}
    for where, one in results:
        found.setdefault(where, []).append(one)
    return found
