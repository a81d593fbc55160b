"""The runs of Table 4: every row is trained with every seed under the same budget, then judged.

If it is stopped, the same call resumes it. The folder holds::

    OUT/ablation.json            what all runs share: preset, steps, data, experts
    OUT/ROW/seedN/run            the training run, see `sidgan.train.loop`
    OUT/ROW/seedN/judged         the results of its weights, see `sidgan.evaluation.folder`
    OUT/ROW/seedN/outcome.json   done, or failed and why; written last, so a run that has it is not repeated
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

from sidgan import checkpoint
from sidgan.errors import ConfigError, DataError, InputError, SidganError
from sidgan.evaluation.lists import by_split, chosen
from sidgan.evaluation.networks import NetworkFiles
from sidgan.evaluation.prepared import Settings, evaluate_to
from sidgan.evaluation.protocol import differences
from sidgan.evaluation.results import COMPOSITE
from sidgan.files import digest, write_text, writing
from sidgan.settings import require, to_dict
from sidgan.types import Show

if TYPE_CHECKING:
    from sidgan.train.runs import Prepared
    from sidgan.train.settings import GanTrainConfig

COLLAPSED = 10.0  #: mouth PSNR, dB, below which a run has failed: an RMS error of 80 of 255 levels is no face
ROWS = ("truth", "model", "wrong")  #: rows of `sidgan.evaluation` that Table 4 needs


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    Attributes:
        label: its name in the paper, or the section that describes it.
        changes: maps the full configuration to the ``--set`` strings that make it this row.
        expert: kind of its sync expert, ``aps`` or ``vanilla``.
    """

    label: str
    changes: Callable[[GanTrainConfig], list[str]]
    expert: str = "aps"


def _without_features(base: GanTrainConfig) -> list[str]:
    return [f"weights.{level}.features=0.0" for level, weights in base.weights.items() if weights.features]


def _without_growing(base: GanTrainConfig) -> list[str]:
    if not any(base.grow):
        return []
    ramp = [f"sync_ramp={base.fade}"] if base.sync_ramp is None else []  # it defaults to fade, which is set to 0
    return [f"grow={[0.0] * len(base.grow)}", "fade=0.0", *ramp]


#: Row names, as in the presets ``ablation_NAME``: the rows of Table 4, then claims that the paper makes in its text.
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
    "no_progressive": Setting("w/o Progressive Training (Sec. 3.4)", _without_growing),
    "concat_audio": Setting("w Audio Concatenated (ours)", lambda base: ["generator.audio_inject=concat"]),
}  # fmt: skip


def config_of(name: str, preset: str, steps: int, seed: int, changes: Sequence[str] = ()) -> GanTrainConfig:
    """The configuration of one run.

    Args:
        name: a key of `SETTINGS`.
        preset: preset or TOML file of the full setting.
        steps: number of updates.
        seed: random seed of the run.
        changes: ``--set`` strings that apply to all runs.

    Raises:
        ConfigError: there is no such row, or it changes nothing in this preset and so equals the full setting.
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
    """The settings of an ablation.

    Attributes:
        out: output folder, see the module. data: prepared folders, for training and judging.
        rows, seeds: there is a run for each pair. preset, steps, changes: see `config_of`.
        experts: kind, ``aps`` or ``vanilla``, -> weights of the sync expert.
        split: the held-out clips to judge. max_frames: at most this many frames of each, all by default.
        system: judge the composite or the raw image (`sidgan.evaluation.results.SYSTEMS`).
        networks: networks for FID and LSE. workers: processes for judging. device: for training and judging.
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
        """What all runs share, as stored in ``ablation.json``."""
        manifests = [digest(folder / "manifest.jsonl") for folder in self.data]
        experts = {kind: digest(checkpoint.file_of_kind(file, "syncnet")) for kind, file in self.experts.items()}
        full = to_dict(config_of("full", self.preset, self.steps, 0, self.changes))
        return {"config": full, "data": manifests, "experts": experts, "split": self.split,
                "max_frames": self.max_frames, "system": self.system, "networks": self.networks.describe()}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run; its ``state`` is ``done``, ``failed`` (``why`` gives the reason) or ``unfinished``."""

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
    """Train and judge all runs of a plan that have no outcome yet.

    Raises:
        ConfigError: the settings are impossible, or ``out`` holds runs made with other settings.
        DataError: there are no clips to train on or to judge.
    """
    from sidgan.train.runs import Prepared

    configs = check(plan)
    _settle_folder(plan)
    data, runs = Prepared(plan.data), list[Run]()
    for i, ((row, seed), config) in enumerate(configs.items()):
        folder = plan.out / row / f"seed{seed}"
        log = folder / "run" / "log.txt"
        progress(i / len(configs), f"{row}, seed {seed}: run {i + 1} of {len(configs)}; see its progress in {log}")
        run = _read_run(folder)
        if run.state == "unfinished":
            why = _train_and_judge(plan, data, SETTINGS[row].expert, config, folder)
            write_text(folder / "outcome.json", json.dumps({"state": "failed" if why else "done", "why": why}) + "\n")
            run = _read_run(folder)
        runs.append(run)
    return runs


def check(plan: Plan) -> dict[tuple[str, int], GanTrainConfig]:
    """(row, seed) -> configuration; raises what `ablate` would raise about settings and data, before any work."""
    chosen(plan.data, partial(by_split, splits=[plan.split]))
    # All rows of a seed come before the next seed: an ablation that is stopped is a whole table with fewer seeds.
    return {(row, seed): config_of(row, plan.preset, plan.steps, seed, plan.changes)
            for seed in plan.seeds for row in plan.rows}  # fmt: skip


def _settle_folder(plan: Plan) -> None:
    """Write ``ablation.json``; if there are runs already, check instead that they have the same settings."""
    wanted = json.loads(json.dumps(plan.describe()))
    with writing(plan.out):
        plan.out.mkdir(parents=True, exist_ok=True)
    path = plan.out / "ablation.json"
    if path.is_file() and any(plan.out.glob("*/seed*/*")):  # settings without any run may be replaced
        before = json.loads(path.read_text(encoding="utf-8"))
        wanted["experts"] = before["experts"] | wanted["experts"]
        before["experts"] = wanted["experts"] | before["experts"]  # a second expert may be added later, and then stays
        differs = next(differences(before, wanted), None)
        require(differs is None, f"{plan.out} holds runs made with other settings: {differs}; choose another --out")
    write_text(path, json.dumps(wanted, indent=1) + "\n")


def _train_and_judge(plan: Plan, data: Prepared, kind: str, config: GanTrainConfig, folder: Path) -> str:
    """Train and judge one run with an expert of this kind; return why it failed, or an empty string."""
    from sidgan.train.runs import train_gan

    folder.mkdir(parents=True, exist_ok=True)
    try:
        with redirect_stdout(io.StringIO()):  # the same lines are in log.txt
            weights = train_gan(data, config, plan.experts[kind], folder / "run", plan.device)
    except SidganError as error:
        if type(error) is not SidganError:  # a subclass is for the user to fix; a collapsed training raises this class
            raise
        return str(error)
    # id_every=0: face identities are the slowest metric, and Table 4 does not show them.
    how = Settings(rows=ROWS, systems=(plan.system,), id_every=0, max_frames=plan.max_frames, device=plan.device)
    try:
        results = evaluate_to(folder / "judged", weights, plan.data, splits=[plan.split], networks=plan.networks,
                              expert=plan.experts["aps"], settings=how, workers=plan.workers)  # fmt: skip
    except DataError as error:
        if "draws NaN" in str(error):
            return "it draws images with NaN"
        raise
    mouth = results[plan.split].means[plan.system]["model"]["mouth_psnr"].mean
    return f"it draws no face (mouth PSNR {mouth:.1f} dB)" if mouth < COLLAPSED else ""


def _read_run(folder: Path) -> Run:
    row, seed = folder.parent.name, int(folder.name.removeprefix("seed"))
    try:
        outcome = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Run(row, seed, folder, "unfinished")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'outcome.json'} cannot be read ({error}); remove it to judge again") from None
    return Run(row, seed, folder, outcome["state"], outcome["why"])


def read_runs(out: Path) -> list[Run]:
    """All runs of a folder that `ablate` made, sorted by row and seed.

    Raises:
        InputError: the folder holds no ablation.
        ConfigError: it has no runs yet.
    """
    if not (out / "ablation.json").is_file():
        raise InputError(f"{out} holds no ablation; make one with: sidgan paper ablation DATA --out {out}")
    folders = [f for row in SETTINGS for f in (out / row).glob("seed*") if f.name.removeprefix("seed").isdecimal()]
    order = {row: i for i, row in enumerate(SETTINGS)}
    runs = sorted((_read_run(f) for f in folders), key=lambda run: (order[run.row], run.seed))
    if not runs:
        raise ConfigError(f"{out} has no runs yet; resume its sidgan paper ablation")
    return runs
