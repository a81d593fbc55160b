"""`sidgan study`: build, serve and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import AsJson, Device
from sidgan.cli.output import answer, bar, say
from sidgan.errors import counted

app = typer.Typer(no_args_is_help=True, help="User study: viewers rate clips without knowing which method made them.")

Where = Annotated[Path, typer.Argument(help="the study's folder", show_default=False)]


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="new folder for the study", show_default=False)],
    method: Annotated[list[str] | None, typer.Option(
        help="a method: a folder of finished videos, or a weights file, 'bundled' or a run folder, which dubs --clips "
        "with their own sound; give two or more methods", metavar="NAME=PLACE")] = None,
    clips: Annotated[Path | None, typer.Option(help="folder of the true videos", metavar="FOLDER")] = None,
    count: Annotated[int, typer.Option(help="number of clips, chosen from those that all methods have", min=1)] = 22,
    seconds: Annotated[float, typer.Option(help="show this much of each clip, from its start", min=0.5)] = 30.0,
    seed: Annotated[int, typer.Option(help="random seed for the choice and order of clips", min=0)] = 0,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Build a study. Example: sidgan study build study --method Ours=bundled --method Wav2Lip=made --clips films.

    Show only people who agreed to it, and tell the viewers that faces were redrawn.
    """
    from sidgan.settings import require
    from sidgan.study.build import build as make

    pairs = [text.partition("=") for text in method or ()]
    named = all(name.strip() and place for name, _, place in pairs)
    require(named, "--method must be NAME=PLACE; repeat it for each method")
    with bar() as show:
        study, notes = make(out, [(name.strip(), place) for name, _, place in pairs], clips, count=count,
                            seconds=seconds, seed=seed, device=device, progress=show)  # fmt: skip
    for note in notes:
        say(f"  {note}")
    if len(study.clips) < count:
        say(f"  all methods have only {counted(len(study.clips), 'clip')} in common, not {count}")
    facts = {"clips": list(study.clips), "methods": list(study.methods)}
    text = f"{counted(len(study.clips), 'clip')} by {len(study.methods)} methods -> {out}"
    answer(facts, as_json, f"{text}; next: sidgan study serve {out}")


@app.command()
def serve(
    study: Where,
    port: Annotated[int, typer.Option(help="port of this computer; 0 chooses a free one", min=0, max=65535)] = 8730,
) -> None:
    """Serve the rating page, on this computer only. Example: sidgan study serve study.

    Press Ctrl-C to stop; every answer is saved at once. Viewers on other computers need an SSH tunnel.
    """
    from sidgan.study.server import HOST, make_server

    server = make_server(study, port)
    print(f"http://{HOST}:{server.server_address[1]}/", flush=True)
    say("  open this address in a browser; press Ctrl-C to stop")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("sidgan: stopped")
    finally:
        server.server_close()


@app.command()
def report(study: Where, as_json: AsJson = False) -> None:
    """Report the ratings: Table 3, agreement, all answers as CSV. Example: sidgan study report study."""
    from sidgan.files import write_text
    from sidgan.paper.written import write_texts
    from sidgan.study import report as reporting
    from sidgan.study.answers import Answers
    from sidgan.study.build import read

    built = read(study)
    answers = Answers(study, built)
    ratings, names = answers.all(), answers.names()
    found = reporting.report(built, ratings, names)
    table = reporting.as_table(found)
    path = write_texts(study, "table3", table.markdown(), found.to_dict())
    write_text(study / "ratings.csv", reporting.as_csv(built, ratings, names))
    answer(found.to_dict(), as_json, table.text())
    say(f"see {path} and {study / 'ratings.csv'}")
