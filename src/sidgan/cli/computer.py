"""What is installed on this computer, and how fast it can dub."""

from __future__ import annotations

from typing import Annotated

import typer

from sidgan.cli.options import AsJson, Device
from sidgan.cli.output import answer, bar


def info(
    downloads: Annotated[
        bool, typer.Option("--downloads", help="list files that others publish, with address and licence")
    ] = False,
    fetch: Annotated[str | None, typer.Option(help="download one of these files, by its name", metavar="FILE",
                                              show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """List the bundled weights, and files that can be downloaded. Example: sidgan info --downloads.

    --json also gives the metadata of the bundled weights.
    """
    if fetch is not None:
        from sidgan import downloads as published

        with bar() as show:
            path = published.fetch(published.named(fetch), lambda done, total: show(done / max(total, 1), fetch))
        answer({"file": str(path)}, as_json, str(path))
        return
    if downloads:
        from sidgan.downloads import survey

        found = survey()
        lines = "\n".join(line for one in found for line in one.lines())
        answer({"downloads": [one.to_dict() for one in found]}, as_json, lines)
        return
    from sidgan.doctor import inventory

    installed = inventory.take()
    answer(installed.to_dict(), as_json, "\n".join(installed.lines()))


def doctor(
    device: Device = "auto",
    timed: Annotated[bool, typer.Option(help="also dub some frames, to measure the speed")] = True,
    as_json: AsJson = False,
) -> None:
    """Check whether this computer can dub, and how fast. Example: sidgan doctor.

    It lists what is missing, with the command that installs it.

    Exit code 0: this computer can dub, even if optional parts are missing.
    1: something that dubbing needs is missing or broken.
    """
    from sidgan import doctor as diagnosis

    with bar() as show:
        checkup = diagnosis.examine(device=device, timed=timed, progress=show)
    answer(checkup.to_dict(), as_json, "\n".join(checkup.lines()))
    if not checkup.fit:
        raise typer.Exit(1)
