"""`sidgan eval` and `sidgan robustness`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sidgan.cli.options import DEVICE, EXPERT, PROCESSES, AsJson, Device, Expert, Processes
from sidgan.cli.output import answer, bar, say
from sidgan.errors import ConfigError
from sidgan.files import look_first
from sidgan.settings import require

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sidgan.evaluation import EvalResult, NetworkFiles
    from sidgan.types import Show

Mask = Literal["query", "lower"]
Reference = Literal["first", "last", "pair"]
CLIPS, VIDEOS, METRICS, SPEED = (  #: panels of the help
    "Prepared clips only", "Finished videos only", "Metrics", "Speed and machines",
)  # fmt: skip
MASK = "mouth region: the box between the cheeks and below the nose (query), or the lower half of the face crop"
MAX_FRAMES = "judge at most this many frames of each clip"


def evaluate(
    model: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'", metavar="MODEL")] = "",
    data: Annotated[list[Path] | None, typer.Argument(help="prepared folders", metavar="DATA...")] = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", help="folder for the results; an unfinished evaluation in it is resumed")] = None,
    split: Annotated[list[str] | None, typer.Option(
        help="split to judge (default: heldout); repeat it for more tables", rich_help_panel=CLIPS)] = None,
    clips: Annotated[str | None, typer.Option(
        help="test list: avspeech, hdtf, lrw, or a file with one clip name per line", metavar="LIST",
        rich_help_panel=CLIPS)] = None,
    spans: Annotated[Path | None, typer.Option(
        help="for --clips lrw: word times from an aligner, one NAME START END per line", rich_help_panel=CLIPS)] = None,
    videos: Annotated[Path | None, typer.Option(
        help="folder of finished videos to judge, made by any tool", rich_help_panel=VIDEOS)] = None,
    truth: Annotated[Path | None, typer.Option(
        help="folder of the true videos, under the same names", rich_help_panel=VIDEOS)] = None,
    size: Annotated[int, typer.Option(
        help="side of the face crops that are compared, px", rich_help_panel=VIDEOS)] = 512,
    expert: Annotated[str, typer.Option(help=EXPERT, rich_help_panel=METRICS)] = "bundled",
    published: Annotated[bool, typer.Option(
        "--published", help="also measure FID and LSE; downloads two published files, 151 MB: see sidgan info "
        "--downloads", rich_help_panel=METRICS)] = False,
    inception: Annotated[Path | None, typer.Option(
        help="TorchScript network for FID; if not the published one, the column is named FD custom",
        metavar="FILE", rich_help_panel=METRICS)] = None,
    lag_expert: Annotated[Path | None, typer.Option(
        help="SyncNet weights for LSE; if not the published ones, the columns are named lag-D and lag-C custom",
        metavar="FILE", rich_help_panel=METRICS)] = None,
    fid_every: Annotated[int, typer.Option(
        help="compute FID on every n-th frame", min=1, rich_help_panel=METRICS)] = 1,
    sounds: Annotated[Path | None, typer.Option(
        help="for LSE: the folder of videos that DATA was made from, if it was moved", rich_help_panel=CLIPS)] = None,
    mask: Annotated[Mask, typer.Option(help=MASK, rich_help_panel=METRICS)] = "query",
    first: Annotated[bool, typer.Option(
        "--first", help="also judge the first frame, which is the reference frame", rich_help_panel=METRICS)] = False,
    reference: Annotated[Reference, typer.Option(
        help="reference frames: the first, the last, or a pair with lips closed and lips open, as in dubbing",
        rich_help_panel=CLIPS)] = "first",
    rows: Annotated[str | None, typer.Option(
        help="rows of the table to compute, such as truth,model (default: all)", metavar="A,B",
        rich_help_panel=CLIPS)] = None,
    revoice: Annotated[bool, typer.Option(
        "--revoice", help="also dub each clip with the voice of another clip", rich_help_panel=CLIPS)] = False,
    max_frames: Annotated[int | None, typer.Option(help=MAX_FRAMES, rich_help_panel=METRICS)] = None,
    workers: Annotated[int, typer.Option(help=PROCESSES, min=1, rich_help_panel=SPEED)] = 1,
    report: Annotated[bool, typer.Option(help="write report.html into the result folder")] = True,
    device: Annotated[str, typer.Option(help=DEVICE, rich_help_panel=SPEED)] = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Judge a model on prepared clips, or finished videos of any tool. Example: sidgan eval bundled data --out judged.

    Finished videos: sidgan eval --videos made --truth originals --out judged.
    """
    if out is None:
        raise ConfigError("give --out, a folder for the results")
    of_clips = {"--split": split, "--clips": clips, "--spans": spans, "--sounds": sounds, "--rows": rows,
                "--revoice": revoice, "--reference": reference != "first"}  # fmt: skip
    if videos is None:
        _refuse({"--size": size != 512}, "--videos")
    else:
        _refuse(of_clips, "prepared clips")
    require(spans is None or clips == "lrw", "--spans is only for --clips lrw; leave it out, or add --clips lrw")
    look_first([inception, lag_expert], [], [model, expert])
    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.lists import choose

    where = str(choose_device(device))
    with bar() as show:
        shared: dict[str, Any] = {
            "expert": expert, "workers": workers, "progress": _clip_progress(show),
            "networks": _networks(judging.NetworkFiles(inception, lag_expert, fid_every), published, show),
        }  # fmt: skip
        if videos is not None and truth is not None and not model:
            of_videos = judging.VideoSettings(size, mask, score_reference=first, max_frames=max_frames, device=where)
            results = judging.evaluate_videos(out, videos, truth, settings=of_videos, **shared)
        elif model and data and videos is None and truth is None:
            of_model = judging.Settings(
                reference=reference, mask=mask, score_reference=first, max_frames=max_frames, revoice=revoice,
                device=where, rows=tuple(rows.split(",")) if rows else judging.ROWS,
            )  # fmt: skip
            test_list = None if clips is None else partial(choose, clips=clips, splits=split or (), spans=spans)
            results = judging.evaluate_to(out, model, data, splits=split or ["heldout"], choose=test_list,
                                          settings=of_model, sounds=sounds, **shared)  # fmt: skip
        else:
            raise ConfigError("give MODEL (a weights file or 'bundled') and prepared folders, or --videos and --truth")
    _answer(out, results, report, as_json)


def _refuse(given: Mapping[str, Any], only_for: str) -> None:
    """Raise a `ConfigError` that names the options that were given but have no effect in this mode."""
    unused = [name for name, value in given.items() if value]
    require(not unused, f"{', '.join(unused)}: only for {only_for}; leave it out")


def _networks(own: NetworkFiles, published: bool, show: Show) -> NetworkFiles | Callable[[], NetworkFiles]:
    """The user's networks; with ``published``, a function that downloads those that are missing, for when needed."""
    download = partial(own.or_published, lambda done, total: show(done / max(total, 1), "published networks"))
    return download if published else own


def _clip_progress(show: Show) -> Callable[[int, int], None]:
    return lambda done, total: show(done / total, f"{done} of {total} clips")


def _answer(out: Path, results: Mapping[str, EvalResult], report: bool, as_json: bool) -> None:
    """Write the report if wanted, and print the table, its notes and the path of the report."""
    from sidgan import evaluation as judging

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
    out: Annotated[Path, typer.Option("-o", "--out", help="folder for the results; an unfinished evaluation in it is "
                                      "resumed", show_default=False)],
    split: Annotated[list[str] | None, typer.Option(help="split to judge (default: heldout); may be repeated")] = None,
    clips: Annotated[int | None, typer.Option(help="judge only this many clips, chosen by their names")] = None,
    factors: Annotated[str | None, typer.Option(help="factors to vary (default: all): yaw, side, size, white, pink, "
                                                "babble, rate",
                                                metavar="A,B")] = None,
    expert: Expert = "bundled",
    mask: Annotated[Mask, typer.Option(help=MASK)] = "query",
    max_frames: Annotated[int | None, typer.Option(help=MAX_FRAMES)] = None,
    workers: Processes = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find where a model gets worse: pose, size, noise, speed. Example: sidgan robustness bundled data --out limits."""
    look_first([], [], [model, expert])
    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.factors import notes
    from sidgan.evaluation.remarks import left_out, narrow

    settings = judging.RobustnessSettings(
        tuple(factors.split(",")) if factors else judging.FACTORS, mask, max_frames, clips, str(choose_device(device))
    )
    with bar() as show:
        tables = judging.robustness_to(
            out, model, data, splits=split or ["heldout"], expert=expert, settings=settings, workers=workers,
            progress=_clip_progress(show),
        )  # fmt: skip
    answer({"factors": [one.to_dict() for one in tables]}, as_json, "\n\n".join(one.text() for one in tables))
    for line in [*left_out(out), *narrow(out), *notes(tables)]:
        say(f"  {line}")
    say(f"see {out / 'robustness.svg'}")
