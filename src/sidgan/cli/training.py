"""`sidgan train`: a command for each kind of network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sidgan.cli.options import Device, Expert, Settings
from sidgan.files import look_first

Start = Annotated[str | None, typer.Option(help="weights file to start from, or 'bundled'", metavar="FILE")]
Ears = Annotated[str | None, typer.Option(help="weights file whose audio encoder to use, or 'bundled'", metavar="FILE")]
Steps = Annotated[int | None, typer.Option(min=1, help="number of updates (default: as in --config, see --dry-run)",
                                           show_default=False)]  # fmt: skip
Minutes = Annotated[float | None, typer.Option(help="stop after this many minutes; the run can be resumed")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="folder of the run; a run in it is resumed")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print all settings and stop")]

app = typer.Typer(no_args_is_help=True, help="Train a sync expert, generator, audio encoder or occlusion detector.")


@app.command("listener")
def train_listener(
    speech: Annotated[list[Path], typer.Argument(help="folders from sidgan label", show_default=False)],
    config: Annotated[str, typer.Option(help="preset or TOML file")] = "listener",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train an audio encoder on speech, for --ears of syncnet and gan. Example: sidgan train listener speech."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.listener_config(config, steps, minutes, settings or [])
    _print_config(resolved) if dry_run else print(training.train_listener(speech, resolved, run, device, start))


@app.command("occlusion")
def train_occlusion(
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    config: Annotated[str, typer.Option(help="preset or TOML file")] = "occlusion",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train the detector of hands and objects in front of faces. Example: sidgan train occlusion data --steps 4000."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.occlusion_config(config, steps, minutes, settings or [])
    _print_config(resolved) if dry_run else print(training.train_occlusion(data, resolved, run, device, start))


@app.command("syncnet")
def train_syncnet(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    config: Annotated[str, typer.Option(help="preset or TOML file")] = "syncnet",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    ears: Ears = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train a sync expert (APS-SyncNet). Example: sidgan train syncnet data --steps 2000."""
    look_first([], [], [start, ears])
    from sidgan.train import runs as training

    resolved = training.sync_config(config, steps, minutes, settings or [])
    _print_config(resolved) if dry_run else print(training.train_syncnet(data, resolved, run, device, start, ears))


@app.command("gan")
def train_gan(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    expert: Expert = "bundled",
    config: Annotated[str, typer.Option(help="preset or TOML file")] = "tiny128",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    ears: Ears = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train a generator. Example: sidgan train gan data --config tiny128 --steps 2000."""
    look_first([], [], [expert, start, ears])
    from sidgan.train import runs as training

    resolved = training.gan_config(config, steps, minutes, settings or [])
    _print_config(resolved) if dry_run else print(training.train_gan(data, resolved, expert, run, device, start, ears))


def _print_config(config: Any) -> None:
    from sidgan.settings import to_dict

    print(json.dumps(to_dict(config), indent=1))
