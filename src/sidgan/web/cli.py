"""``sidgan serve`` and ``sidgan serve-worker``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from sidgan.errors import ConfigError

INSTALL = "pip install 'sidgan[serve]'"
HOST = "127.0.0.1"
Kind = Literal["torch", "onnx", "openvino", "auto"]
Folder = Annotated[Path, typer.Option(help="where files, jobs and results are kept; made if it is not there")]
Model = Annotated[str, typer.Option(help="weights file of a generator, 'bundled', or a file of sidgan export",
                                    metavar="FILE")]  # fmt: skip
Device = Annotated[str, typer.Option(help="auto, cpu or cuda")]
Engine = Annotated[Kind, typer.Option(help="what runs the network")]
Keep = Annotated[float, typer.Option("--keep-hours", help="how long files and results are kept", min=0.01)]
Memory = Annotated[float, typer.Option("--max-memory-mb", help="that a job may take; one that takes more fails, MB",
                                       min=500)]  # fmt: skip


def serve(
    folder: Folder = Path("sidgan-service"),
    host: Annotated[str, typer.Option(help="address to listen at; all but this machine's own need --tokens")] = HOST,
    port: Annotated[int, typer.Option(help="and its port", min=1, max=65535)] = 8000,
    tokens: Annotated[Path | None, typer.Option(help="who may use it: a line with a name and a token for each",
                                                metavar="FILE", show_default=False)] = None,
    name: Annotated[list[str] | None, typer.Option(help="a name by which it is called, beside HOST; once for each",
                                                   metavar="NAME")] = None,
    workers: Annotated[int, typer.Option(help="processes that do jobs; 0 where sidgan serve-worker does", min=0)] = 1,
    max_mb: Annotated[float, typer.Option(help="size of a file, MB", min=0.1)] = 1000,
    max_minutes: Annotated[float, typer.Option(help="length of a video or voice", min=0.05)] = 15,
    max_megapixels: Annotated[float, typer.Option(help="size of a picture, million px", min=0.05)] = 8.3,
    max_jobs: Annotated[int, typer.Option(help="that one user may have unfinished", min=1)] = 20,
    memory: Memory = 4000,
    keep: Keep = 24,
    model: Model = "bundled",
    device: Device = "auto",
    engine: Engine = "torch",
) -> None:  # fmt: skip
    """A page and an API for dubbing. Example: sidgan serve, then open http://127.0.0.1:8000 in a browser.

    For others than this machine: sidgan serve --host 0.0.0.0 --name dub.example.org --tokens tokens.txt. What was begun
    goes on when it is stopped and started again. See docs/service.md.
    """
    _require("fastapi", "uvicorn", "psutil")
    from sidgan.web.limits import Limits
    from sidgan.web.server import run
    from sidgan.web.settings import LOOPBACK, Service, read_tokens

    limits = Limits(upload=round(max_mb * 1e6), seconds=60 * max_minutes, pixels=round(max_megapixels * 1e6),
                    jobs=max_jobs, keep=keep)  # fmt: skip
    service = Service(
        folder=folder.resolve(), host=host, port=port, tokens=read_tokens(tokens) if tokens else {},
        hosts=(*LOOPBACK, host, *(name or ())), limits=limits, model=model, device=device, engine=engine,
        workers=workers, memory=round(memory * 1e6),
    )  # fmt: skip
    run(service, lambda: print(f"sidgan: open {service.address} in a browser; Ctrl-C stops", flush=True))


def serve_worker(
    folder: Folder = Path("sidgan-service"),
    model: Model = "bundled",
    device: Device = "auto",
    engine: Engine = "torch",
    memory: Memory = 4000,
    keep: Keep = 24,
    once: Annotated[bool, typer.Option("--once", help="end when no job waits")] = False,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Do the jobs of a service, beside its own workers or elsewhere. Example: sidgan serve-worker --folder /srv/dub.

    Several may run, on all machines that share the folder. Each is two processes: one does the jobs, the other watches
    its memory and starts it again when it ends.
    """
    if parent is None:
        _require("psutil")
        from sidgan.web.limits import Limits
        from sidgan.web.settings import Service
        from sidgan.web.supervisor import Supervisor

        Supervisor(Service(
            folder=folder.resolve(), model=model, device=device, engine=engine, limits=Limits(keep=keep),
            memory=round(memory * 1e6), workers=0,
        )).run(once=once)  # fmt: skip
        return
    from sidgan.web.worker import Means, work

    means = Means(model=model, device=device, engine=engine, keep=3600 * keep)
    work(folder, means, lambda line: print(f"sidgan: {line}", file=sys.stderr, flush=True), parent=parent, once=once)


def _require(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; run: {INSTALL}")
