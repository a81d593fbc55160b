"""Who does many jobs: this process, several processes of this machine, or a Ray cluster.

An executor takes a function and its jobs, and yields the results **in the order of the jobs**, whoever was first. It
hands out a few jobs ahead, not a million at once.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sidgan.errors import InputError, SidganError
from sidgan.files import writing

AHEAD = 8  #: jobs a worker that are handed out before their turn
RETRIES = 3  #: times a job is done again whose worker was lost

J = TypeVar("J")
R = TypeVar("R")
H = TypeVar("H")


class Executor(Protocol):
    """Runs a function on many jobs."""

    def __call__(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """The results in the order of the jobs.

        Raises:
            SidganError: what the function raises, or a worker was lost for good.
        """


def in_order(
    submit: Callable[[J], H], result: Callable[[H], R], jobs: Iterable[J], most: Callable[[], int]
) -> Iterator[R]:
    """Hand out jobs, at most ``most()`` of which are out at a time, and give the results in their order."""
    waiting: deque[H] = deque()
    for job in jobs:
        while len(waiting) >= most():
            yield result(waiting.popleft())
        waiting.append(submit(job))
    while waiting:
        yield result(waiting.popleft())


def local(workers: int = 1, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()) -> Executor:
    """Work on one machine: in this process itself, or in so many others, each of which calls ``begin`` first."""

    def run(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        if workers <= 1:
            yield from map(function, jobs)
            return
        others = set(active_children())
        pool = ProcessPoolExecutor(workers, get_context("spawn"), begin, arguments)
        try:
            yield from in_order(lambda job: pool.submit(function, job), lambda future: future.result(), jobs,
                                lambda: AHEAD * workers)  # fmt: skip
        except BrokenProcessPool:
            raise SidganError(
                "a worker process was killed, most likely for lack of memory; run again with fewer --workers"
            ) from None
        except KeyboardInterrupt:
            for child in set(active_children()) - others:  # else they would finish their jobs first
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def on_ray(address: str, shared: Path, workers: int = 1) -> Executor:
    """A Ray cluster, on all its processors, also on those that join later.

    A job whose worker is lost is done again, three times at the most. Relative paths mean the same on every machine:
    tasks work in the folder in which this process runs.

    Args:
        address: of the cluster, ``HOST:PORT``; ``auto`` for the one that this machine belongs to; ``local`` starts one
            on this machine for as long as it is needed.
        shared: folder that all machines must see, as it is here.
        workers: processors of a ``local`` one.

    Raises:
        SidganError: Ray is not installed.
        InputError: there is no such cluster.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody else need know that somebody prepares videos
        import ray
    except ImportError:
        raise SidganError("work on several machines needs Ray; run: pip install 'sidgan[ray]'") from None
    _knock(address)

    def run(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        with _cluster(ray, address, workers), _token(shared) as token:
            remote: Any = ray.remote(max_retries=RETRIES)(_task)
            here, code = Path.cwd(), ray.put(function)
            yield from in_order(
                lambda job: (job, remote.remote(code, job, here, token)), lambda handle: _result(ray, *handle), jobs,
                lambda: AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1))),
            )  # fmt: skip

    return run


def _knock(address: str) -> None:
    """Raise an `InputError` where nobody answers at ``HOST:PORT``; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), 10).close()
    except OSError as error:
        raise _absent(address, error.strerror or str(error)) from None


def _absent(address: str, why: str) -> InputError:
    why = " ".join(why.split())[:200]
    return InputError(
        f"no Ray cluster at '{address}' ({why}); start one with 'ray start --head', or give --ray local"
    )


@contextmanager
def _cluster(ray: Any, address: str, workers: int) -> Iterator[None]:
    """A connection to a cluster for as long as the block takes; the one that this process has, if it has one."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            ray.init(address="local", num_cpus=workers, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:
        raise _absent(address, str(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _token(shared: Path) -> Iterator[Path]:
    """A file by which a machine can tell that it sees the same folder."""
    path = shared / f".{uuid.uuid4().hex}.shared"
    with writing(path):
        path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _task(function: Callable[[J], R], job: J, folder: Path, token: Path) -> R | SidganError:
    """What runs on a machine of the cluster. Its own errors come back as they are; Ray would wrap them."""
    try:
        os.chdir(folder)
    except OSError:
        return _unseen(folder)
    if not token.exists():
        return _unseen(token.parent)
    try:
        return function(job)
    except SidganError as error:
        return error


def _unseen(folder: Path) -> SidganError:
    return InputError(
        f"{socket.gethostname()} does not see {folder} as this machine does; videos, results and the current folder "
        "must be on a file system that all machines share, under the same path"
    )


def _result(ray: Any, job: Any, handle: Any) -> Any:
    try:
        value = ray.get(handle)
    except ray.exceptions.RayTaskError as error:  # of our own code: not to be hidden
        raise error.as_instanceof_cause() from None
    except ray.exceptions.RayError as error:
        name = getattr(job[0], "name", job) if isinstance(job, tuple) else job
        raise SidganError(
            f"the worker that had {name} was lost {RETRIES + 1} times ({type(error).__name__}), most likely for "
            "lack of memory; give each process more memory, and run the same command again to resume"
        ) from None
    if isinstance(value, SidganError):
        raise value
    return value
