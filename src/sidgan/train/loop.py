"""The training loop. What is trained is a `Task`; the loop counts, logs, evaluates, saves and resumes.

A run is a folder::

    RUN/config.json          resolved settings
    RUN/data.json            what it is trained on (`sidgan.data.contents`)
    RUN/log.txt              printed lines
    RUN/stats.jsonl          a record of figures every ``log_every`` steps, another every ``eval_every``
    RUN/images/              picture strips of every evaluation
    RUN/lock                 locked by the running training (`sidgan.train.folder`)
    RUN/weights.safetensors  exported weights
    RUN/last.pt              state to resume from; written to a temporary file and renamed, so never incomplete
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

from sidgan.errors import CheckpointError, OutputError, SidganError
from sidgan.files import writing
from sidgan.settings import require_between

MAX_BAD_STEPS = 20  #: steps in a row with a loss or gradient that is not finite, after which a run fails


class Task(Protocol):
    """A model in training, as `run` drives it."""

    fabric: Fabric

    def step(self, index: int) -> Mapping[str, float]:
        """Make one update; returns the losses to log. A value that is not finite means that the update was skipped.

        Random numbers must depend on ``index`` only: a resumed run restores no generator but torch's global one.
        """

    def evaluate(self, index: int, images: Path) -> Mapping[str, float]:
        """Evaluate on held-out data; may write pictures into ``images``."""

    def notes(self) -> list[str]:
        """Lines for the log since the last call: findings and warnings."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for `restore`."""

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the result of `state`."""

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        """Write the weights for users to load, with ``meta`` in their card."""


class Notes:
    """Lines of a `Task`, kept until they are logged."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    def note(self, *lines: str) -> None:
        """Add lines for the log."""
        self._notes.extend(lines)

    def notes(self) -> list[str]:
        """Lines since the last call."""
        lines, self._notes = self._notes, []
        return lines


def left_out(finite: bool) -> dict[str, float]:
    """What a step reports beside its losses: NaN for a skipped update, so that all processes count it as bad."""
    return {} if finite else {"gradient": float("nan")}


@dataclass(frozen=True)
class LoopConfig:
    """Length of a training, and the intervals of logs, evaluations and saves.

    Attributes:
        steps: total number of updates.
        log_every, eval_every, save_every: intervals in steps.
        minutes: save and stop after this time, to be resumed later; ``None``: no limit.
    """

    steps: int = 1000
    log_every: int = 20
    eval_every: int = 250
    save_every: int = 250
    minutes: float | None = None

    def __post_init__(self) -> None:
        require_between(self, 1, math.inf, "steps", "log_every", "eval_every", "save_every")
        require_between(self, 0, math.inf, "minutes")


def run(
    task: Task, folder: Path, config: LoopConfig, say: Callable[[str], None] = print, *,
    card: Mapping[str, Any] | None = None,
) -> bool:  # fmt: skip
    """Train until ``config.steps`` or ``config.minutes``; resumes from ``folder/last.pt`` if there is one.

    Args:
        card: facts to write into the card of the weights, in addition to steps and hours.

    Returns:
        Whether all steps are done.

    Raises:
        SidganError: too many steps in a row were not finite, or the final weights are not finite.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    return _Run(task, folder, config, say, card or {}).go()


class _Run:
    """One call of `run`."""

    def __init__(
        self, task: Task, folder: Path, config: LoopConfig, say: Callable[[str], None], card: Mapping[str, Any]
    ) -> None:
        self._task, self._folder, self._config, self._card = task, folder, config, card
        self._first_process = task.fabric.is_global_zero
        self._log = _Log(folder, say if self._first_process else None)
        self._first, self._seconds_before = _resume(task, folder / "last.pt")  # of earlier calls
        self._log.text(_opening(folder, self._first, config.steps, task.fabric.device))
        self._started = time.monotonic() - self._seconds_before
        self._sums: defaultdict[str, list[float]] = defaultdict(list)
        self._bad_steps, self._save_delayed = 0, False  # skipped steps in a row, and whether they delay a save
        self._log.texts(task.notes())

    def go(self) -> bool:
        """Make the steps; returns whether all are done."""
        for done in range(self._first + 1, self._config.steps + 1):
            self._step(done)
            elapsed = time.monotonic() - self._started
            last, timed_out = done == self._config.steps, self._out_of_time(elapsed)
            self._report(done, elapsed, last)
            self._save_if_due(done, elapsed, last or timed_out)
            if timed_out:
                self._log.text(f"stopped after {self._config.minutes} minutes at step {done}; "
                               f"add --run {self._folder} to the command to resume")  # fmt: skip
                return last
        return True

    def _step(self, done: int) -> None:
        """Make step number ``done``, counted from 1."""
        losses = self._task.step(done - 1)
        self._bad_steps = 0 if all(np.isfinite(v) for v in losses.values()) else self._bad_steps + 1
        if self._bad_steps > MAX_BAD_STEPS:
            raise SidganError(f"the loss or its gradient is NaN or infinite since step {done - self._bad_steps + 1}; "
                              "lower the learning rate")  # fmt: skip
        for name, value in losses.items():
            self._sums[name].append(value)

    def _out_of_time(self, elapsed: float) -> bool:
        """Whether the time is up. The first process decides for all, as their clocks differ."""
        minutes = self._config.minutes
        return minutes is not None and bool(self._task.fabric.broadcast(elapsed - self._seconds_before > 60 * minutes))

    def _report(self, done: int, elapsed: float, last: bool) -> None:
        """Log and evaluate if due."""
        if done % self._config.log_every == 0 or last:
            means = {name: float(np.mean(values)) for name, values in self._sums.items()}
            self._log.numbers(done, elapsed, means)
            self._sums.clear()
        if done % self._config.eval_every == 0 or last:
            judged = {f"val_{k}": v for k, v in self._task.evaluate(done, self._folder / "images").items()}
            if judged:  # empty without held-out data
                self._log.numbers(done, elapsed, judged)
        self._log.texts(self._task.notes())

    def _save_if_due(self, done: int, elapsed: float, ends: bool) -> None:
        """Save if due, and at the end."""
        due = self._save_delayed or done % self._config.save_every == 0
        if ends and self._bad_steps and not _finite(self._task.state()):
            raise SidganError(f"the weights are NaN or infinite at step {done}; lower the learning rate")
        # After a skipped step, keep the last good save: the run may be diverging.
        save, self._save_delayed = ends or (due and self._bad_steps == 0), due and self._bad_steps > 0
        if self._first_process and save:
            # Weights first: a killed run whose state says that all steps are done must have their weights.
            meta = {**self._card, "steps": done, "hours": round(elapsed / 3600, 2)}
            self._task.export(self._folder / "weights.safetensors", meta)
            _save(self._task, self._folder / "last.pt", done, elapsed)


def _opening(folder: Path, first: int, steps: int, device: torch.device) -> str:
    if first >= steps:
        return f"{folder}: all {steps} steps are done"
    return f"{folder}: {f'resumed at step {first} of {steps}' if first else f'{steps} steps'} on {device.type}"


class _Log:
    """Writes and prints log lines; does nothing if ``say`` is ``None``, as in all processes but the first."""

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
    """Whether all tensors of a state are finite."""
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
    except RuntimeError as error:  # torch raises this if the disk is full
        raise OutputError(f"{path} cannot be written; free space, then resume the run in {path.parent}") from error
    finally:
        part.unlink(missing_ok=True)


def _resume(task: Task, path: Path) -> tuple[int, float]:
    if not path.is_file():
        return 0, 0.0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read ({type(error).__name__}); remove it to start again") from error
    if not isinstance(state, dict) or not {"task", "torch_rng", "step", "seconds"} <= state.keys():
        raise CheckpointError(f"{path} is not the state of a training; remove it to start again")
    task.restore(state["task"])
    torch.set_rng_state(state["torch_rng"])
    return int(state["step"]), float(state["seconds"])
