"""What commands say: a line, and how far they are where that takes a while, as a bar for people or lines in logs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sidgan.types import Show

EVERY = 60.0  #: seconds between lines where there is no terminal; what is sooner done than that says nothing


def say(console: Console, line: str) -> None:
    """Print a line as it is, without markup, colours or breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def bar(console: Console) -> Iterator[Show]:
    """What the block calls with how far it is. Where ``console`` is no terminal, some of it stays as lines."""
    if not console.is_terminal:
        yield _lines(console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=text)


def _lines(console: Console) -> Show:
    told = time.monotonic()

    def show(share: float, text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            say(console, f"{share:4.0%}  {text}")

    return show
