"""`sidgan train`: a verb for each kind of network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sidgan.cli.options import Device, Expert, Settings
from sidgan.files import look_first

Start = Annotated[str | None, typer.Option(help="weights file to go on from, or 'bundled'", metavar="FILE")]
Ears = Annotated[str | None, typer.Option(help="weights to take the audio encoder from, or 'bundled'", metavar="FILE")]
Steps = Annotated[int | None, typer.Option(min=1, help="updates; without it what the preset or file says, or else some "
                                                       "thousand (see --dry-run)", show_default=False)]
Minutes = Annotated[float | None, typer.Option(help="stop after so long, to be resumed")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="run folder; an existing one is resumed")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")]

app = typer.Typer(no_args_is_help=True, help="Train experts, generators, ears, or what sees hands before faces.")


@app.command("listener")
def train_listener(
    speech: Annotated[list[Path], typer.Argument(help="folders from sidgan label", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "listener",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train ears on speech sounds, for --ears of the others. Example: sidgan train listener speech --steps 3000."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.listener_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_listener(speech, resolved, run, device, start))


@app.command("occlusion")
def train_occlusion(
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "occlusion",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train what sees hands and things before faces. Example: sidgan train occlusion data --steps 4000."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.occlusion_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_occlusion(data, resolved, run, device, start))


@app.command("syncnet")
def train_syncnet(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "syncnet",
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
    _dry(resolved) if dry_run else print(training.train_syncnet(data, resolved, run, device, start, ears))


@app.command("gan")
def train_gan(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    expert: Expert = "bundled",
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "tiny128",
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
    _dry(resolved) if dry_run else print(training.train_gan(data, resolved, expert, run, device, start, ears))


def _dry(config: Any) -> None:
    from sidgan.config import to_dict

    print(json.dumps(to_dict(config), indent=1))
