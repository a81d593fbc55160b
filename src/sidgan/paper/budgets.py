"""The trainings behind a table: size, parameters, updates, minutes and final losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sidgan import checkpoint
from sidgan.errors import InputError
from sidgan.paper.places import weights_of
from sidgan.paper.tables import Line, Table

VALIDATED = "val_"  #: prefix of held-out values in ``stats.jsonl``


@dataclass(frozen=True)
class Budget:
    """Budget and outcome of one training; what neither the weights nor the run say is ``None`` or left out.

    Attributes:
        method: the user's name for it. kind: of generator. size: side of the face, px. parameters: of the generator.
        updates, wanted: number of updates made and requested. batch: frames per update. minutes: of training.
        losses: means over the last logged updates, each with its weight in the total loss.
        heldout: split -> (mouth PSNR at the last evaluation, dB; by how much it is lower with wrong sounds, dB).
    """

    method: str
    kind: str
    size: int
    parameters: int
    updates: int | None = None
    wanted: int | None = None
    batch: int | None = None
    minutes: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    heldout: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def budget_of(method: str, place: str) -> Budget | None:
    """Read the budget from a run folder or a weights file; ``None`` for result folders and finished videos.

    Raises:
        InputError: there is nothing at this place, or the run cannot be read.
    """
    weights = weights_of(place)
    if weights is None:
        return None
    net, meta = checkpoint.load_generator(weights), checkpoint.read_meta(weights)["meta"]
    count, updates, hours = sum(p.numel() for p in net.parameters()), meta.get("steps"), meta.get("hours")
    found = Budget(method, net.config.kind, net.config.size, count, updates,
                   minutes=None if hours is None else 60 * float(hours))  # fmt: skip
    run = Path(place)
    if not run.is_dir():
        return found
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        lines = [json.loads(line) for line in (run / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
        steps = [line for line in lines if not any(name.startswith(VALIDATED) for name in line)]
        judged = [line for line in lines if any(name.startswith(VALIDATED) for name in line)]
        return Budget(
            method, found.kind, found.size, found.parameters, updates, config["loop"]["steps"], config["batch"],
            lines[-1]["seconds"] / 60 if lines else found.minutes,
            {k: v for k, v in (steps or [{}])[-1].items() if _is_loss(k)}, _heldout((judged or [{}])[-1]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{method}: the run {place} cannot be read ({error}); give its weights file instead") from None


def _is_loss(name: str) -> bool:
    return name not in ("step", "seconds") and not name.startswith(("real", "fake"))


def _heldout(line: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    splits = [n.removeprefix(VALIDATED).removesuffix("_mouth") for n in line if n.endswith("_mouth")]
    return {s: (line[f"{VALIDATED}{s}_mouth"], line[f"{VALIDATED}{s}_gap"]) for s in splits}


def as_table(budgets: Sequence[Budget]) -> Table:
    """A table with a line for each training."""
    lines = [
        Line(b.method, b.kind, (
            str(b.size), f"{b.parameters / 1e6:.2f}", _number(b.updates), _number(b.batch),
            "-" if b.minutes is None else f"{b.minutes:.0f}",
            ", ".join(f"{name} {value:.3g}" for name, value in b.losses.items()) or "-",
        ))
        for b in budgets
    ]  # fmt: skip
    short = [f"{b.method} was stopped after {b.updates:,} of {b.wanted:,} updates" for b in budgets
             if b.updates and b.wanted and b.updates < b.wanted]  # fmt: skip
    notes = [*short, "losses include each system's own weights: compare them within a run, not between systems"]
    if len({b.updates for b in budgets}) > 1:
        notes.append("not all had the same number of updates")
    head = ("px", "M parameters", "updates", "frames each", "minutes", "losses at the end")
    return Table("Trainings", head, tuple(lines), notes=tuple(notes))


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
