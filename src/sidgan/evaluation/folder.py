"""A result folder: clips are judged in one or several processes, runs can resume, and the bytes are always the same.

::

    OUT/protocol.json       settings and digests, see `sidgan.evaluation.protocol`
    OUT/records.jsonl       one line per clip, sorted
    OUT/summary.json        means over clips with 95 % intervals, means over all frames, what was excluded and why
    OUT/frames/STEM.npz     values per frame, head pose, side of the face square
    OUT/features/STEM.npz   features for Fréchet distances
    OUT/strips/STEM.jpg     a few frames, see `sidgan.evaluation.strips`
    OUT/records/STEM.json   the clip's line; it is written last and marks the clip as done
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import torch

from sidgan.errors import DataError, DownloadError, OutputError, SidganError, counted
from sidgan.evaluation.distances import distances
from sidgan.evaluation.judging import Verdict
from sidgan.evaluation.remarks import reason
from sidgan.evaluation.results import EvalResult, Record, without_nan
from sidgan.evaluation.strips import write_strip
from sidgan.executors import local
from sidgan.files import write_arrays, write_text, writing
from sidgan.types import Float


class Excluded(SidganError):  # noqa: N818  a verdict, not an error
    """Why a clip has no figures: a fixed reason, followed by details in brackets."""


@dataclass
class Outcome:
    """The results of one clip.

    Attributes:
        verdicts: one per row and system.
        facts: further fields of the record: numbers of frames, judged frames, skipped frames by reason, ...
        arrays: (n,) or (n, k) values of the judged frames: ``frame``, ``yaw``, ``side``, ...
    """

    verdicts: list[Verdict]
    facts: dict[str, Any]
    arrays: dict[str, Float] = field(default_factory=dict)


class Job(Protocol):
    """One clip to be judged; small and picklable, to be sent to worker processes.

    Attributes:
        stem: file name in the result folder, without suffix.
        name: name of the clip in records and messages.
        split: the table that the clip belongs to.
    """

    @property
    def stem(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102

    def digest(self) -> str:
        """Digest of all files that the figures depend on."""

    def run(self, tools: Any) -> Outcome:
        """Judge the clip; raises `Excluded` or another `SidganError` if that is impossible."""


def judge_all(
    out: Path, jobs: Sequence[Job], make_tools: Callable[[], Any], *, workers: int,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Judge every clip that is not done yet, and return the records of all clips in the order of ``jobs``.

    Args:
        out: result folder, see `sidgan.evaluation.protocol.write_or_check`.
        jobs: the clips, sorted.
        make_tools: loads the networks and settings that `Job.run` gets; picklable, called once in each process.
        workers: number of processes. Each computes with one thread, so that the results do not depend on it.
        progress: called with the number of clips done and of all clips.
    """
    with writing(out):
        for name in ("frames", "features", "strips", "records"):
            (out / name).mkdir(exist_ok=True)
    records = []
    for record in _run(out, jobs, make_tools, workers):
        records.append(record)
        progress(len(records), len(jobs))
    write_text(out / "records.jsonl", "".join(json.dumps(r) + "\n" for r in records))
    return records


def _run(
    out: Path, jobs: Sequence[Job], make_tools: Callable[[], Any], workers: int
) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        threads = torch.get_num_threads()
        worker = _Worker(out, make_tools)
        try:
            yield from map(worker, jobs)
        finally:
            torch.set_num_threads(threads)
        return
    yield from local(workers, _start_worker, (out, make_tools))(_run_job, jobs)


class _Worker:
    """Judges clips in one process; the networks are loaded when the first clip needs them."""

    def __init__(self, out: Path, make_tools: Callable[[], Any]) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._out, self._make_tools, self._tools = out, make_tools, None

    def __call__(self, job: Job) -> dict[str, Any]:
        path = self._out / "records" / f"{job.stem}.json"
        head: dict[str, Any] = {"name": job.name, "split": job.split, "stem": job.stem, "excluded": None}
        try:
            head["input"] = job.digest()
        except OSError as error:
            return head | {"input": None, "excluded": f"a file cannot be read ({error.filename}: {error.strerror})"}
        record = _read_record(path, head["input"])
        if record is None:
            path.unlink(missing_ok=True)  # until it is written again, the clip's other files may be old or new
            record = head | self._judge(job)
            if not record.pop("failed", False):
                write_text(path, json.dumps(record))
        return record

    def _judge(self, job: Job) -> dict[str, Any]:
        if self._tools is None:
            self._tools = self._make_tools()
        try:
            outcome = job.run(self._tools)
        except (OutputError, DownloadError):
            raise
        except Excluded as error:
            return {"excluded": str(error)}
        except SidganError as error:
            return {"excluded": f"cannot be judged ({error})"}
        except Exception as error:  # one bad clip must not end the run; it is tried again in the next
            text = f"failed ({type(error).__name__}: {error})"
            return {"excluded": " ".join(text.split()), "failed": True}
        series, features = dict(outcome.arrays), dict[str, Float]()
        values: dict[str, dict[str, dict[str, float | None]]] = {}
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for verdict in outcome.verdicts:
            record = verdict.record
            values.setdefault(record.system, {})[record.row] = without_nan(record.values)
            counts.setdefault(record.system, {})[record.row] = record.counts
            series |= {f"{record.system}/{record.row}/{k}": v for k, v in verdict.series.items()}
            features |= {f"{k}/{record.system}/{record.row}": v for k, v in verdict.features.items()}
        write_arrays(self._out / "frames" / f"{job.stem}.npz", series)
        write_arrays(self._out / "features" / f"{job.stem}.npz", features)
        shown = write_strip(self._out / "strips" / f"{job.stem}.jpg", outcome.verdicts)
        return outcome.facts | {"values": values, "counts": counts, "strip": shown}


_worker: _Worker | None = None


def _start_worker(out: Path, make_tools: Callable[[], Any]) -> None:
    global _worker  # noqa: PLW0603  a process of the pool keeps its networks between jobs
    _worker = _Worker(out, make_tools)


def _run_job(job: Job) -> dict[str, Any]:
    if _worker is None:
        raise RuntimeError("the worker was not initialised")
    return _worker(job)


def summarise(out: Path, records: Sequence[dict[str, Any]], settings: dict[str, Any]) -> dict[str, EvalResult]:
    """Write ``summary.json``, and return the result of each split that has figures.

    Raises:
        DataError: no clip has figures.
    """
    results, summary = dict[str, EvalResult](), dict[str, Any]()
    for split in dict.fromkeys(record["split"] for record in records):
        mine = [r for r in records if r["split"] == split]
        judged = [r for r in mine if r["excluded"] is None]
        results[split] = result = EvalResult(settings, tuple(plain_records(judged)), distances(out, judged))
        skipped = Counter[str]()
        for record in judged:
            skipped.update(record["skipped"])
        summary[split] = {
            "clips": len(judged), "frames": sum(r["judged"] for r in judged), "skipped_frames": dict(skipped),
            "excluded_clips": dict(Counter(reason(r["excluded"]) for r in mine if r["excluded"] is not None)),
            "means": result.summary(),
        }  # fmt: skip
    write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    if not any(result.records for result in results.values()):
        raise nothing_judged(out, records)
    return {split: result for split, result in results.items() if result.records}


def nothing_judged(out: Path, records: Sequence[dict[str, Any]]) -> DataError:
    """The error to raise if every clip was excluded."""
    first = records[0]
    return DataError(
        f"none of {counted(len(records), 'clip')} could be judged, the first ({first['name']}): {first['excluded']}; "
        f"see {out / 'records.jsonl'}"
    )


def plain_records(records: Sequence[dict[str, Any]]) -> Iterator[Record]:
    """Lines of ``records.jsonl`` -> one `Record` per clip, system and row."""
    for record in records:
        for system, rows in record["values"].items():
            for row, values in rows.items():
                numbers = {k: math.nan if v is None else v for k, v in values.items()}
                counts = record["counts"][system][row]
                yield Record(record["name"], row, record["judged"], numbers, system, counts, record.get("person") or "")


def _read_record(path: Path, digest: str) -> dict[str, Any] | None:
    """The record of a finished clip; ``None`` if a file is missing, or was made from other input."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = [path.parents[1] / folder / f"{path.stem}{end}"
             for folder, end in (("frames", ".npz"), ("features", ".npz"), ("strips", ".jpg"))]  # fmt: skip
    complete = record.get("excluded") is not None or all(file.is_file() for file in files)
    return record if record.get("input") == digest and complete else None
