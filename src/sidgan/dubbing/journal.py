"""The work folder beside an output: saves finished segments, so that an interrupted dub can resume.

::

    .talk-german.mp4.sidgan/           removed when the output is complete
        lock                           locked by the active run
        adapted/                       weights adapted to the faces (`sidgan.adaptation.kept`)
        separated/                     the video's own sound without its speech (with background ``original``)
        3f0c.../                       one folder per combination of inputs and settings, so that they never mix
            journal.jsonl              first the settings, then one line for each finished segment
            analysis.npz               result of the first pass
            00000.segment ...          encoded frames

A line is written once its segment is completely on disk. Lines and segments that a kill leaves half-written are
detected and made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from sidgan import media, portable
from sidgan.blend import LOOK_BACK
from sidgan.dubbing.drawing import Done
from sidgan.dubbing.review.looks import Sample
from sidgan.engine.devices import choose_device
from sidgan.errors import InputError, OutputError
from sidgan.files import require_file, require_place, write_text, writing
from sidgan.version import __version__

LENGTH = 250  #: frames in a segment, approximately
#: Packages whose version may change single bits of the output.
LIBRARIES = ("torch", "numpy", "av", "opencv-python-headless", "dlib-bin", "dlib", "onnxruntime", "openvino")
NAMED = 3  #: settings named at most when two runs differ


@dataclass(frozen=True)
class Record:
    """A finished segment: one line of a journal.

    Attributes:
        segment: its number.
        first, stop: its frames, ``stop`` excluded.
        dubbed, passed, sides, looks: see `sidgan.dubbing.drawing.Done`.
        digests: digest of each frame before encoding; empty unless the encoding is lossless.
        engine: what ran the network.
    """

    segment: int
    first: int
    stop: int
    dubbed: int
    passed: tuple[tuple[int, int, str], ...]
    sides: tuple[float, ...]
    looks: tuple[Sample, ...]
    digests: tuple[int, ...]
    engine: str

    @classmethod
    def read(cls, line: str) -> Record | None:
        """Parse a line of a journal; ``None`` if it is damaged or incomplete."""
        try:
            values = json.loads(line)
            passed = tuple((int(first), int(last), str(reason)) for first, last, reason in values.pop("passed"))
            sides, digests = tuple(values.pop("sides")), tuple(values.pop("digests"))
            looks = tuple(Sample(one[0], one[1], one[2], tuple(one[3]), *one[4:]) for one in values.pop("looks"))
            return cls(**values, passed=passed, sides=sides, looks=looks, digests=digests)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return None


def joined(records: Iterable[Record]) -> Done:
    """Sum up segments; runs of frames that were split at segment borders are joined again."""
    done = Done()
    for record in records:
        done.dubbed += record.dubbed
        done.sides += record.sides
        done.looks += record.looks
        for first, last, reason in record.passed:
            done.leave(first, last, reason)
    return done


def surroundings(engine: str, device: str) -> dict[str, Any]:
    """What determines the output's bytes besides inputs and settings: versions, device, processor, threads."""
    libraries = {}
    for name in LIBRARIES:  # one by one: reading the metadata of all packages takes 50 ms
        with suppress(PackageNotFoundError):
            libraries[name] = version(name)
    on = choose_device(device)
    return {
        "version": __version__, "segments": [LENGTH, LOOK_BACK], "engine": engine,
        "libraries": libraries,
        "device": on.type if on.type == "cpu" else torch.cuda.get_device_name(on),
        "processor": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(),
        "processors": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }  # fmt: skip


def work_folder(out: Path) -> Path:
    """The folder that holds the unfinished work for an output."""
    require_file(out)
    return out.with_name(f".{out.name}.sidgan")


class Journal:
    """The work folder of one output, as a context manager that locks it: no other run can write the same output.

    Args:
        out: the output.

    Attributes:
        folder: the subfolder for the inputs and settings passed to `open`.
        resumed: number of frames that an earlier run had finished.

    Raises:
        OutputError: the folder cannot be written, or another run is writing the same output.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._root = out, work_folder(out)
        self.folder, self.resumed = self._root, 0
        self._stack, self._removed = ExitStack(), False

    def __enter__(self) -> Self:
        require_place(self._out)
        with writing(self._out):
            while not self._lock():
                pass
        return self

    def _lock(self) -> bool:
        """Try to lock the folder; false if the lock file was removed meanwhile.

        A run that ends removes the lock file. A lock on a removed file would be invisible to the next run.

        Raises:
            OutputError: another run holds the lock.
        """
        path = self._root / "lock"
        self._root.mkdir(exist_ok=True)
        with ExitStack() as stack, suppress(FileNotFoundError):
            lock = stack.enter_context(path.open("w", encoding="utf-8"))
            try:
                portable.hold(lock)
            except BlockingIOError:
                raise OutputError(f"another run is writing {self._out}; wait for it or stop it") from None
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                self._stack = stack.pop_all()
                return True
        return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock; keep only what a later run can use."""
        if not self._removed:  # else the folder may already belong to another run
            if not self.analysis.exists() and self.folder != self._root:
                shutil.rmtree(self.folder, ignore_errors=True)
            if {path.name for path in self._root.glob("*")} <= {"lock"}:
                shutil.rmtree(self._root, ignore_errors=True)
        self._stack.close()
        if os.name == "nt" and {path.name for path in self._root.glob("*")} <= {"lock"}:
            shutil.rmtree(self._root, ignore_errors=True)  # Windows cannot remove a file that is open

    def open(self, settings: Mapping[str, Any], tell: Callable[[str], None] | None = None) -> None:
        """Open or create the subfolder for these inputs and settings, and find the segments of an earlier run.

        Args:
            settings: plain values that determine the output's bytes, with readable names.
            tell: called with one line about an unfinished earlier run, if there is one.

        Raises:
            OutputError: the folder cannot be written.
        """
        mine = json.loads(json.dumps(settings))
        self.folder = self._root / hashlib.sha256(json.dumps(mine, sort_keys=True).encode()).hexdigest()[:16]
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        records = self.records()
        self.resumed = sum(record.stop - record.first for record in records.values())
        line = f"resuming: {self.resumed} frames are done already" if records else self._other_settings(mine)
        if tell is not None and line:
            tell(line)
        lines = [{"settings": mine}, *map(asdict, records.values())]
        write_text(self._journal, "".join(json.dumps(line) + "\n" for line in lines))

    @property
    def analysis(self) -> Path:
        """The file with the result of the first pass."""
        return self.folder / "analysis.npz"

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def segment(self, number: int) -> Path:
        """The file of a segment."""
        return self.folder / f"{number:05}.segment"

    def records(self) -> dict[int, Record]:
        """The finished segments, by number in ascending order."""
        try:
            lines = self._journal.read_text(encoding="utf-8").splitlines()[1:]
        except OSError:
            return {}
        found = {record.segment: record for record in map(Record.read, lines) if record is not None}
        return {number: found[number] for number in sorted(found) if self._complete(number)}

    def remove(self) -> None:
        """Remove the work folder; from now on another run may write the output."""
        shutil.rmtree(self._root, ignore_errors=True)
        self._removed = True

    def _complete(self, number: int) -> bool:
        with suppress(InputError):
            return media.Segment(self.segment(number)).count >= 0
        return False

    def _other_settings(self, mine: Mapping[str, Any]) -> str:
        """A line that says how an unfinished run's settings differed; empty if there is none."""
        for journal in sorted(self._root.glob("*/journal.jsonl")):
            with suppress(OSError, ValueError, KeyError, IndexError, AttributeError):
                theirs = json.loads(journal.read_text(encoding="utf-8").splitlines()[0])["settings"]
                names = [name for name in mine if mine[name] != theirs.get(name)]
                changes = ", ".join(_change(name, theirs.get(name), mine[name]) for name in names[:NAMED])
                if changes:
                    return f"starting again: the unfinished run for {self._out.name} had other settings: {changes}"
        return ""


def add(folder: Path, record: Record) -> None:
    """Append a finished segment to the journal in ``folder``; several processes may do so at the same time.

    Raises:
        OutputError: it cannot be written.
    """
    line = (json.dumps(asdict(record)) + "\n").encode()
    with writing(folder):
        handle = os.open(folder / "journal.jsonl", os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line)  # a single call, so that lines of several processes do not interleave
            os.fsync(handle)
        finally:
            os.close(handle)


def _change(name: str, theirs: Any, mine: Any) -> str:
    short = not isinstance(mine, dict) and max(len(str(theirs)), len(str(mine))) <= 24
    return f"{name} ({theirs} then, {mine} now)" if short else name
