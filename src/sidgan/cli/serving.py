"""``sidgan serve`` and ``sidgan serve-worker``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import Device, Kind
from sidgan.errors import ConfigError
from sidgan.files import look_first
from sidgan.threads import ready_for_dubs

INSTALL = "pip install 'sidgan[serve]'"
HOST = "127.0.0.1"
Folder = Annotated[Path, typer.Option(help="where files, jobs and results are kept; made if it is not there")]
Model = Annotated[str, typer.Option(help="weights file of a generator, 'bundled', or a file of sidgan export",
                                    metavar="FILE")]  # fmt: skip
Engine = Annotated[Kind, typer.Option(help="what runs the network")]
Address = Annotated[str | None, typer.Option("--queue", envvar="SIDGAN_QUEUE", metavar="URL", show_default=False, help=
                                             "Redis, for workers that do not share the folder: "
                                             "redis://host:6379/0")]  # fmt: skip
Secret = Annotated[Path | None, typer.Option("--worker-secret", help="file with the secret that these workers prove "
                                             "themselves by",
                                             metavar="FILE", show_default=False)]  # fmt: skip
Keep = Annotated[float, typer.Option("--keep-hours", help="how long files and results are kept", min=0.01)]
Memory = Annotated[float, typer.Option("--max-memory-mb", help="memory that a job may take, MB; with more it fails",
                                       min=500)]  # fmt: skip


def serve(
    folder: Folder = Path("sidgan-service"),
    host: Annotated[str, typer.Option(help="address to listen on; all but this machine's own need --tokens")] = HOST,
    port: Annotated[int, typer.Option(help="and its port", min=1, max=65535)] = 8000,
    tokens: Annotated[Path | None, typer.Option(help="who may use it: a line with a name and a token for each",
                                                metavar="FILE", show_default=False)] = None,
    name: Annotated[list[str] | None, typer.Option(help="another name that browsers call it by; once for each",
                                                   metavar="NAME")] = None,
    workers: Annotated[int, typer.Option(help="processes that do jobs; 0 where serve-worker does them", min=0)] = 1,
    queue: Address = None,
    worker_secret: Secret = None,
    max_mb: Annotated[float, typer.Option(help="largest upload, MB", min=0.1)] = 1000,
    max_minutes: Annotated[float, typer.Option(help="longest video or voice, minutes", min=0.05)] = 15,
    max_megapixels: Annotated[float, typer.Option(help="largest picture of a video, million px", min=0.05)] = 8.3,
    max_jobs: Annotated[int, typer.Option(help="unfinished jobs that one user may have", min=1)] = 20,
    memory: Memory = 4000,
    keep: Keep = 24,
    model: Model = "bundled",
    device: Device = "auto",
    engine: Engine = "torch",
) -> None:  # fmt: skip
    """A page and an API for dubbing. Example: sidgan serve, then open http://127.0.0.1:8000 in a browser.

    For other people too: sidgan serve --host 0.0.0.0 --name dub.example.org --tokens tokens.txt.

    Stopped and started again, it continues what was begun. See docs/service.md.
    """
    look_first([], [], [model])
    _require("fastapi", "uvicorn", "psutil")
    ready_for_dubs()
    from sidgan.web.limits import Limits
    from sidgan.web.server import run
    from sidgan.web.settings import LOOPBACK, Service, hashed, read_secret, read_tokens

    limits = Limits(upload=round(max_mb * 1e6), seconds=60 * max_minutes, pixels=round(max_megapixels * 1e6),
                    jobs=max_jobs, keep=keep)  # fmt: skip
    service = Service(
        folder=folder.resolve(), host=host, port=port, tokens=read_tokens(tokens) if tokens else {},
        hosts=(*LOOPBACK, host, *(name or ())), limits=limits, model=model, device=device, engine=engine,
        workers=workers, memory=round(memory * 1e6), queue=queue,
        worker_secret=hashed(read_secret(worker_secret)) if worker_secret else None,
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
    queue: Address = None,
    server: Annotated[str | None, typer.Option(help="address of the service whose folder this machine does not share",
                                               metavar="URL", show_default=False)] = None,
    worker_secret: Secret = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Do the jobs of a service, beside its own workers or elsewhere. Example: sidgan serve-worker --folder /srv/dub.

    The service must have been started once. Several workers may run, on all machines that share the folder.

    Each is two processes: one does the jobs, the other watches its memory and starts it again when it ends.

    Without sharing the folder, give --queue, --server and --worker-secret; docs/service.md says how.
    """
    elsewhere = [given is not None for given in (queue, server, worker_secret)]
    if any(elsewhere) and not all(elsewhere):
        raise ConfigError("--queue, --server and --worker-secret belong together: who gives jobs, who files, and why")
    if parent is None and not any(elsewhere):
        from sidgan.web.store import DATABASE

        if not (folder / DATABASE).is_file():  # would be made, and nobody would ever give jobs there
            raise ConfigError(f"{folder} is not the folder of a service; check the name, or start the service first: "
                              f"sidgan serve --folder {folder}")  # fmt: skip
    ready_for_dubs()
    from sidgan.web.settings import Service, hashed, read_secret

    if parent is None:
        look_first([], [], [model])
        _require("psutil")
        from sidgan.web.limits import Limits
        from sidgan.web.supervisor import Supervisor

        service = Service(
            folder=folder.resolve(), model=model, device=device, engine=engine, limits=Limits(keep=keep),
            memory=round(memory * 1e6), workers=0, queue=queue,
            worker_secret=hashed(read_secret(worker_secret)) if worker_secret else None,
        )  # fmt: skip
        raise typer.Exit(Supervisor(service, server, worker_secret).run(once=once))
    from sidgan.web.worker import Means, do, work

    means = Means(model=model, device=device, engine=engine, keep=3600 * keep)
    if queue is None or server is None or worker_secret is None:
        work(folder, means, _say, parent=parent, once=once)
        return
    from sidgan.web.away import away

    with away(folder, queue, server, read_secret(worker_secret), means, _say) as jobs:
        do(jobs, means, _say, parent=parent, once=once)


def _say(line: str) -> None:
    print(f"sidgan: {line}", file=sys.stderr, flush=True)


def _require(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; run: {INSTALL}")
