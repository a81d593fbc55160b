"""Table 4, run: every setting with every seed under the same budget; stopped, the same call goes on.

::

    OUT/ablation.json            what all runs share: preset, steps, data, experts
    OUT/ROW/seedN/run            training, see `sidgan.train.loop`
    OUT/ROW/seedN/judged         its weights judged, see `sidgan.evaluation.folder`
    OUT/ROW/seedN/outcome.json   done, or failed and why; written last, so that a finished run is not run again
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidgan.config import require, to_dict
from sidgan.errors import ConfigError, DataError, InputError, SidganError
from sidgan.evaluation.lists import by_split
from sidgan.evaluation.networks import NetworkFiles
from sidgan.evaluation.prepared import Settings, chosen, evaluate_to, weights_file
from sidgan.evaluation.protocol import differences
from sidgan.evaluation.results import COMPOSITE
from sidgan.files import digest, write_text, writing
from sidgan.types import Show

if TYPE_CHECKING:
    from sidgan.train.runs import Prepared
    from sidgan.train.settings import GanTrainConfig

COLLAPSED = 10.0  #: dB of the mouth as drawn, below which a run has failed: errors of 80 levels are no face
ROWS = ("truth", "model", "wrong")


@dataclass(frozen=True)
class Setting:
    """One line of the table.

    Attributes:
        label: as the paper calls it, or where the paper speaks of it.
        changes: what it changes of a resolved configuration, as ``--set`` takes it.
        expert: the kind of its sync expert.
    """

    label: str
    changes: Callable[[GanTrainConfig], list[str]]
    expert: str = "aps"


def _without_features(base: GanTrainConfig) -> list[str]:
    return [f"weights.{level}.features=0.0" for level, weights in base.weights.items() if weights.features]


def _together(base: GanTrainConfig) -> list[str]:
    if not any(base.grow):
        return []
    ramp = [f"sync_ramp={base.fade}"] if base.sync_ramp is None else []  # which is as long as fade where left out
    return [f"grow={[0.0] * len(base.grow)}", "fade=0.0", *ramp]


#: By the names of the presets ``ablation_NAME``: the paper's rows, then those that check what it says in words.
SETTINGS: Mapping[str, Setting] = {
    "no_contextual": Setting("w/o Contextual Loss", _without_features),
    "perceptual": Setting("w Perceptual Loss", lambda base: ["features=perceptual"] if base.needs_vgg else []),
    "vanilla_sync": Setting(
        "w Vanilla Sync Loss",
        lambda base: ["expert_kind=vanilla"] if any(w.sync for w in base.weights.values()) else [], "vanilla",
    ),
    "no_pyramid": Setting(
        "w/o Pyramid Generator",
        lambda base: [f"generator.rgb_levels=[{base.generator.size}]", "grow=[]"]
        if len(base.generator.rgb_levels) > 1 else [],
    ),
    "full": Setting("Full Setting", lambda base: []),
    "laplacian": Setting("w Laplacian Pyramid (Sec. 3.2)", lambda base: ["generator.rgb=laplacian"]),
    "no_progressive": Setting("w/o Progressive Training (Sec. 3.4)", _together),
    "concat_audio": Setting("w Audio Concatenated (ours)", lambda base: ["generator.audio_inject=concat"]),
}  # fmt: skip


def config_of(name: str, preset: str, steps: int, seed: int, changes: Sequence[str] = ()) -> GanTrainConfig:
    """The configuration of one run.

    Args:
        name: of `SETTINGS`.
        preset: the full setting, of a size that fits.
        steps: the budget.
        seed: of the run.
        changes: ``--set`` of all runs alike.

    Raises:
        ConfigError: no such setting, or one that changes nothing in this preset, so that its row would be the full one.
    """
    from sidgan.train.runs import gan_config

    require(name in SETTINGS, f"there is no row {name}; rows are {', '.join(SETTINGS)}")
    full = gan_config(preset, steps, None, [*changes, f"seed={seed}"])
    own = SETTINGS[name].changes(full)
    config = gan_config(preset, steps, None, [*changes, f"seed={seed}", *own])
    require(name == "full" or to_dict(config) != to_dict(full),
            f"{name} changes nothing in {preset}, which lacks the part that this row removes; leave the row out, or "
            "take another --config")  # fmt: skip
    return config


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        out: see the module. data: prepared folders, trained and judged on.
        rows, seeds: a run for each pair. preset, steps, changes: see `config_of`.
        experts: weights of the sync expert by kind, ``aps`` and ``vanilla``.
        split: held-out clips that are judged. max_frames: so many of each, all by default.
        system: as pasted into the true frames, or as drawn (`sidgan.evaluation.results.SYSTEMS`).
        networks: those behind FID and LSE. workers, device: of judging; of both.
    """

    out: Path
    data: Sequence[Path]
    rows: Sequence[str]
    seeds: Sequence[int]
    preset: str = "small128"
    steps: int = 2000
    changes: Sequence[str] = ()
    experts: Mapping[str, str] = field(default_factory=lambda: {"aps": "bundled"})
    split: str = "heldout"
    max_frames: int | None = None
    system: str = COMPOSITE
    networks: NetworkFiles = field(default_factory=NetworkFiles)
    workers: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        require(bool(self.rows) and bool(self.seeds), "give at least one row and one seed")
        for kind in {SETTINGS[row].expert for row in self.rows if row in SETTINGS} - set(self.experts):
            require(False, f"the row vanilla_sync needs a {kind} expert: sidgan train syncnet DATA --config "
                           "syncnet_vanilla, then give its weights as --vanilla")  # fmt: skip

    def describe(self) -> dict[str, Any]:
        """What all runs share, for ``ablation.json``."""
        manifests = [digest(folder / "manifest.jsonl") for folder in self.data]
        experts = {kind: digest(weights_file(file, "syncnet")) for kind, file in self.experts.items()}
        full = to_dict(config_of("full", self.preset, self.steps, 0, self.changes))
        return {"config": full, "data": manifests, "experts": experts, "split": self.split,
                "max_frames": self.max_frames, "system": self.system, "networks": self.networks.describe()}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """How one run ended: ``done``, ``failed`` (and why), or ``unfinished``."""

    row: str
    seed: int
    folder: Path
    state: str
    why: str = ""

    @property
    def judged(self) -> Path:
        """Its result folder."""
        return self.folder / "judged"


def ablate(plan: Plan, progress: Show = lambda share, text: None) -> list[Run]:
    """Train and judge all that is not done yet.

    Raises:
        ConfigError: impossible settings, or ``out`` holds runs of other ones.
        DataError: nothing to train on or to judge.
    """
    from sidgan.train.runs import Prepared

    configs = check(plan)
    _settle(plan)
    data, runs = Prepared(plan.data), list[Run]()
    for i, ((row, seed), config) in enumerate(configs.items()):
        folder = plan.out / row / f"seed{seed}"
        log = folder / "run" / "log.txt"
        progress(i / len(configs), f"{row}, seed {seed}: run {i + 1} of {len(configs)}; how far it is: {log}")
        run = _read(folder)
        if run.state == "unfinished":
            why = _one(plan, data, SETTINGS[row].expert, config, folder)
            write_text(folder / "outcome.json", json.dumps({"state": "failed" if why else "done", "why": why}) + "\n")
            run = _read(folder)
        runs.append(run)
    return runs


def check(plan: Plan) -> dict[tuple[str, int], GanTrainConfig]:
    """The settings of each row and seed; raises what `ablate` would raise of settings and data, before any work."""
    chosen(plan.data, partial(by_split, splits=[plan.split]))
    # Seed by seed, so that what is there when it is stopped is a whole table of fewer seeds.
    return {(row, seed): config_of(row, plan.preset, plan.steps, seed, plan.changes)
            for seed in plan.seeds for row in plan.rows}  # fmt: skip


def _settle(plan: Plan) -> None:
    asked = json.loads(json.dumps(plan.describe()))
    with writing(plan.out):
        plan.out.mkdir(parents=True, exist_ok=True)
    path = plan.out / "ablation.json"
    if path.is_file() and any(plan.out.glob("*/seed*/*")):  # without one, nothing was made by other settings
        before = json.loads(path.read_text(encoding="utf-8"))
        both = before["experts"].keys() & asked["experts"].keys()  # a second expert may be added later
        for kept in (before, asked):
            kept["experts"] = {kind: kept["experts"][kind] for kind in both}
        differs = next(differences(before, asked), None)
        require(differs is None, f"{plan.out} holds runs made with other settings: {differs}; choose another --out")
        return
    write_text(path, json.dumps(asked, indent=1) + "\n")


def _one(plan: Plan, data: Prepared, kind: str, config: GanTrainConfig, folder: Path) -> str:
    """Train and judge one run; why it failed, or nothing."""
    from sidgan.train.runs import train_gan

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(io.StringIO()):  # its log.txt has all of it
            weights = train_gan(data, config, plan.experts[kind], folder / "run", plan.device)
    except SidganError as error:
        if type(error) is not SidganError:  # the user's to mend; what training itself gives up over has the plain type
            raise
        return str(error)
    # Identities are the slowest figure, and none of this table's.
    how = Settings(rows=ROWS, systems=(plan.system,), id_every=0, max_frames=plan.max_frames, device=plan.device)
    try:
        results = evaluate_to(folder / "judged", weights, plan.data, splits=[plan.split], networks=plan.networks,
                              expert=plan.experts["aps"], settings=how, workers=plan.workers)  # fmt: skip
    except DataError as error:
        if "draws NaN" in str(error):
            return "it draws pictures that are not numbers"
        raise
    drawn = results[plan.split].means[plan.system]["model"]["mouth_psnr"].mean
    return f"it draws no face (mouth {drawn:.1f} dB)" if drawn < COLLAPSED else ""


def _read(folder: Path) -> Run:
    row, seed = folder.parent.name, int(folder.name.removeprefix("seed"))
    try:
        outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Run(row, seed, folder, "unfinished")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'outcome.json'} cannot be read ({error}); remove it to judge again") from None
    return Run(row, seed, folder, outcome["state"], outcome["why"])


def read_runs(out: Path) -> list[Run]:
    """All runs of a folder that `ablate` made, by row and seed.

    Raises:
        InputError: it is none.
    """
    if not (out / "ablation.json").is_file():
        raise InputError(f"{out} holds no ablation; make one with: sidgan paper ablation DATA --out {out}")
    folders = [f for row in SETTINGS for f in (out / row).glob("seed*") if f.name.removeprefix("seed").isdigit()]
    order = {row: i for i, row in enumerate(SETTINGS)}
    runs = sorted((_read(f) for f in folders), key=lambda run: (order[run.row], run.seed))
    if not runs:
        raise ConfigError(f"{out} has no runs yet; resume its sidgan paper ablation")
    return runs
