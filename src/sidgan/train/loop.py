"""The one training loop. What is trained is a `Task`; the loop counts, logs, judges, saves and resumes.

A run is a folder::

    RUN/config.json    everything resolved
    RUN/log.txt        what was printed
    RUN/stats.jsonl    one line of numbers every ``log_every`` steps, one every ``eval_every``
    RUN/images/        picture strips at every evaluation
    RUN/lock           held by the training that is at work (`sidgan.train.folder`)
    RUN/last.pt        state to resume from; written beside itself and renamed, never half
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric import Fabric

from sidgan.config import require_between
from sidgan.errors import CheckpointError, OutputError, SidganError
from sidgan.files import writing

MAX_BAD_STEPS = 20  #: steps in a row with a loss or gradient that is not a number before a run gives up


class Task(Protocol):
    """Something that learns by steps."""

    fabric: Fabric

    def step(self, index: int) -> Mapping[str, float]:
        """Make one update; returns the losses to log. A value that is not finite means that one was left out.

        Random numbers must follow from ``index``: nothing else of them is kept when a run is resumed.
        """

    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """Judge on data that is not trained on; may write pictures into ``images``."""

    def notes(self) -> list[str]:
        """Lines for the log since the last call: findings and warnings."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values from which `restore` goes on."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the weights that a user would load."""


class Notes:
    """What a `Task` has found out, kept until it is logged."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def note(self, *lines: str) -> None:
        """Have lines logged."""
        self._notes.extend(lines)

    def notes(self) -> list[str]:
        """Lines since the last call."""
        lines, self._notes = self._notes, []
        return lines


def left_out(finite: bool) -> dict[str, float]:
    """What a step reports, beside its losses, of an update that was left out: all processes then count it alike."""
    return {} if finite else {"gradient": float("nan")}


@dataclass(frozen=True)
class LoopConfig:
    """How long, and how often what.

    Attributes:
        steps: updates in total.
        log_every, eval_every, save_every: in steps.
        minutes: stop (and save) after this long, to be resumed; ``None``: no limit.
    """

    steps: int = 1000
    log_every: int = 20
    eval_every: int = 250
    save_every: int = 250
    minutes: float | None = None

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "steps", "log_every", "eval_every", "save_every")
        require_between(self, 0, math.inf, "minutes")


def run(task: Task, folder: Path, config: LoopConfig, say: Callable[[str], None] = print) -> bool:
    """Train until ``config.steps`` or out of time; goes on from ``folder/last.pt`` if there is one.

    Returns:
        Whether all steps are done.

    Raises:
        SidganError: the loss or its gradient is not a number for too long, or the weights are none at the end.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    return _Run(task, folder, config, say).go()


class _Run:
    """A training from where it stands to its end, or for as long as there is time."""

    def __init__(self, task: Task, folder: Path, config: LoopConfig, say: Callable[[str], None]) -> None:
        self._task, self._folder, self._config = task, folder, config
        self._first_process = task.fabric.is_global_zero
        self._log = _Log(folder, say if self._first_process else None)
        self._first, self._earlier = _resume(task, folder / "last.pt")  # steps and seconds of those before
        self._log.text(_opening(folder, self._first, config.steps, task.fabric.device))
        self._begun = time.monotonic() - self._earlier
        self._sums: defaultdict[str, list[float]] = defaultdict(list)
        self._bad, self._due = 0, False  # steps in a row that were left out; whether a save was put off for that
        self._log.texts(task.notes())

    def go(self) -> bool:
        """Make the steps; returns whether all are done."""
        for done in range(self._first + 1, self._config.steps + 1):
            self._step(done)
            elapsed = time.monotonic() - self._begun
            last, late = done == self._config.steps, self._late(elapsed)
            self._report(done, elapsed, last)
            self._keep(done, elapsed, last or late)
            if late:
                self._log.text(f"stopped after {self._config.minutes} minutes at step {done}; run the same command "
                               "again to resume")  # fmt: skip
                return last
        return True

    def _step(self, done: int) -> None:
        """Make one step, after which ``done`` are done."""
        losses = self._task.step(done - 1)
        self._bad = 0 if all(np.isfinite(v) for v in losses.values()) else self._bad + 1
        if self._bad > MAX_BAD_STEPS:
            raise SidganError(f"the loss or its gradient is NaN or infinite since step {done - self._bad + 1}; lower "
                              "the learning rate")  # fmt: skip
        for name, value in losses.items():
            self._sums[name].append(value)

    def _late(self, elapsed: float) -> bool:
        """Whether the time is up, in all processes alike: their clocks differ."""
        minutes = self._config.minutes
        return minutes is not None and bool(self._task.fabric.broadcast(elapsed - self._earlier > 60 * minutes))

    def _report(self, done: int, elapsed: float, last: bool) -> None:
        """Log, and judge, if it is time to."""
        if done % self._config.log_every == 0 or last:
            means = {name: float(np.mean(values)) for name, values in self._sums.items()}
            self._log.numbers(done, elapsed, means)
            self._sums.clear()
        if done % self._config.eval_every == 0 or last:
            judged = {f"val_{k}": v for k, v in self._task.evaluate(done, self._folder / "images").items()}
            if judged:  # there is nothing to say where nothing is held out
                self._log.numbers(done, elapsed, judged)
        self._log.texts(self._task.notes())

    def _keep(self, done: int, elapsed: float, ends: bool) -> None:
        """Save if it is time to, and at the end."""
        due = self._due or done % self._config.save_every == 0
        if ends and self._bad and not _finite(self._task.state()):
            raise SidganError(f"the weights are NaN or infinite at step {done}; lower the learning rate")
        # What stood there before is better than the weights of a run that is going wrong.
        save, self._due = ends or (due and self._bad == 0), due and self._bad > 0
        if self._first_process and save:
            # In this order: a run whose state says that all steps are done has their weights, whatever killed it.
            meta = {"steps": done, "hours": round(elapsed / 3600, 2)}
            self._task.export(self._folder / "weights.safetensors", meta)
            _save(self._task, self._folder / "last.pt", done, elapsed)


def _opening(folder: Path, first: int, steps: int, device: torch.device) -> str:
    if first >= steps:
        return f"{folder}: all {steps} steps are done"
    return f"{folder}: {f'resumed at step {first} of {steps}' if first else f'{steps} steps'} on {device.type}"


class _Log:
    """Writes and says what happens; nothing where ``say`` is ``None``, in all processes but the first."""

    def __init__(self, folder: Path, say: Callable[[str], None] | None) -> None:
        self._folder, self._say = folder, say

    def text(self, line: str) -> None:
        if self._say is None:
            return
        self._say(line)
        self._add("log.txt", line)

    def texts(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.text(line)

    def numbers(self, step: int, elapsed: float, values: Mapping[str, float]) -> None:
        if self._say is None:
            return
        record = {"step": step, "seconds": round(elapsed, 1)} | {k: float(f"{v:.5g}") for k, v in values.items()}
        self._add("stats.jsonl", json.dumps(record))
        self.text(f"{step:7d} {elapsed / 60:6.1f} min  " + "  ".join(f"{k} {v:.4g}" for k, v in values.items()))

    def _add(self, name: str, line: str) -> None:
        path = self._folder / name
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def _finite(state: Any) -> bool:
    """Whether all tensors of a state are numbers."""
    if isinstance(state, torch.Tensor):
        return bool(torch.isfinite(state).all())
    inner = state.values() if isinstance(state, Mapping) else state if isinstance(state, list | tuple) else ()
    return all(map(_finite, inner))


def _save(task: Task, path: Path, step: int, elapsed: float) -> None:
    state = {"step": step, "seconds": elapsed, "task": task.state(), "torch_rng": torch.get_rng_state()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with writing(path):
            torch.save(state, part)
            part.replace(path)
    except RuntimeError as error:  # so torch calls a full disk
        raise OutputError(f"{path} cannot be written; free space, then run the same command again to resume") from error
    finally:
        part.unlink(missing_ok=True)


def _resume(task: Task, path: Path) -> tuple[int, float]:
    if not path.is_file():
        return 0, 0.0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}); remove it to start again") from error
    task.restore(state["task"])
    torch.set_rng_state(state["torch_rng"])
    return int(state["step"]), float(state["seconds"])
