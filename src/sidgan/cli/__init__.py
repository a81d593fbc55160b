"""The command line: each command parses options, calls the package and prints the result; nothing is computed here."""

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

#: Panel of the help -> command -> function, or app with further commands.
COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
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
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  #: errors that only writing can cause

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Dub video: redraw the mouth of a talking face so that it speaks a new audio track.",
)  # fmt: skip
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, rich_help_panel=panel)(command)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version and exit")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _fail(line: str, code: int = SidganError.exit_code) -> NoReturn:
    """Print one line of error and exit."""
    console.print(f"sidgan: {plain(line)}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def _flushed() -> Iterator[None]:
    """Flush standard output when the block ends. At interpreter exit, Python would report a failure in its own way."""
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            with suppress(OSError):  # discard the rest of the buffer, which Python would try to flush again at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise
            sys.exit(1)  # the reader of the pipe has closed it, which is no error to report


def main() -> None:
    """Entry point. An error that a user can fix ends the process with one clear line and its exit code, usually 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a file name that the console cannot encode must not end the work
    try:
        with _flushed():
            app(standalone_mode=True)
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # typer prints no message
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
        # The name may be too long, or a folder may not be readable: systems do not say whether there is such a file.
        _fail(f"{error.filename} cannot be used: {reason}; check the name and the permissions")
    except KeyboardInterrupt:
        console.print("sidgan: stopped")
        sys.exit(130)
