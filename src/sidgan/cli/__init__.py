"""The command line: each verb is one typed call into the package. Nothing is computed here."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, NoReturn

import typer

from sidgan.cli import paper, study, training
from sidgan.cli.computer import doctor, info
from sidgan.cli.data import inspect, label, multiply, prepare, shards
from sidgan.cli.dubbing import demo, dub, faces, verify
from sidgan.cli.judging import evaluate, robustness
from sidgan.cli.models import adapt, export, import_weights
from sidgan.cli.output import console
from sidgan.cli.serving import serve, serve_worker
from sidgan.errors import SidganError, plain
from sidgan.version import __version__

VERBS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Dub": {
        "dub": dub, "faces": faces, "verify": verify, "adapt": adapt, "demo": demo, "export": export, "info": info,
        "doctor": doctor, "serve": serve, "serve-worker": serve_worker,
    },
    "Train": {
        "import": import_weights, "prepare": prepare, "shards": shards, "inspect": inspect, "multiply": multiply,
        "label": label, "train": training.app,
    },
    "Judge": {"eval": evaluate, "robustness": robustness, "paper": paper.app, "study": study.app},
}  # fmt: skip
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  #: errors of writing alone, whatever was written

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Dub video: redraw the mouth of a talking face so that it speaks a new audio track.",
)  # fmt: skip
for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        if isinstance(verb, typer.Typer):
            app.add_typer(verb, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(verb)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _fail(line: str, code: int = SidganError.exit_code) -> NoReturn:
    console.print(f"sidgan: {plain(line)}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def _written() -> Iterator[None]:
    """Have what was printed written when the block ends: Python would do it at the very end, and complain itself."""
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            with suppress(OSError):  # what is left is of no use, and would be tried once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise
            sys.exit(1)  # who reads has seen enough


def main() -> None:
    """Entry point: one clear line and exit code 2 for everything a user can fix."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that a console cannot show must not end the work
    try:
        with _written():
            app(standalone_mode=True)
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # typer leaves without a word
            console.print("sidgan: stopped")
        raise
    except SidganError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        reason = (error.strerror or str(error)).lower()
        if error.filename is None:
            _fail(f"the output cannot be written: {reason}; free space or write to another place")
        # Whether there is a file of too long a name, or in a folder that may not be looked into, systems do not say.
        _fail(f"{error.filename} cannot be used: {reason}; check the name and the permissions")
    except KeyboardInterrupt:
        console.print("sidgan: stopped")
        sys.exit(130)
