"""A result folder: one clip after another or in several processes, stopped and gone on with, always the same bytes.

::

    OUT/protocol.json       how it was judged, see `sidgan.evaluation.protocol`
    OUT/records.jsonl       one line for each clip, sorted
    OUT/summary.json        means over clips with 95 % intervals, means over all frames, what was left out and why
    OUT/frames/NAME.npz     values of each frame, pose, side of the face
    OUT/features/NAME.npz   what distances between sets of pictures need
    OUT/strips/NAME.jpg     a few frames to look at, see `sidgan.evaluation.strips`
    OUT/records/NAME.json   the clip's line; it is written last and marks the clip as done
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
from sidgan.evaluation.results import EvalResult, Record
from sidgan.evaluation.strips import write_strip
from sidgan.executors import local
from sidgan.files import write_arrays, write_text, writing
from sidgan.types import Float


class Excluded(SidganError):  # noqa: N818  a verdict, not an error
    """Why a clip has no figures: one of few reasons, with what was measured in brackets."""


@dataclass
class Outcome:
    """What is found of one clip.

    Attributes:
        verdicts: by every row and system.
        facts: frames, those judged, those skipped by reason; goes into the record.
        arrays: (n,) or (n, k) of the judged frames: ``frame``, ``yaw``, ``side`` and the like.
    """

    verdicts: list[Verdict]
    facts: dict[str, Any]
    arrays: dict[str, Float] = field(default_factory=dict)


class Job(Protocol):
    """One clip to be judged. It is sent to another process: small, and made of plain values.

    Attributes:
        stem: its file name in the result folder. name: for people. split: the table it belongs to.
    """

    @property
    def stem(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102

    def digest(self) -> str:
        """Digest of all the files that its figures depend on."""

    def run(self, tools: Any) -> Outcome:
        """Judge it; raises `Excluded` or another `SidganError` where that cannot be."""


def judge_all(
    out: Path, jobs: Sequence[Job], make_tools: Callable[[], Any], *, workers: int,
    progress: Callable[[int, int], None],
) -> list[dict[str, Any]]:  # fmt: skip
    """Judge every clip that is not done yet; the records of all, in the order of ``jobs``.

    Args:
        out: result folder, see `sidgan.evaluation.protocol.settle`.
        jobs: sorted.
        make_tools: what `Job.run` is given; called once in every process, picklable.
        workers: processes. Each computes with one thread, so that their number changes no digit.
        progress: called with the clips done and the number of all.
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
    yield from local(workers, _begin, (out, make_tools))(_work, jobs)


class _Worker:
    """Judges clips in one process; tools are made when the first clip needs them."""

    def __init__(self, out: Path, make_tools: Callable[[], Any]) -> None:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._out, self._make, self._tools = out, make_tools, None

    def __call__(self, job: Job) -> dict[str, Any]:
        done = self._out / "records" / f"{job.stem}.json"
        head: dict[str, Any] = {"name": job.name, "split": job.split, "stem": job.stem, "excluded": None}
        try:
            head["input"] = job.digest()
        except OSError as error:
            return head | {"input": None, "excluded": f"a file cannot be read ({error.filename}: {error.strerror})"}
        record = _read_record(done, head["input"])
        if record is None:
            done.unlink(missing_ok=True)  # from here on to the end, what lies beside it may be of two kinds
            record = head | self._judge(job)
            if not record.pop("failed", False):
                write_text(done, json.dumps(record))
        return record

    def _judge(self, job: Job) -> dict[str, Any]:
        if self._tools is None:
            self._tools = self._make()
        try:
            found = job.run(self._tools)
        except (OutputError, DownloadError):
            raise
        except Excluded as why:
            return {"excluded": str(why)}
        except SidganError as error:
            return {"excluded": f"cannot be judged ({error})"}
        except Exception as error:  # one odd clip must not end the run; nor is it done, should the fault be elsewhere
            text = f"failed ({type(error).__name__}: {error})"
            return {"excluded": " ".join(text.split()), "failed": True}
        series, features = dict(found.arrays), dict[str, Float]()
        values: dict[str, dict[str, dict[str, float | None]]] = {}
        counts: dict[str, dict[str, dict[str, int]]] = {}
        for verdict in found.verdicts:
            of = verdict.record
            values.setdefault(of.system, {})[of.row] = {k: _plain(v) for k, v in of.values.items()}
            counts.setdefault(of.system, {})[of.row] = of.counts
            series |= {f"{of.system}/{of.row}/{k}": v for k, v in verdict.series.items()}
            features |= {f"{k}/{of.system}/{of.row}": v for k, v in verdict.features.items()}
        write_arrays(self._out / "frames" / f"{job.stem}.npz", series)
        write_arrays(self._out / "features" / f"{job.stem}.npz", features)
        shown = write_strip(self._out / "strips" / f"{job.stem}.jpg", found.verdicts)
        return found.facts | {"values": values, "counts": counts, "strip": shown}


_worker: _Worker | None = None


def _begin(out: Path, make_tools: Callable[[], Any]) -> None:
    global _worker  # noqa: PLW0603  a process of the pool has nowhere else to keep its networks
    _worker = _Worker(out, make_tools)


def _work(job: Job) -> dict[str, Any]:
    if _worker is None:
        raise RuntimeError("a worker was not begun")
    return _worker(job)


def summarise(out: Path, records: Sequence[dict[str, Any]], settings: dict[str, Any]) -> dict[str, EvalResult]:
    """Means of every split, as ``summary.json`` keeps them; by split, for `sidgan.evaluation.table`.

    Raises:
        DataError: there is no clip with figures.
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
    """What to raise where every clip was left out."""
    first = records[0]
    return DataError(
        f"none of {counted(len(records), 'clip')} could be judged, the first ({first['name']}): {first['excluded']}; "
        f"see {out / 'records.jsonl'}"
    )


def plain_records(records: Sequence[dict[str, Any]]) -> Iterator[Record]:
    """What lines of ``records.jsonl`` say, by clip, system and row."""
    for record in records:
        for system, rows in record["values"].items():
            for row, values in rows.items():
                known = {k: math.nan if v is None else v for k, v in values.items()}
                counts = record["counts"][system][row]
                yield Record(record["name"], row, record["judged"], known, system, counts, record.get("person") or "")


def _read_record(path: Path, digest: str) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    beside = [path.parents[1] / folder / f"{path.stem}{end}"
              for folder, end in (("frames", ".npz"), ("features", ".npz"), ("strips", ".jpg"))]  # fmt: skip
    whole = record.get("excluded") is not None or all(file.is_file() for file in beside)
    return record if record.get("input") == digest and whole else None


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
