"""A job that takes more memory than it may: it fails in one line, once, and the next job is done by a new worker."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service is not installed: pip install 'sidgan[serve]'")
pytest.importorskip("psutil", reason="the service is not installed: pip install 'sidgan[serve]'")

import psutil
from at_service import ROOM

from sidgan.web import memory
from sidgan.web.queue import Queue, Work
from sidgan.web.settings import Service
from sidgan.web.store import Store, new_id
from sidgan.web.supervisor import Supervisor

MOST = 120_000_000  # bytes; a worker of this test holds 30 MB when it begins
GROW = "while True: held = [*globals().get('held', []), bytearray(4 << 20)]"
#: Does jobs as a worker does; on the way of some of them it grows, or a process that it started does.
WORKER = f"""
import subprocess, sys, time
from pathlib import Path
from sidgan.web.queue import Badge, Queue
from sidgan.web.store import Store

queue = Queue(Store(Path(sys.argv[1])))
badge = Badge(queue.store)
while True:
    job = queue.claim(badge.name)
    if job is None:
        time.sleep(0.05)
        continue
    if job.kind == "dub":
        {GROW}
    if job.kind == "preview":
        subprocess.run([sys.executable, "-c", {GROW!r}])
    queue.finish(job, {{"files": []}}, None, [])
"""


def added(queue: Queue, kind: str) -> Work:
    video = queue.store.add_file(new_id(), "anna", "video", "film.mp4", ".mp4", 1, {}, 3600)
    return queue.add("anna", kind, {"video": video.id}, 0, ROOM)


def ended(queue: Queue, job: Work) -> Work:
    for _ in range(600):
        now = queue.get(job.id, "anna")
        assert now is not None
        if now.state not in ("waiting", "running"):
            return now
        time.sleep(0.05)
    raise AssertionError(f"still {now.state}")


@pytest.mark.parametrize("kind", ["dub", "preview"])
def test_a_job_that_takes_too_much_fails_alone(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    queue = Queue(Store(tmp_path))
    greedy = added(queue, kind)
    keeper = Supervisor(Service(folder=tmp_path, memory=MOST))
    keeper._command = [sys.executable, "-c", WORKER, str(tmp_path)]
    with keeper:
        failed = ended(queue, greedy)
        assert (failed.state, failed.attempts) == ("failed", 1)
        assert failed.error == ("it took more than 120 MB of memory, the limit for a job here; "
                                "give a smaller or shorter video")  # fmt: skip
        modest = ended(queue, added(queue, "look"))
        assert (modest.state, modest.attempts) == ("done", 1)
        assert len(list((tmp_path / "workers").iterdir())) == 1  # of the one that lives
        assert queue.get(greedy.id, "anna") == failed
    assert f"sidgan: {greedy.id} failed: it took more" in capfd.readouterr().err
    assert not [one for one in psutil.process_iter(["cmdline"]) if GROW in (one.info["cmdline"] or ())]


def test_what_is_gone_holds_nothing(tmp_path: Path) -> None:
    gone = psutil.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert memory.held(gone.pid) == 0
    memory.kill(gone.pid)
