"""How commands speak: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sidgan.types import Show

EVERY = 60.0  #: seconds between lines of progress where there is no terminal; shorter work says nothing

console = Console(stderr=True)


def say(line: str) -> None:
    """Print a line as it is, without markup, colours or line breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def answer(values: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a command's result, as JSON for programs or as text for people."""
    print(json.dumps(values, indent=1) if as_json else text)


@contextmanager
def bar() -> Iterator[Show]:
    """A progress bar; gives the function to call with the share that is done and a text.

    In a log file, where nobody watches, it is a line a minute.
    """
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=text)


def _lines() -> Show:
    told = time.monotonic()

    def show(share: float, text: str) -> None:
        nonlocal told
        if time.monotonic() - told >= EVERY:
            told = time.monotonic()
            say(f"{share:4.0%}  {text}")

    return show
