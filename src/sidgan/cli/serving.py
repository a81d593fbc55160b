"""``sidgan serve`` and ``sidgan serve-worker``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import DEVICE, ENGINE, RUNNABLE, Kind
from sidgan.errors import ConfigError
from sidgan.files import look_first
from sidgan.threads import ready_for_dubs

INSTALL = "pip install 'sidgan[serve]'"
HOST = "127.0.0.1"
ACCESS, LIMITS, WORKERS = "Address and users", "Limits", "Workers"  #: panels of the help
Model = Annotated[str, typer.Option(help=RUNNABLE, metavar="FILE", rich_help_panel=WORKERS)]
Engine = Annotated[Kind, typer.Option(help=ENGINE, rich_help_panel=WORKERS)]
Address = Annotated[str | None, typer.Option(
    "--queue", envvar="SIDGAN_QUEUE", metavar="URL", show_default=False, rich_help_panel=WORKERS,
    help="Redis server for workers that do not share the folder, such as redis://host:6379/0",
)]  # fmt: skip
Secret = Annotated[Path | None, typer.Option("--worker-secret", help="file with the secret that such workers must "
                                             "present",
                                             metavar="FILE", show_default=False, rich_help_panel=WORKERS)]  # fmt: skip
Keep = Annotated[float, typer.Option("--keep-hours", help="delete files and results after this many hours", min=0.01,
                                     rich_help_panel=LIMITS)]  # fmt: skip
Memory = Annotated[float, typer.Option("--max-memory-mb", help="memory limit of a job, MB; a job that needs more fails",
                                       min=500, rich_help_panel=LIMITS)]  # fmt: skip


def serve(
    folder: Annotated[Path, typer.Option(
        help="folder for uploads, jobs and results; created if missing")] = Path("sidgan-service"),
    host: Annotated[str, typer.Option(
        help="address to listen on; any address that other machines can reach needs --tokens",
        rich_help_panel=ACCESS)] = HOST,
    port: Annotated[int, typer.Option(help="port to listen on", min=1, max=65535, rich_help_panel=ACCESS)] = 8000,
    tokens: Annotated[Path | None, typer.Option(
        help="file with the users: one line 'NAME TOKEN' for each", metavar="FILE", show_default=False,
        rich_help_panel=ACCESS)] = None,
    name: Annotated[list[str] | None, typer.Option(
        help="host name under which browsers reach the service; may be repeated", metavar="NAME",
        rich_help_panel=ACCESS)] = None,
    workers: Annotated[int, typer.Option(
        help="number of processes that work on jobs; 0 if serve-worker does all", min=0, rich_help_panel=WORKERS)] = 1,
    queue: Address = None,
    worker_secret: Secret = None,
    max_mb: Annotated[float, typer.Option(help="largest upload, MB", min=0.1, rich_help_panel=LIMITS)] = 1000,
    max_minutes: Annotated[float, typer.Option(
        help="longest video or voice, minutes", min=0.05, rich_help_panel=LIMITS)] = 15,
    max_megapixels: Annotated[float, typer.Option(
        help="largest frame of a video, million px", min=0.05, rich_help_panel=LIMITS)] = 8.3,
    max_jobs: Annotated[int, typer.Option(
        help="unfinished jobs that a user may have at a time", min=1, rich_help_panel=LIMITS)] = 20,
    memory: Memory = 6000,
    keep: Keep = 24,
    model: Model = "bundled",
    device: Annotated[str, typer.Option(help=DEVICE, rich_help_panel=WORKERS)] = "auto",
    engine: Engine = "torch",
) -> None:  # fmt: skip
    """Run a web page and an API for dubbing. Example: sidgan serve, then open http://127.0.0.1:8000 in a browser.

    For several users: sidgan serve --host 0.0.0.0 --name dub.example.org --tokens tokens.txt.

    After a restart, unfinished jobs are resumed. See docs/service.md.
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
    run(service, lambda: print(f"sidgan: open {service.address} in a browser; press Ctrl-C to stop", flush=True))


def serve_worker(
    folder: Annotated[Path, typer.Option(
        help="folder of the service; with --server, a folder of the worker's own, created if missing",
    )] = Path("sidgan-service"),
    model: Model = "bundled",
    device: Annotated[str, typer.Option(help=DEVICE, rich_help_panel=WORKERS)] = "auto",
    engine: Engine = "torch",
    memory: Memory = 6000,
    keep: Keep = 24,
    once: Annotated[bool, typer.Option("--once", help="exit when no job is waiting")] = False,
    queue: Address = None,
    server: Annotated[str | None, typer.Option(
        help="address of the service, if this machine does not share its folder", metavar="URL", show_default=False,
        rich_help_panel=WORKERS)] = None,
    worker_secret: Secret = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Work on the jobs of a service, in addition to its own workers. Example: sidgan serve-worker --folder /srv/dub.

    Start the service first. You can run several workers, on every machine that shares the folder.

    A worker has two processes: one works on jobs, the other watches its memory and restarts it when it exits.

    On a machine that does not share the folder, give --queue, --server and --worker-secret; see docs/service.md.
    """
    remote = [given is not None for given in (queue, server, worker_secret)]
    if any(remote) and not all(remote):
        raise ConfigError("give all three of --queue, --server and --worker-secret, or none of them")
    if parent is None and not any(remote):
        from sidgan.web.store import DATABASE

        if not (folder / DATABASE).is_file():  # a new, empty database would never get a job
            raise ConfigError(f"{folder} is not the folder of a service; check the name, or start the service first: "
                              f"sidgan serve --folder {folder}")  # fmt: skip
    ready_for_dubs()
    from sidgan.web.settings import Means, Service, hashed, read_secret

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
    # This process has a parent: the supervisor above started it to work on jobs.
    from sidgan.web.log import say
    from sidgan.web.queue import Queue
    from sidgan.web.store import Store
    from sidgan.web.worker import work

    means = Means(model=model, device=device, engine=engine)
    if queue is None or server is None or worker_secret is None:
        work(Queue(Store(folder), 3600 * keep), means, say, parent=parent, once=once)
        return
    from sidgan.web.away import away

    with away(folder, queue, server, read_secret(worker_secret), means, say) as jobs:
        work(jobs, means, say, parent=parent, once=once)


def _require(*modules: str) -> None:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} not installed; run: {INSTALL}")
