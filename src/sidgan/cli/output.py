"""Output of commands: results on standard output, notes and progress on standard error."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sidgan.types import Show

EVERY = 60.0  #: seconds between progress lines without a terminal; shorter work prints none

console = Console(stderr=True)


def say(line: str) -> None:
    """Print a line as it is, without markup, colours or line breaks."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def answer(values: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a command's result, as JSON for programs or as text for people."""
    print(json.dumps(values, indent=1) if as_json else text)


@contextmanager
def bar() -> Iterator[Show]:
    """Show a progress bar; yields the function to call with the share done and a line of text.

    If standard error is no terminal, such as a log file, a line is printed every minute instead.
    """
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=text)


def _lines() -> Show:
    printed = time.monotonic()

    def show(share: float, text: str) -> None:
        nonlocal printed
        if time.monotonic() - printed >= EVERY:
            printed = time.monotonic()
            say(f"{share:4.0%}  {text}")

    return show
