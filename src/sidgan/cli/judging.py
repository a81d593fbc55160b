"""`sidgan eval` and `sidgan robustness`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sidgan.cli.options import AsJson, Device, Expert, Processes
from sidgan.cli.output import answer, bar, say
from sidgan.config import require
from sidgan.errors import ConfigError
from sidgan.files import look_first

Mask = Literal["query", "lower"]
Reference = Literal["first", "last", "pair"]


def evaluate(
    model: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'", metavar="MODEL")] = "",
    data: Annotated[list[Path] | None, typer.Argument(help="prepared folders", metavar="DATA...")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="result folder; gone on with if it is there")] = None,
    split: Annotated[list[str] | None, typer.Option(help="splits to judge (heldout), each a table of its own")] = None,
    clips: Annotated[str | None, typer.Option(help="test list: avspeech, hdtf, lrw, or a file with one name a line",
                                              metavar="LIST")] = None,
    spans: Annotated[Path | None, typer.Option(help="for --clips lrw: an aligner's lines NAME START END")] = None,
    videos: Annotated[Path | None, typer.Option(help="judge the videos of this folder, made by any tool")] = None,
    truth: Annotated[Path | None, typer.Option(help="the true videos of the same names")] = None,
    size: Annotated[int, typer.Option(help="with --videos: side of the crops that are compared, px")] = 512,
    expert: Expert = "bundled",
    published: Annotated[bool, typer.Option("--published", help="also FID and LSE; fetches two published files, "
                                            "151 MB: see sidgan info --downloads")] = False,
    inception: Annotated[Path | None, typer.Option(help="TorchScript file for FID; FD custom if not the published one",
                                                   metavar="FILE")] = None,
    lag_expert: Annotated[Path | None, typer.Option(help="SyncNet weights for LSE; lag custom if not the published "
                                                    "ones", metavar="FILE")] = None,
    fid_every: Annotated[int, typer.Option(help="FID looks at every n-th frame", min=1)] = 1,
    sounds: Annotated[Path | None, typer.Option(help="for LSE of prepared clips: the folder that was prepared, "
                                        "if it was moved since")] = None,
    mask: Annotated[Mask, typer.Option(help="mouth region: between cheeks and below nose, or lower half")] = "query",
    first: Annotated[bool, typer.Option("--first", help="also judge the first frame, which is the reference")] = False,
    reference: Annotated[Reference, typer.Option(help="which frame shows the person; pair: lips closed, lips open, as "
                                                 "dubbing does")] = "first",
    rows: Annotated[str | None, typer.Option(help="who dubs: some of all rows, with commas", metavar="A,B")] = None,
    revoice: Annotated[bool, typer.Option("--revoice", help="also give each clip another one's voice")] = False,
    max_frames: Annotated[int | None, typer.Option(help="judge at most so many frames of each clip")] = None,
    workers: Processes = 1,
    report: Annotated[bool, typer.Option(help="write report.html into the result folder")] = True,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Judge a model on prepared clips, or anybody's videos. Example: sidgan eval bundled data --out judged."""
    if out is None:
        raise ConfigError("give --out, a folder for the results")
    given = {"--split": split, "--clips": clips, "--spans": spans, "--sounds": sounds, "--rows": rows,
             "--revoice": revoice, "--reference": reference != "first"}  # fmt: skip
    useless = [name for name, value in given.items() if value] if videos else ["--size"] if size != 512 else []
    require(not useless, f"{', '.join(useless)}: for {'prepared clips' if videos else '--videos'} only; leave it out")
    require(spans is None or clips is not None, "--spans goes with --clips lrw only")
    look_first([inception, lag_expert], [], [model, expert])
    from functools import partial

    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.lists import choose

    where = str(choose_device(device))
    with bar() as show:
        own = judging.NetworkFiles(inception, lag_expert, fid_every)
        fetched = partial(own.or_published, lambda done, total: show(done / max(total, 1), "published networks"))
        shared: dict[str, Any] = {"expert": expert, "workers": workers, "networks": fetched if published else own,
                                  "progress": lambda done, total: show(done / total, f"{done} of {total} clips")}
        if videos is not None and truth is not None and not model:
            look = judging.VideoSettings(size, mask, score_reference=first, max_frames=max_frames, device=where)
            results = judging.evaluate_videos(out, videos, truth, settings=look, **shared)
        elif model and data and videos is None and truth is None:
            how = judging.Settings(
                reference=reference, mask=mask, score_reference=first, max_frames=max_frames, revoice=revoice,
                device=where,
                rows=tuple(rows.split(",")) if rows else judging.ROWS,
            )  # fmt: skip
            listed = None if clips is None else partial(choose, clips=clips, splits=split or (), spans=spans)
            results = judging.evaluate_to(out, model, data, splits=split or ["heldout"], choose=listed, settings=how,
                                          sounds=sounds, **shared)  # fmt: skip
        else:
            raise ConfigError("give MODEL (a weights file or 'bundled') and prepared folders, or --videos and --truth")
    lines = [judging.table(results)]
    facts: dict[str, Any] = {"results": {name: result.to_dict() for name, result in results.items()}}
    for line in judging.notes(out):
        say(f"  {line}")
    if report:
        facts["report"] = str(judging.write_report(out))
        lines.append(f"see {facts['report']}")
    answer(facts, as_json, "\n".join(lines))


def robustness(
    model: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'", show_default=False)],
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="result folder; gone on with if it is there",
                                      show_default=False)],
    split: Annotated[list[str] | None, typer.Option(help="splits to judge (heldout), in one table")] = None,
    clips: Annotated[int | None, typer.Option(help="judge only so many clips, drawn by their names")] = None,
    factors: Annotated[str | None, typer.Option(help="some of yaw, side, size, white, pink, babble and rate; else all",
                                                metavar="A,B")] = None,
    expert: Expert = "bundled",
    mask: Annotated[Mask, typer.Option(help="mouth region: between cheeks and below nose, or lower half")] = "query",
    max_frames: Annotated[int | None, typer.Option(help="judge at most so many frames of each clip")] = None,
    workers: Processes = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Where a model gets worse: pose, size, noise, speed. Example: sidgan robustness bundled data --out limits."""
    look_first([], [], [model, expert])
    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.factors import notes
    from sidgan.evaluation.remarks import left_out, narrow

    how = judging.RobustnessSettings(
        tuple(factors.split(",")) if factors else judging.FACTORS, mask, max_frames, clips, str(choose_device(device))
    )
    with bar() as show:
        tables = judging.robustness_to(
            out, model, data, splits=split or ["heldout"], expert=expert, settings=how, workers=workers,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
        )  # fmt: skip
    answer({"factors": [one.to_dict() for one in tables]}, as_json, "\n\n".join(one.text() for one in tables))
    for line in [*left_out(out), *narrow(out), *notes(tables)]:
        say(f"  {line}")
    say(f"see {out / 'robustness.svg'}")
