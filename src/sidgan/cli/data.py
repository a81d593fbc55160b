"""Commands that make training data from footage and recordings, and show what it contains."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sidgan.cli.options import AsJson, Processes, Settings
from sidgan.cli.output import answer, bar, say
from sidgan.config import FPS
from sidgan.errors import counted

Source = Literal["folder", "avspeech", "hdtf", "lrw", "lrs2", "voxceleb2"]


def prepare(
    folder: Annotated[Path, typer.Argument(help="folder with videos, or folder of a data set", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the prepared clips", show_default=False)],
    size: Annotated[int, typer.Option(help="side of the face crops, px")] = 128,
    source: Annotated[Source, typer.Option(help="layout of FOLDER: videos, or a known data set")] = "folder",
    splits: Annotated[Path | None, typer.Option(help="TOML file with rules for the splits", metavar="FILE")] = None,
    cut: Annotated[float | None, typer.Option(help="cut longer clips into pieces", min=1, metavar="SECONDS")] = None,
    max_failures: Annotated[float, typer.Option(help="stop if a larger share of clips is unusable", min=0)] = 0.2,
    workers: Processes = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            help="work on a Ray cluster: HOST:PORT, 'auto' for the cluster of this machine, 'local' to try it here; "
            "FOLDER and OUT must be on a file system that all its machines share", metavar="ADDRESS",
        ),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Cut face crops, mels, landmarks and masks from videos. Example: sidgan prepare clips data --size 128."""
    from sidgan import executors
    from sidgan.data import survey as surveying
    from sidgan.data.packing import DEFAULTS, PrepareConfig
    from sidgan.data.prepare import prepare as prepare_all
    from sidgan.settings import from_dict, override

    executor = executors.on_ray(ray, out, workers) if ray else executors.local(workers)
    config = from_dict(PrepareConfig, override(DEFAULTS[source] | {"size": size}, settings or []))
    with bar() as show:
        prepare_all(
            folder, out, config, source=source, splits=splits, executor=executor, cut=cut, max_failures=max_failures,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
            report=lambda line: say(f"  skipped {line}"),
        )  # fmt: skip
    found = surveying.survey(out)
    answer(found.to_dict(), as_json, "\n".join(found.lines()))


def shards(
    data: Annotated[Path, typer.Argument(help="prepared folder", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the shards; shards in it are replaced", show_default=False)],
    size_mb: Annotated[float, typer.Option(help="size of a shard, MB; each GPU needs at least one", min=0.01)] = 256,
    as_json: AsJson = False,
) -> None:
    """Pack a prepared folder into tar files that many GPUs can read. Example: sidgan shards data shards."""
    from sidgan.data import shards as packing

    with bar() as show:
        packing.write_shards(data, out, size_mb, lambda done, total: show(done / total, f"{done} of {total} clips"))
    answer({"splits": packing.held(out)}, as_json, "\n".join(packing.described(out)))


def inspect(
    data: Annotated[Path, typer.Argument(help="prepared folder, or folder of shards", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder for the images (default: DATA/inspect)",
                                             show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what a prepared folder contains: counts, histograms, images of faces. Example: sidgan inspect data.

    In a folder of shards, every byte is checked, and damaged shards are listed.
    """
    from sidgan.data import shards, sheets
    from sidgan.data import survey as surveying

    if shards.is_shards(data):
        with bar() as show:
            shards.check(data, lambda done, total: show(done / total, f"{done} of {total} shards checked"))
        answer({"splits": shards.held(data)}, as_json, "\n".join(shards.described(data)))
        return
    found = surveying.survey(data)
    pictures = sheets.draw(found, out or data / "inspect")
    lines = [*found.lines(), *(f"see {path}" for path in pictures)]
    answer(found.to_dict() | {"pictures": [str(p) for p in pictures]}, as_json, "\n".join(lines))


def multiply(
    data: Annotated[Path, typer.Argument(help="prepared folder", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the new clips", show_default=False)],
    count: Annotated[int, typer.Option(help="number of clips to make", min=1)] = 250,
    seed: Annotated[int, typer.Option(help="random seed", min=0)] = 0,
    blend: Annotated[float, typer.Option(help="share of clips with a face blended of two people", min=0, max=1)] = 0.0,
    draw: Annotated[float, typer.Option(help="share of clips with a computer-drawn face", min=0, max=1)] = 0.0,
    workers: Processes = 1,
    as_json: AsJson = False,
) -> None:
    """Make new training clips: move speech in sync from one person to another. Example: sidgan multiply data more.

    If it is interrupted, run the same command again: it resumes. A larger --count adds clips.
    """
    from sidgan.data import transfer

    with bar() as show:
        made = transfer.multiply(
            data, out, count, seed, blend=blend, draw=draw, workers=workers,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
        )  # fmt: skip
    people = len({record["identity"] for record in made})
    frames = sum(record["frames"] for record in made)
    facts = {"clips": len(made), "people": people, "frames": frames}
    answer(facts, as_json, f"{counted(len(made), 'clip')} of {counted(people, 'person', 'people')}, "
                           f"{frames / FPS / 60:.1f} min -> {out}")  # fmt: skip


def label(
    folder: Annotated[Path, typer.Argument(help="folder with a subfolder of recordings for each voice",
                                           show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the labelled recordings", show_default=False)],
    workers: Processes = 1,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Label the speech sounds in recordings, for sidgan train listener. Example: sidgan label recordings speech."""
    from sidgan import executors
    from sidgan.data import labelling

    with bar() as show:
        voices = labelling.label(
            folder, out, executor=executors.local(workers),
            progress=lambda done, total: show(done / total, f"{done} of {total} recordings"),
            report=lambda line: say(f"  skipped {line}"),
        )  # fmt: skip
    facts = {"voices": len(voices), "minutes": round(sum(voices.values()) / 60, 1)}
    answer(facts, as_json, f"{facts['minutes']} min of {counted(len(voices), 'voice')} -> {out}")
