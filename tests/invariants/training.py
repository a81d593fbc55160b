"""What training must do: learn, go on as if nothing had happened, and leave alone what is frozen."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from drawn import talking_blob
from lightning.fabric import Fabric
from torch import Tensor

from sidgan.config import SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.nn import SyncNet
from sidgan.settings import from_dict
from sidgan.train.gan import GanTask, GanTrainConfig
from sidgan.train.judging import judge, spread
from sidgan.train.loop import LoopConfig, Notes, Task, run
from sidgan.train.syncnet import SyncTask, SyncTrainConfig

EXPERT = SyncNetConfig(width=2, audio_width=8, blocks=0.0)
#: Small enough for a step in hundredths of a second.
GENERATOR = {"size": 32, "base": 8, "cmax": 32, "start": 8, "rgb_levels": [16, 32], "audio_levels": [8],
             "audio_width": 8, "audio_blocks": 0.0}  # fmt: skip


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def gan_task(steps: int, expert: SyncNet | None = None, **changes: Any) -> GanTask:
    values = {"generator": GENERATOR, "loop": {"steps": steps}, "batch": 5, "lr": 2e-3, "grow": [0.0], "fade": 0.0,
              "sync_from": 2.0, "gan_from": 2.0, "ema": 0.9}  # fmt: skip
    data = PackedSet.of([talking_blob(32, 60)])
    return GanTask(from_dict(GanTrainConfig, values | changes), data, {"held": data}, fabric(), expert)


def full_task(steps: int) -> GanTask:
    """Sync loss, critic, gate: everything that has a state."""
    return gan_task(steps, SyncNet(EXPERT).eval(), sync_from=0.0, gan_from=0.0, sync_gate=9,
                    weights={32: {"sync": 0.1, "gan": 0.1}}, discriminators={32: {"base": 4, "layers": 2}})  # fmt: skip


def sync_task(steps: int) -> SyncTask:
    config = SyncTrainConfig(model=EXPERT, loop=LoopConfig(steps=steps), batch=4, negatives=2)
    return SyncTask(config, PackedSet.of([talking_blob(128, 40)]), {}, fabric())


# ------------------------------------------------------------------------------------------------------------ resume


def differences(a: Any, b: Any, where: str = "") -> Iterator[str]:
    """Paths of what differs in two states."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in a.keys() | b.keys():
            yield from differences(a.get(key), b.get(key), f"{where}.{key}" if where else str(key))
    elif isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from differences(x, y, f"{where}[{i}]")
    elif not (torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b):
        yield where


class _Dice(Notes):
    """A task whose weights are all the random numbers that torch has given it."""

    def __init__(self) -> None:
        super().__init__()
        self.fabric, self.sum = fabric(), torch.zeros(4)

    def step(self, index: int) -> dict[str, float]:
        self.sum = self.sum + torch.rand(4)
        return {"loss": 0.0}

    def evaluate(self, index: int, images: Path) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {"sum": self.sum}

    def restore(self, state: dict[str, Any]) -> None:
        self.sum = state["sum"]

    def export(self, path: Path, meta: Mapping[str, Any]) -> None:
        path.touch()


def _judged_lightly(task: Task) -> Task:
    """With an evaluation that costs nothing but still moves what the schedule remembers."""

    def evaluate(index: int, images: Path) -> dict[str, float]:
        if isinstance(task, GanTask):
            task.gate.add(index, 1.0)
            task.calibration.scales.setdefault(32, {})[f"after {index}"] = 1.0 + index
        return {}

    task.evaluate = evaluate  # type: ignore[method-assign]
    if isinstance(task, SyncTask):
        task.export = lambda path, meta: None  # type: ignore[method-assign]  # it takes statistics anew, each time
    return task


def resumed_is_uninterrupted(kind: str = "gan") -> None:
    """Four steps are one, a stop, and three more, to the bit: weights, averages, optimisers, schedule."""
    make = {"gan": full_task, "sync": sync_task, "dice": lambda _: _Dice()}[kind]
    often = {"log_every": 1, "eval_every": 1}

    def begin() -> Task:
        torch.manual_seed(0)
        return _judged_lightly(make(4))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = begin()
        assert run(whole, folder / "whole", LoopConfig(steps=4, save_every=4, **often), lambda s: None), "not all steps"
        stop = LoopConfig(steps=4, save_every=9, minutes=0.0, **often)
        assert not run(begin(), folder / "part", stop, lambda s: None), "it did not stop after its first step"
        again = begin()
        torch.manual_seed(99)  # another process knows nothing of the first one's random numbers
        said: list[str] = []
        run(again, folder / "part", LoopConfig(steps=4, save_every=4, **often), said.append)
        assert "resumed at step 1 of 4" in said[0], f"it said {said[0]!r}, not that it resumed at step 1"
        other = list(differences(whole.state(), again.state()))
        lines = (folder / "part" / "stats.jsonl").read_text().splitlines()
        steps = sorted({json.loads(line)["step"] for line in lines})
        assert steps == [1, 2, 3, 4], f"there are numbers of the steps {steps}, not of 1 to 4"
        assert not other, f"after a resume {len(other)} values differ, {min(other)} among them"


# ---------------------------------------------------------------------------------------------------------- learning


def one_clip_is_learnt() -> None:
    """A small generator begins to know one clip by heart, hidden mouth included, and the average of its weights too."""
    task = gan_task(50, audio_lr=1.0, lr=8e-3, betas=[0.9, 0.999])
    before = judge(task.ema, spread(task.train, 20), 32).right
    for index in range(50):
        task.step(index)
    after = judge(task.ema, spread(task.train, 20), 32).right
    assert after > max(17, before + 3), f"{before:.1f} dB inside the mask, {after:.1f} after 50 steps"


def critics_learn_which_is_real() -> None:
    """A critic's scores of real pictures rise above those of generated ones."""
    task = gan_task(40, gan_from=0.0, critic_lr=5.0, weights={32: {"gan": 0.0}},
                    discriminators={32: {"base": 4, "layers": 2}})  # fmt: skip
    for index in range(40):
        report = task.step(index)
    real, fake = report["real32"], report["fake32"]
    assert real > fake + 0.1, f"after 40 steps the critic gives real pictures {real:.2f} and generated ones {fake:.2f}"


def only_the_generator_learns() -> None:
    """A step with the sync loss leaves expert and taken-over ears as they were, without a gradient."""
    expert = SyncNet(EXPERT).eval()
    before = {k: v.clone() for k, v in expert.state_dict().items()}
    task = gan_task(2, expert, sync_from=0.0, weights={32: {"sync": 0.1}})
    for index in range(2):
        task.step(index)
    for what, net, prefix in (("the expert", expert, ""), ("the ears", task.net.module.audio, "audio.")):
        learns = [name for name, p in net.named_parameters() if p.grad is not None]
        assert not learns, f"{what}: {len(learns)} parameters have a gradient, {learns[0]} first"
        changed = [k for k, v in net.state_dict().items() if not torch.equal(v, before[prefix + k])]
        assert not changed, f"{what}: {len(changed)} values have changed, {changed[0]} first"
    assert task.net.module.query.stem.weight.grad is not None, "the generator has no gradient"
