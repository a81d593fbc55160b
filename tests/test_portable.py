"""Operating systems that are not at hand: what is done there is played through, and what would break is looked for."""

import ast
import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import sidgan
from sidgan import portable
from sidgan.dubbing.journal import Journal, work_folder
from sidgan.errors import OutputError

ROOT = Path(sidgan.__file__).parent
UNIX_ONLY = {"fcntl", "resource", "pwd", "grp", "termios"}


def test_a_lock_keeps_others_out_until_it_is_closed(tmp_path):
    path = tmp_path / "lock"
    with path.open("w") as mine, path.open("w") as other:
        portable.hold(mine)
        with pytest.raises(BlockingIOError):
            portable.hold(other)
    with path.open("w") as free:
        portable.hold(free)


def test_a_lock_on_windows(tmp_path, monkeypatch):
    held = set()

    def locking(_number, mode, count):
        assert (mode, count) == (2, 1)
        if held:
            raise PermissionError(13, "Permission denied")
        held.add(1)

    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    monkeypatch.setattr(sys, "platform", "win32")
    with (tmp_path / "lock").open("w") as file:
        portable.hold(file)
        with pytest.raises(BlockingIOError):
            portable.hold(file)


def test_two_runs_for_one_output(tmp_path):
    out = tmp_path / "out.mp4"
    with Journal(out), pytest.raises(OutputError, match="another run"), Journal(out):
        pass
    assert not work_folder(out).exists()


def test_a_work_folder_goes_where_open_files_cannot_be_removed(tmp_path, monkeypatch):
    """As on Windows: while the lock is open, its folder stays."""
    out, journal_module = tmp_path / "out.mp4", sys.modules[Journal.__module__]
    remove, journal = journal_module.shutil.rmtree, Journal(out)

    def refuse_while_open(path, *, ignore_errors):
        assert ignore_errors
        if open_still[0].closed:
            remove(path)

    with journal:
        (open_still,) = ([cell] for cell in _files(journal))
        monkeypatch.setattr(journal_module.shutil, "rmtree", refuse_while_open)
        monkeypatch.setattr(journal_module, "os", SimpleNamespace(name="nt"))
    assert not work_folder(out).exists()


def _files(journal):
    return [exit.__self__ for _, exit in journal._stack._exit_callbacks if hasattr(exit.__self__, "closed")]


def test_memory_is_counted_in_mib(monkeypatch):
    here = portable.peak_memory()
    assert 20 < here < 100_000
    if sys.platform == "linux":
        told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        assert here == pytest.approx(int(told["VmHWM"].split()[0]) / 1024, rel=0.1)
    monkeypatch.setattr(sys, "platform", "darwin")  # the same number there counts bytes
    assert portable.peak_memory() == pytest.approx(here / 1024, rel=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is it known to be otherwise")
def test_memory_of_who_began_a_process_is_not_its_own():
    code = "import sidgan.portable as p; print(p.peak_memory())"
    large = f"import subprocess, sys; b = b'x' * (400 << 20); subprocess.run([sys.executable, '-c', {code!r}])"
    told = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True).stdout
    assert 5 < float(told) < 300


def test_memory_on_windows(monkeypatch):
    class Call:
        def __init__(self, function):
            self.function = function

        def __call__(self, *arguments):
            return self.function(*arguments)

    def info(_process, counters, size):
        assert size == counters._obj.size == 72
        counters._obj.peak = 300 << 20

    kernel = SimpleNamespace(GetCurrentProcess=Call(lambda: -1), K32GetProcessMemoryInfo=Call(info))
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel), raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    assert portable.peak_memory() == 300


def calls(name: str):
    """(file, call) of every call of a method of this name in the package."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                yield path, node


def test_text_is_utf8_everywhere():
    """Windows would write it in whatever the country uses, and fail on names it does not know."""
    for name in ("read_text", "write_text"):
        for path, call in calls(name):
            assert any(word.arg == "encoding" for word in call.keywords), f"{path}:{call.lineno} names no encoding"
    for path, call in calls("open"):
        mode = call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else "rb"
        text = isinstance(mode, str) and set(mode) <= set("rwax+")
        assert not text or any(word.arg == "encoding" for word in call.keywords), f"{path}:{call.lineno}"


def test_only_one_file_imports_what_windows_lacks():
    for path in sorted(ROOT.rglob("*.py")):
        names = {alias.name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                 if isinstance(node, ast.Import) for alias in node.names}  # fmt: skip
        assert path.name == "portable.py" or not names & UNIX_ONLY, f"{path} imports {names & UNIX_ONLY}"


def test_processes_are_spawned_not_forked():
    """Windows cannot fork, and forked threads of numerical libraries hang."""
    for path, call in calls("get_context"):
        assert [a.value for a in call.args] == ["spawn"], path
    for path in sorted(ROOT.rglob("*.py")):
        assert "os.fork" not in path.read_text(encoding="utf-8"), path
    assert os.name in ("posix", "nt")
