"""`sidgan paper`: the figures that show faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import AsJson, Device, Model
from sidgan.cli.output import bar, say
from sidgan.errors import counted
from sidgan.files import look_first
from sidgan.settings import require

Methods = Annotated[list[str] | None, typer.Option(
    "--method", metavar="NAME=PLACE", help="a method, shown as a column: a folder of finished videos, or a weights "
    "file, 'bundled' or a run folder, which dubs the true videos with their own sound; may be repeated",
)]  # fmt: skip
Truth = Annotated[Path | None, typer.Option(help="folder of the true videos (default: computer-drawn people)",
                                            metavar="FOLDER")]  # fmt: skip
Clips = Annotated[int, typer.Option(help="number of videos to show, by name", min=1)]
Moments = Annotated[int, typer.Option(help="number of rows for each video", min=1)]
Voice = Annotated[Path | None, typer.Option(help="the new voice", metavar="AUDIO")]
Out = Annotated[Path, typer.Option(help="folder for the picture and its numbers")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (fig1, fig5, fig6, fig8):
        app.command()(command)


def fig1(
    videos: Annotated[list[Path] | None, typer.Argument(help="two videos of one face each (default: two computer-drawn "
                                                        "people)", show_default=False)] = None,
    voice: Voice = None,
    model: Model = "bundled",
    device: Device = "auto",
    out: Out = Path("figures"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Figure 1: do two people move their lips alike? Example: sidgan paper fig1 a.mp4 b.mp4 --voice c.wav."""
    require(len(videos or []) in (0, 2), f"fig1 compares two people: give two videos or none, not {len(videos or [])}")
    look_first([*(videos or ()), voice], [], [model])
    from sidgan.paper import voices
    from sidgan.paper.draw import require_matplotlib
    from sidgan.paper.written import Figure

    require_matplotlib()
    figure = Figure("fig1", out)
    with bar() as show:
        found = voices.one_voice(videos or [], voice, model=model, device=device, progress=show)
    figure.write(found.to_dict(), as_json)
    voices.draw_one_voice(found, figure.picture)
    if not as_json:
        print(f"lips of {found.speakers[0].name} and {found.speakers[1].name} under one voice: correlation "
              f"{found.together:.2f} (as filmed {found.before:.2f}, by chance {found.chance:.2f})")  # fmt: skip
    say(f"see {figure.picture}")


def fig5(
    method: Methods = None, truth: Truth = None, clips: Clips = 3, moments: Moments = 2, device: Device = "auto",
    out: Out = Path("figures"), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Figure 5: methods beside the true video. Example: sidgan paper fig5 --method Ours=bundled --truth films."""
    from sidgan.paper.collect import named

    _side_by_side(5, [(name, place) for name, _, place in map(named, method or ["Ours=bundled"])], truth, clips,
                  moments, device, out, as_json)  # fmt: skip


def fig8(
    ablation: Annotated[Path, typer.Argument(help="folder from sidgan paper ablation", show_default=False)],
    truth: Truth = None, clips: Clips = 3, moments: Moments = 2, device: Device = "auto",
    out: Out = Path("figures"), as_json: AsJson = False,
) -> None:  # fmt: skip
    """Figure 8: pictures of the ablation, one column for each row of Table 4. Example: sidgan paper fig8 ablation."""
    from sidgan.errors import InputError
    from sidgan.paper.ablation import SETTINGS, read_runs

    methods: dict[str, str] = {}
    for run in read_runs(ablation):
        if run.state == "done":
            methods.setdefault(SETTINGS[run.row].label, str(run.folder / "run"))  # the first successful seed
    if not methods:
        raise InputError(f"{ablation} has no successful run; see sidgan paper table4 {ablation}")
    _side_by_side(8, list(methods.items()), truth, clips, moments, device, out, as_json)


def _side_by_side(
    number: int, methods: list[tuple[str, str]], truth: Path | None, clips: int, moments: int, device: str, out: Path,
    as_json: bool,
) -> None:  # fmt: skip
    from sidgan.paper import side_by_side
    from sidgan.paper.draw import require_matplotlib
    from sidgan.paper.sheet import draw_sheet
    from sidgan.paper.written import Figure

    require_matplotlib()
    figure = Figure(f"fig{number}", out)
    with bar() as show:
        found = side_by_side.compare(methods, truth, clips=clips, moments=moments, device=device, progress=show)
    figure.write(found.to_dict(number), as_json)
    draw_sheet(side_by_side.as_sheet(found, number), figure.picture)
    for name in found.methods if not as_json else ():
        mean = found.mean(name)
        print(f"{name}: mouth {mean.psnr:.1f} dB, LMD {mean.lmd:.1f} px, over {counted(len(found.moments), 'moment')}")
    say(f"see {figure.picture}")


def fig6(
    beard: Annotated[Path | None, typer.Option(help="video of a beard", metavar="VIDEO")] = None,
    side: Annotated[Path | None, typer.Option(help="video of a turned head", metavar="VIDEO")] = None,
    occlusion: Annotated[Path | None, typer.Option(help="video of a partly covered mouth", metavar="VIDEO")] = None,
    low: Annotated[Path | None, typer.Option(help="video of a small face", metavar="VIDEO")] = None,
    voice: Voice = None, model: Model = "bundled", device: Device = "auto", out: Out = Path("figures"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Figure 6: hard cases (default: computer-drawn people). Example: sidgan paper fig6 --beard a.mp4 --low b.mp4."""
    given = {"beard": beard, "side": side, "occlusion": occlusion, "low": low}
    look_first([*given.values(), voice], [], [model])
    from sidgan.paper import extremes
    from sidgan.paper.draw import require_matplotlib
    from sidgan.paper.sheet import draw_sheet
    from sidgan.paper.written import Figure

    require_matplotlib()
    figure = Figure("fig6", out)
    videos = {name: video for name, video in given.items() if video is not None}
    with bar() as show:
        cases = extremes.extremes(videos, model=model, voice=voice, device=device, progress=show)
    figure.write({"figure": 6, "cases": [case.to_dict() for case in cases]}, as_json)
    draw_sheet(extremes.as_sheet(cases), figure.picture)
    for case in cases if not as_json else ():
        print(f"{extremes.LABELS[case.name]}: {case.dubbed} of {case.frames} frames redrawn, face {case.face:.0f} px")
    say(f"see {figure.picture}")
