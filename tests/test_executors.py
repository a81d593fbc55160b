"""Processes of a pool end with the process that made it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from sidgan.executors import local

PROGRAM = """
import sys
from test_executors import lasting
from sidgan.executors import local
if __name__ == "__main__":
    list(local(2)(lasting, [sys.argv[1]] * 4))
"""


def lasting(folder: str) -> None:
    """A job that notes its process and takes long."""
    Path(folder, str(os.getpid())).touch()
    time.sleep(300)


def begun(*names: str) -> None:
    os.environ["BEGUN"] = ",".join(names)


def what_began(_: int) -> str:
    return os.environ["BEGUN"]


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_who_is_killed_leaves_no_processes_behind(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    noted = tmp_path / "noted"
    noted.mkdir()
    here = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen([sys.executable, program, noted], env=os.environ | {"PYTHONPATH": here})
    try:
        end = time.monotonic() + 60
        while len([*noted.iterdir()]) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        children = [psutil.Process(int(path.name)) for path in noted.iterdir()]
    finally:
        parent.kill()
        parent.wait()
    assert len(children) == 2
    _, left = psutil.wait_procs(children, timeout=20)
    for child in left:
        child.kill()
    assert not left


def test_each_process_begins_as_it_is_told() -> None:
    assert [*local(2, begun, ("a", "b"))(what_began, range(2))] == ["a,b", "a,b"]
