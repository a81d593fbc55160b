"""Executors, which run many jobs in this process, in several processes of this machine, or on a Ray cluster.

An executor maps a function over jobs and yields the results **in the order of the jobs**, whichever finished first. It
submits only a limited number of jobs ahead.
"""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sidgan.errors import InputError, SidganError
from sidgan.files import writing

AHEAD = 8  #: jobs per worker that are submitted ahead
RETRIES = 3  #: times that a job is run again after its Ray worker was lost

J = TypeVar("J")  # job
R = TypeVar("R")  # result
H = TypeVar("H")  # handle of a submitted job


class Executor(Protocol):
    """Runs a function on many jobs."""

    def __call__(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """Yield the results in the order of the jobs.

        Raises:
            SidganError: an error of the function, or a worker was lost.
        """


def in_order(
    submit: Callable[[J], H], result: Callable[[H], R], jobs: Iterable[J], most: Callable[[], int]
) -> Iterator[R]:
    """Submit jobs, at most ``most()`` at a time, and yield their results in order."""
    waiting: deque[H] = deque()
    for job in jobs:
        while len(waiting) >= most():
            yield result(waiting.popleft())
        waiting.append(submit(job))
    while waiting:
        yield result(waiting.popleft())


def local(workers: int = 1, begin: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()) -> Executor:
    """An executor for one machine: this process, or ``workers`` processes, each of which calls ``begin`` first."""

    def run(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        if workers <= 1:
            yield from map(function, jobs)
            return
        others = set(active_children())
        pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin, (begin, arguments))
        try:
            yield from in_order(lambda job: pool.submit(function, job), lambda future: future.result(), jobs,
                                lambda: AHEAD * workers)  # fmt: skip
        except BrokenProcessPool:
            raise SidganError(
                "a worker process was killed, most likely for lack of memory; run again with fewer --workers"
            ) from None
        except KeyboardInterrupt:
            for child in set(active_children()) - others:  # otherwise they would first finish their jobs
                child.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)

    return run


def _begin(begin: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """The start of a process of the pool, which ends with its parent, also where that is killed.

    Otherwise it would finish its job, which a new run of the same command wants to do, and then wait for ever.
    """
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if begin is not None:
        begin(*arguments)


def _exit_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def on_ray(address: str, shared: Path, workers: int = 1) -> Executor:
    """An executor for a Ray cluster, which uses all its processors, including those that join later.

    A job whose worker is lost is run again, at most three times. Relative paths mean the same on every machine, because
    tasks run in the current folder of this process.

    Args:
        address: of the cluster, ``HOST:PORT``; ``auto``: the cluster that this machine belongs to; ``local``: a
            temporary cluster on this machine.
        shared: folder that must be visible under the same path on all machines.
        workers: processors of a ``local`` cluster.

    Raises:
        SidganError: Ray is not installed.
        InputError: there is no such cluster.
    """
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
        import ray
    except ImportError:
        raise SidganError("work on several machines needs Ray; run: pip install 'sidgan[ray]'") from None
    _require_reachable(address)

    def run(function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        with _cluster(ray, address, workers), _token(shared) as token:
            remote: Any = ray.remote(max_retries=RETRIES)(_task)
            here, code = Path.cwd(), ray.put(function)
            yield from in_order(
                lambda job: (job, remote.remote(code, job, here, token)), lambda handle: _result(ray, *handle), jobs,
                lambda: AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1))),
            )  # fmt: skip

    return run


def _require_reachable(address: str) -> None:
    """Raise an `InputError` if nothing accepts connections at ``HOST:PORT``; Ray itself would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), 10).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from None


def _unreachable(address: str, why: str) -> InputError:
    why = " ".join(why.split())[:200]
    return InputError(
        f"no Ray cluster at '{address}' ({why}); start one with 'ray start --head', or give --ray local"
    )


@contextmanager
def _cluster(ray: Any, address: str, workers: int) -> Iterator[None]:
    """A connection to a cluster for the length of the block; an existing connection of this process is reused."""
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
        raise _unreachable(address, str(error)) from None
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _token(shared: Path) -> Iterator[Path]:
    """A temporary file by which other machines can check that they see the same folder."""
    path = shared / f".{uuid.uuid4().hex}.shared"
    with writing(path):
        path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _task(function: Callable[[J], R], job: J, folder: Path, token: Path) -> R | SidganError:
    """Run a job on a machine of the cluster. A `SidganError` is returned, because Ray would wrap a raised one."""
    try:
        os.chdir(folder)
    except OSError:
        return _not_shared(folder)
    if not token.exists():
        return _not_shared(token.parent)
    try:
        return function(job)
    except SidganError as error:
        return error


def _not_shared(folder: Path) -> SidganError:
    return InputError(
        f"{socket.gethostname()} does not see {folder} as this machine does; videos, results and the current folder "
        "must be on a file system that all machines share, under the same path"
    )


def _result(ray: Any, job: Any, handle: Any) -> Any:
    try:
        value = ray.get(handle)
    except ray.exceptions.RayTaskError as error:  # an unexpected error of the job itself: raise its cause
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
