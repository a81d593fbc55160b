"""`sidgan paper`: Tables 1, 2 and 4, the runs of the ablation, and Figure 7, which plots the tables' values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sidgan.cli.options import AsJson, Device, Processes
from sidgan.cli.output import answer, bar, say
from sidgan.files import look_first

if TYPE_CHECKING:
    from sidgan.paper.budgets import Budget
    from sidgan.paper.collect import Comparison
    from sidgan.paper.table4 import Row

Methods = Annotated[list[str] | None, typer.Option(
    "--method", metavar="NAME[@SET]=PLACE", help="a method; may be repeated. PLACE is a result folder of sidgan eval, "
    "or a weights file, 'bundled', a run or a folder of finished videos, to be judged. SET: avspeech, hdtf or lrw",
)]  # fmt: skip
Data = Annotated[list[str] | None, typer.Option(
    help="test data: a prepared folder, or the true videos for methods that are finished videos", metavar="SET=FOLDER",
)]  # fmt: skip
Split = Annotated[str | None, typer.Option(help="split to judge (default: our version of the published test list)")]
System = Annotated[Literal["composite", "raw"], typer.Option(help="judge the dub as pasted into the frame or as drawn")]
Published = Annotated[bool, typer.Option("--published", help="also measure FID and LSE; downloads two published files, "
                                         "151 MB")]  # fmt: skip
Inception = Annotated[Path | None, typer.Option(help="TorchScript network for FID (default: the published one)",
                                                metavar="FILE")]  # fmt: skip
LagExpert = Annotated[Path | None, typer.Option(help="SyncNet weights for LSE (default: the published ones)",
                                                metavar="FILE")]  # fmt: skip
Frames = Annotated[int | None, typer.Option("--max-frames", help="judge at most this many frames of each clip")]
Out = Annotated[Path, typer.Option(help="folder for the table and its numbers; new results go to OUT/judged")]


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    for command in (table1, table2, table4, ablation, fig7):
        app.command()(command)


def table1(
    method: Methods = None, data: Data = None, split: Split = None, system: System = "composite",
    published: Published = False, inception: Inception = None, lag_expert: LagExpert = None,
    max_frames: Frames = None, workers: Processes = 1, device: Device = "auto", out: Out = Path("tables"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Table 1: methods on AVSpeech and HDTF. Example: sidgan paper table1 --method Ours=judged-hdtf."""
    look_first([inception, lag_expert], [])
    found = _comparisons(method, data, split, system, (published, inception, lag_expert), max_frames, workers, device,
                         out, copies=True)  # fmt: skip
    _show("table1", 1, ("avspeech", "hdtf"), found, _budgets(method), out, as_json)


def table2(
    method: Methods = None, data: Data = None, split: Split = None, system: System = "composite",
    published: Published = False, inception: Inception = None, lag_expert: LagExpert = None,
    max_frames: Frames = None, workers: Processes = 1, device: Device = "auto", out: Out = Path("tables"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Table 2: methods on LRW. Example: sidgan paper table2 --method Ours=runs/003-gan512 --data lrw=packed."""
    look_first([inception, lag_expert], [])
    found = _comparisons(method, data, split, system, (published, inception, lag_expert), max_frames, workers, device,
                         out, copies=True)  # fmt: skip
    _show("table2", 2, ("lrw",), found, _budgets(method), out, as_json)


def table4(
    folder: Annotated[Path | None, typer.Argument(help="folder from sidgan paper ablation", show_default=False)] = None,
    row: Annotated[list[str] | None, typer.Option(
        help="instead of FOLDER: results of sidgan eval, once for each run; runs of one NAME are seeds",
        metavar="NAME=RESULTS",
    )] = None,
    split: Annotated[str | None, typer.Option(help="split, if the results have several")] = None,
    system: System = "composite",
    out: Annotated[Path, typer.Option(help="folder for the table and its numbers")] = Path("tables"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Table 4: the effect of each part, over several seeds. Example: sidgan paper table4 ablation."""
    from sidgan.paper import table4 as four
    from sidgan.settings import require

    either = (folder is None) == bool(row)
    require(either, "give a folder from sidgan paper ablation, or --row NAME=RESULTS for each run")
    rows = four.rows_of(folder, split) if folder is not None else four.rows_named(row or [], split)
    _show_ablation(rows, system, out, as_json)


def ablation(
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder for runs and results; work in it is resumed")] = Path("ablation"),
    rows: Annotated[str | None, typer.Option(help="rows to train (default: all): no_contextual, perceptual, "
                                             "vanilla_sync, no_pyramid, full, laplacian, no_progressive, concat_audio",
                                             metavar="A,B")] = None,
    seeds: Annotated[str, typer.Option(help="random seeds; a row is trained once for each", metavar="N,N")] = "0,1,2",
    config: Annotated[str, typer.Option(help="settings of the full model: preset or TOML file")] = "small128",
    steps: Annotated[int, typer.Option(help="number of updates, the same for all rows", min=1)] = 2000,
    expert: Annotated[str, typer.Option(help="weights of the sync expert, or 'bundled'")] = "bundled",
    vanilla: Annotated[str | None, typer.Option(help="weights of a vanilla expert, for the row vanilla_sync",
                                                 metavar="FILE")] = None,
    split: Annotated[str, typer.Option(help="split to judge")] = "heldout",
    published: Published = False, inception: Inception = None, lag_expert: LagExpert = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="change a setting of all runs: a.b=value",
                                                       metavar="KEY=VALUE")] = None,
    max_frames: Frames = None, system: System = "composite", workers: Processes = 1, device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Train and judge the rows of Table 4. Example: sidgan paper ablation data --steps 5000 --seeds 0,1,2.

    If it is interrupted, run the same command again: it resumes, and finished runs are kept.
    """
    look_first([inception, lag_expert], [], [expert, vanilla])
    from dataclasses import replace

    from sidgan.engine import choose_device
    from sidgan.evaluation import NetworkFiles
    from sidgan.paper import ablation as running
    from sidgan.paper import table4 as four
    from sidgan.settings import require

    numbers = [int(n) for n in seeds.split(",") if n.strip().isdecimal()]
    require(len(numbers) == len(seeds.split(",")), f"--seeds must be whole numbers, such as 0,1,2, not {seeds}")
    experts = {"aps": expert} | ({} if vanilla is None else {"vanilla": vanilla})
    chosen = rows.split(",") if rows else [r for r, s in running.SETTINGS.items() if s.expert in experts]
    networks = NetworkFiles(inception, lag_expert)
    with bar() as show:
        plan = running.Plan(out, data, chosen, numbers, config, steps, settings or [], experts, split, max_frames,
                            system, networks, workers, str(choose_device(device)))  # fmt: skip
        running.check(plan)
        if published:
            networks = networks.or_published(lambda done, total: show(done / max(total, 1), "published networks"))
        running.ablate(replace(plan, networks=networks), show)
    if rows is None and vanilla is None:
        say("  the row vanilla_sync is left out; it needs --vanilla FILE, from: sidgan train syncnet DATA --config "
            "syncnet_vanilla")  # fmt: skip
    _show_ablation(four.rows_of(out, None), system, out, as_json)


def _show_ablation(rows: Sequence[Row], system: str, out: Path, as_json: bool) -> None:
    from sidgan.paper import table4 as four
    from sidgan.paper.written import write_texts

    found = four.ablation(rows, system)
    table = four.as_table(found)
    path = write_texts(out, "table4", table.markdown(), found.to_dict())
    answer(found.to_dict(), as_json, table.text())
    say(f"see {path}")


def fig7(
    method: Methods = None, data: Data = None, split: Split = None, system: System = "composite",
    published: Published = False, inception: Inception = None, lag_expert: LagExpert = None,
    max_frames: Frames = None, workers: Processes = 1, device: Device = "auto",
    out: Annotated[Path, typer.Option(help="folder for the picture and its numbers")] = Path("figures"),
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Figure 7: methods as points, FID against LSE-D. Example: sidgan paper fig7 --method Ours=judged-hdtf."""
    look_first([inception, lag_expert], [])
    from sidgan.paper.draw import require_matplotlib
    from sidgan.paper.scatter import draw_scatter, panels
    from sidgan.paper.written import Figure

    require_matplotlib()
    figure = Figure("fig7", out)
    found = _comparisons(method, data, split, system, (published, inception, lag_expert), max_frames, workers, device,
                         out)  # fmt: skip
    shown = panels(found)
    figure.write({"figure": 7, "panels": [panel.to_dict() for panel in shown]}, as_json)
    draw_scatter(shown, figure.picture)
    for one in found.values():
        for note in one.notes:
            say(f"  {note}")
    say(f"see {figure.picture}")


def _comparisons(
    methods: list[str] | None, data: list[str] | None, split: str | None, system: str,
    networks: tuple[bool, Path | None, Path | None], max_frames: int | None, workers: int, device: str, out: Path,
    copies: bool = False,
) -> dict[str, Comparison]:  # fmt: skip
    """Set -> comparison of its methods; those without results are judged first.

    Args:
        networks: ``--published``, ``--inception`` and ``--lag-expert``.
        copies: also include the baselines that ignore the sound (`sidgan.paper.places.copied`).
    """
    from sidgan.engine import choose_device
    from sidgan.evaluation import NetworkFiles
    from sidgan.paper import collect, places

    wanted = [collect.named(text) for text in methods or ()]
    folders = sets_of(data or ())
    for one in wanted:
        places.judgeable(*one, folders)
    own = NetworkFiles(networks[1], networks[2])
    with bar() as show:
        if networks[0]:
            own = own.or_published(lambda done, total: show(done / max(total, 1), "published networks"))
        where = str(choose_device(device))
        how = places.Judging(out / "judged", folders, split, system, own, max_frames, workers, where, show)
        results = places.by_set([pair for one in wanted for pair in places.judged(*one, how)])
        if copies:
            results = {name: [*some, *places.copied(name, some, how)] for name, some in results.items()}
    for _, _, place in wanted:
        if (line := places.unfinished(place)) is not None:
            say(f"  {line}")
    return {name: collect.compare(some, system) for name, some in results.items()}


def _budgets(methods: list[str] | None) -> list[Budget]:
    """The training budgets of the methods that are weights or runs."""
    from sidgan.paper import collect
    from sidgan.paper.budgets import budget_of

    wanted = {place: name for name, _, place in map(collect.named, methods or ())}
    return [found for place, name in wanted.items() if (found := budget_of(name, place)) is not None]


def sets_of(texts: list[str] | tuple[()]) -> dict[str, Path]:
    """Parse ``SET=FOLDER`` of the option ``--data`` into set -> folder.

    Raises:
        ConfigError: a text has another form, or names no set.
    """
    from sidgan.paper.published import SETS
    from sidgan.settings import require

    found = {}
    for text in texts:
        name, _, folder = text.partition("=")
        require(name in SETS and bool(folder), f"--data must be SET=FOLDER, SET one of {', '.join(SETS)}, not '{text}'")
        found[name] = Path(folder)
    return found


def _show(
    name: str, number: int, sets: tuple[str, ...], found: Mapping[str, Comparison], budgets: Sequence[Budget],
    out: Path, as_json: bool,
) -> None:  # fmt: skip
    """Write and print the tables of these sets, and that of the trainings."""
    from sidgan.paper.budgets import as_table
    from sidgan.paper.orderings import orderings
    from sidgan.paper.published import BENCHMARKS
    from sidgan.paper.tables import benchmark
    from sidgan.paper.written import write_texts

    tables = [benchmark(number, one, found.get(one)) for one in sets] + ([as_table(budgets)] if budgets else [])
    values: dict[str, Any] = {"table": number, "sets": {
        one: {"paper": BENCHMARKS[one], "here": found[one].to_dict() if one in found else None,
              "orderings": [o.to_dict() for o in orderings(found[one], one)] if one in found else []} for one in sets
    }, "trainings": [budget.to_dict() for budget in budgets]}  # fmt: skip
    path = write_texts(out, name, "\n".join(table.markdown() for table in tables), values)
    answer(values, as_json, "\n\n".join(table.text() for table in tables))
    for other in sorted(found.keys() - set(sets)):
        say(f"  not in this table: results on {other}")
    say(f"see {path}")
