"""`sidgan paper`: a command for each figure and table; those of Figures 2 and 4 are defined here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sidgan.cli import paper_pictures, paper_tables
from sidgan.cli.options import AsJson, Device
from sidgan.cli.output import bar, console, say
from sidgan.files import look_first
from sidgan.paper.written import Figure
from sidgan.types import Show

if TYPE_CHECKING:
    from sidgan.paper.material import Material

app = typer.Typer(no_args_is_help=True, help="Tables and figures of the paper, computed on your own material.")
paper_tables.add_to(app)
paper_pictures.add_to(app)
LONG = 2  #: work of at least this many minutes is announced with an estimate

Videos = Annotated[list[Path], typer.Argument(help="videos of a talking face, with sound", show_default=False)]
ExpertFile = Annotated[str, typer.Option(help="weights of the shift-invariant expert, or 'bundled'", metavar="FILE")]
Against = Annotated[str | None, typer.Option(help="weights of a vanilla expert to compare with", metavar="FILE")]
Out = Annotated[Path, typer.Option(help="folder for the picture and its numbers")]
Vgg = Annotated[str, typer.Option(help="VGG19: 'published' (548 MB, once), 'normalised' (80 MB), 'random' or a file")]
Count = Annotated[int, typer.Option(help="number of five-frame windows, spread over the videos", min=1)]
Size = Annotated[int, typer.Option(help="size at which frames are compared, px: 512 (as in the paper), 256 or 128")]
Seed = Annotated[int, typer.Option(help="random seed for the choice of windows", min=0)]


@app.command()
def fig4(
    videos: Videos,
    expert: ExpertFile = "bundled",
    against: Against = None,
    out: Out = Path("figures"),
    vgg: Vgg = "published",
    windows: Count = 64,
    size: Size = 512,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Figure 4: losses over a sideways shift. Example: sidgan paper fig4 a.mp4 b.mp4 --against vanilla.safetensors."""
    _check_inputs(videos, expert, against, vgg)
    from sidgan.paper import draw
    from sidgan.paper.shifts import SHIFTS, shift_curves

    source, experts, reconstruction = _load(videos, expert, against, vgg, windows, size, seed, device)
    figure = Figure("fig4", out)
    _estimate_time(reconstruction, windows * len(SHIFTS))
    with bar() as show:
        result = shift_curves(source, experts, reconstruction, _windows(show))
    figure.write(result.to_dict(), as_json)
    draw.draw_shifts(result, figure.picture)
    for curve in (*result.sync, *result.reconstruction) if not as_json else ():
        low, high = curve.flatness_band
        print(f"flatness {curve.flatness:6.3f}  [{low:.3f}, {high:.3f}]  rise {curve.rise:5.3f}  {curve.name}")
    _print_notes(result.material, figure.picture)


@app.command()
def fig2(
    videos: Videos,
    expert: ExpertFile = "bundled",
    against: Against = None,
    out: Out = Path("figures"),
    vgg: Vgg = "published",
    windows: Count = 16,
    size: Size = 512,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Figure 2: losses over shift and mouth opening. Example: sidgan paper fig2 a.mp4 --against vanilla.safetensors."""
    _check_inputs(videos, expert, against, vgg)
    from sidgan.paper import draw
    from sidgan.paper.landscape import OPENINGS, SHIFTS, landscape

    source, experts, reconstruction = _load(videos, expert, against, vgg, windows, size, seed, device)
    figure = Figure("fig2", out)
    _estimate_time(reconstruction, windows * len(SHIFTS) * len(OPENINGS))
    with bar() as show:
        result = landscape(source, experts[::-1], reconstruction, _windows(show))
    values = result.to_dict()
    figure.write(values, as_json)
    draw.draw_landscape(result, figure.picture)
    for panel in values["panels"] if not as_json else ():
        print(f"{panel['title']}: low together on {panel['area']:.1%}, minima {panel['minima']['distance']:.2f} apart, "
              f"conflict {panel['conflict']:.1%}")  # fmt: skip
    _print_notes(result.material, figure.picture)


def _check_inputs(videos: list[Path], expert: str, against: str | None, vgg: str) -> None:
    """Raise if a file is missing, before slow imports."""
    look_first(videos, [], [expert, against])
    from sidgan.downloads import require_vgg

    require_vgg(vgg)


def _load(
    videos: list[Path], expert: str, against: str | None, vgg: str, windows: int, size: int, seed: int, device: str
) -> tuple[Any, Any, Any]:
    """The source of windows, the experts and the reconstruction losses of Figures 2 and 4."""
    from sidgan.checkpoint import load_vgg
    from sidgan.engine import choose_device
    from sidgan.paper.draw import require_matplotlib
    from sidgan.paper.footage import Source
    from sidgan.paper.judges import Expert, Reconstruction

    require_matplotlib()
    source, where = Source(videos, windows, seed), choose_device(device)
    source.check()
    experts = [Expert.load(file, where) for file in (expert, against) if file is not None]
    return source, experts, Reconstruction(load_vgg(vgg).to(where), size)


def _estimate_time(reconstruction: Any, images: int) -> None:
    """Before long work on a CPU, print how long VGG19 will take for this many images, and how to shorten it."""
    if reconstruction.vgg.mean.device.type != "cpu":
        return
    minutes, size = reconstruction.pace() * images / 60, reconstruction.size
    if minutes >= LONG:
        smaller = "" if size == 128 else f"--size 128 takes 1/{(size // 128) ** 2} of the time, "
        say(f"this takes about {minutes:.0f} min on this CPU (VGG19 at {size} px); {smaller}fewer --windows take less")


def _print_notes(material: Material, picture: Path) -> None:
    if material.caution:
        console.print(f"Caution: {material.caution}", style="bold", markup=False, highlight=False)
    for name, reason in material.skipped.items():
        say(f"  left out: {name}: {reason}")
    windows, videos = material.counts
    say(f"{windows} of {videos} -> {picture}")


def _windows(show: Show) -> Callable[[int, int], None]:
    return lambda done, total: show(done / total, f"{done} of {total} windows")
