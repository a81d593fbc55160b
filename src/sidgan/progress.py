"""A progress bar for people, for everything that takes a while on a command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(console: Console) -> Iterator[Callable[[float, str], None]]:
    """What the block calls with the share done and a line of text; silent where ``console`` is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        yield lambda share, text: progress.update(task, completed=share, description=text)
