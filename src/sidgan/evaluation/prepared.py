"""The protocol on prepared folders: a weights file judged on the clips of some splits, into a result folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sidgan import checkpoint
from sidgan.config import require
from sidgan.data.dataset import person_of, read_manifest
from sidgan.data.listing import ClipSource
from sidgan.data.sources import folder as videos_below
from sidgan.engine import choose_device, is_device
from sidgan.errors import CheckpointError, ConfigError, DataError, InputError
from sidgan.evaluation import protocol
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, summarise
from sidgan.evaluation.judging import Verdict
from sidgan.evaluation.lists import Choice, by_split
from sidgan.evaluation.networks import NetworkFiles, Networks
from sidgan.evaluation.parts import Part
from sidgan.evaluation.reconstruction import check, donor, fewest, judge_row, possible
from sidgan.evaluation.results import SYSTEMS, EvalResult
from sidgan.evaluation.revoicing import SHORTEST, enough, others, revoice_clip
from sidgan.evaluation.rows import ROWS, heard_samples
from sidgan.evaluation.subject import Mask, Reference, Subject
from sidgan.files import digest
from sidgan.nn import Generator, SyncNet
from sidgan.types import Float


@dataclass(frozen=True)
class Settings:
    """How clips are judged; see `sidgan.evaluation.evaluate`. ``revoice`` adds the rows of `sidgan.evaluation.revoice`.

    ``device`` is ``cpu``, ``cuda`` or ``cuda:N``.
    """

    reference: Reference = "first"
    mask: Mask = "query"
    score_reference: bool = False
    id_every: int = 5
    max_frames: int | None = None
    rows: tuple[str, ...] = ROWS
    systems: tuple[str, ...] = SYSTEMS
    revoice: bool = False
    device: str = "cpu"

    def __post_init__(self) -> None:
        check(self.reference, self.mask, self.id_every, self.max_frames, self.rows, self.systems)
        require(is_device(self.device), f"device must be cpu, cuda or cuda:N, not {self.device}")


@torch.no_grad()
def evaluate_to(
    out: Path | str,
    model: Path | str,
    data: Path | str | Sequence[Path | str],
    *,
    splits: Sequence[str] = ("heldout",),
    choose: Callable[[Sequence[dict[str, Any]]], Choice] | None = None,
    expert: Path | str = "bundled",
    networks: NetworkFiles | Callable[[], NetworkFiles] | None = None,
    sounds: Path | str | None = None,
    settings: Settings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, EvalResult]:
    """Judge a generator on prepared clips, into a result folder that can be gone on with.

    Args:
        out: result folder, see `sidgan.evaluation.folder`; made if it is not there.
        model: weights file of a generator, or ``bundled``.
        data: a prepared folder, or several.
        splits: which clips, unless ``choose`` says.
        choose: picks clips from all manifest records, see `sidgan.evaluation.lists`.
        expert: weights file of a sync expert, or ``bundled``.
        networks: those behind FID and LSE, or what fetches them, called when clips are found; by default none.
        sounds: folder that was prepared. Packed clips have mels but no sound, which LSE needs; by default it is read
            again from where ``prepare.json`` says that the clips came from, if all of their files are there.
        settings: how; by default on the CPU.
        workers: processes.
        progress: called with the clips done and the number of all.

    Returns:
        A result for each split.

    Raises:
        ConfigError: impossible settings, or ``out`` holds figures of other ones.
        DataError: nothing there for these splits, no clip can be judged, or one has no file in ``sounds``.
        CheckpointError: no weights, or those of something else.
        OutputError: the result cannot be written.
    """
    how = settings or Settings()
    files = {"model": weights_file(model, "generator"), "expert": weights_file(expert, "syncnet")}
    out, sounds = Path(out), None if sounds is None else Path(sounds)
    choice = chosen(data, choose or partial(by_split, splits=splits))
    limit = min((n for n in (how.max_frames, choice.max_frames) if n is not None), default=None)
    how = replace(how, max_frames=limit)
    heard = {} if sounds is None else _sounds(sounds, choice)
    lent = networks() if callable(networks) else networks or NetworkFiles()
    require(sounds is None or lent.lag_expert is not None, "--sounds is only for LSE; add --published, or leave it out")
    if sounds is None and lent.lag_expert is not None:
        heard = _origins(choice)
    jobs = _jobs(choice, how, heard)
    described = protocol.describe(
        "model", asdict(how) | {"sounds": bool(heard)}, _listed(choice, jobs), lent.describe(),
        **{kind: digest(path) for kind, path in files.items()},
    )  # fmt: skip
    protocol.settle(out, described)
    tools = partial(_tools, files["model"], files["expert"], lent, how)
    records = judge_all(out, jobs, tools, workers=workers, progress=progress)
    return summarise(out, records, asdict(how))


def weights_file(path: Path | str, kind: str) -> Path:
    """What a user gave, or the bundled file; a `SidganError` where it holds no weights of ours."""
    file = checkpoint.file_of(path, kind)
    found = checkpoint.read_meta(file)["kind"]
    if found != kind:  # told before there is a result folder, which could not be gone on with
        raise CheckpointError(f"{file} holds a {found}, not a {kind}; give another")
    return file


def chosen(
    data: Path | str | Sequence[Path | str], choose: Callable[[Sequence[dict[str, Any]]], Choice]
) -> Choice:  # fmt: skip
    """What is picked from the kept clips of prepared folders, each with its ``folder``.

    Raises:
        DataError: nothing is.
        ConfigError: a clip is in two of the folders.
    """
    folders = [Path(one) for one in ([data] if isinstance(data, Path | str) else data)]
    records = [r | {"folder": str(folder)} for folder in folders for r in read_manifest(folder) if r["kept"]]
    choice = choose(records)
    if not choice.clips:
        raise DataError(f"no clips for {choice.list} in {', '.join(map(str, folders))}; {_splits(records)}")
    seen = set[tuple[str, str]]()
    for record, split in choice.clips:
        if (split, record["file"]) in seen:  # their figures would lie in the same files
            raise ConfigError(f"{record['name']} is in two of the folders; judge the folders one by one")
        seen.add((split, record["file"]))
    return choice


def _listed(choice: Choice, jobs: Sequence[PackedJob]) -> dict[str, Any]:
    """Which clips are judged, as the protocol has it."""
    return {
        "list": choice.list, "notes": list(choice.notes), "count": len(jobs),
        "size": sorted({record["size"] for record, _ in choice.clips if "size" in record}),
        "names": protocol.text_digest(f"{job.split} {job.name}" for job in jobs),
    }  # fmt: skip


def _splits(records: Sequence[dict[str, Any]]) -> str:
    """What there is instead, and how to have it."""
    count = Counter(split for record in records for split in record.get("splits", {}))
    there = ", ".join(f"{split} ({number})" for split, number in sorted(count.items()))
    return f"the splits are {there}; choose with --split" if there else "no clip belongs to a split"


Sounds = Mapping[tuple[str, str], ClipSource]  #: by folder and name of a packed clip


def _sounds(folder: Path, choice: Choice) -> Sounds:
    """The files below a folder that clips came from: those that the manifest names, or else of their names."""
    found, held = dict[tuple[str, str], ClipSource](), dict[str, ClipSource]()
    for record, _ in choice.clips:
        source = source_of(record, folder) if "source" in record else None
        if source is None or not source.heard.is_file():
            held = held or {clip.name: clip for clip in videos_below(folder).clips}
            if record["name"] not in held:
                raise DataError(f"{folder} has no file for {record['name']}; give the videos' folder as --sounds")
            source = held[record["name"]]
        found[record["folder"], record["name"]] = source
    return found


def _origins(choice: Choice) -> Sounds:
    """The files that clips came from, where they were prepared; nothing unless all are there."""
    try:
        roots = {folder: origin(folder) for folder in {record["folder"] for record, _ in choice.clips}}
        found = {(r["folder"], r["name"]): source_of(r, roots[r["folder"]]) for r, _ in choice.clips}
    except (DataError, KeyError):  # prepared by an older version, or moved since
        return {}
    return found if all(source.heard.is_file() for source in found.values()) else {}


def origin(folder: str) -> Path:
    """Where the clips of a prepared folder came from; a `DataError` if nobody knows, or it is not there."""
    path = Path(folder) / "prepare.json"
    try:
        root = Path(json.loads(path.read_text(encoding="utf-8"))["root"])
    except (OSError, ValueError, KeyError):
        raise DataError(f"{path} does not say where the clips came from") from None
    if not root.is_dir():
        raise DataError(f"{root}, from which {folder} was prepared, is not there")
    return root


def source_of(record: Mapping[str, Any], root: Path) -> ClipSource:
    """The part of a file below ``root`` that a packed clip came from; a `KeyError` where its record does not say."""
    start, end = record.get("span") or (0.0, None)
    beside = root / record["audio"] if record.get("audio") else None
    return ClipSource(root / record["source"], record["name"], start=start, end=end, audio=beside)


def _jobs(choice: Choice, how: Settings, sounds: Sounds) -> list[PackedJob]:
    """One for each clip and split, sorted; within a split every clip is given the voice of another."""
    jobs: list[PackedJob] = []
    files = [record["file"] for record, _ in choice.clips]
    for split in sorted({split for _, split in choice.clips}):
        mine = [record for record, other in choice.clips if other == split]
        parts = []
        for record in sorted(mine, key=lambda r: r["name"]):
            first, last = record["splits"][split]
            last = last if how.max_frames is None else min(last, first + how.max_frames)
            parts.append(Part(record["folder"], record, first, last, record["splits"][split][1],
                              sounds.get((record["folder"], record["name"]))))  # fmt: skip
        if how.revoice:
            enough(len(parts))
        for i, part in enumerate(parts):
            stem = part.record["file"] if files.count(part.record["file"]) == 1 else f"{part.record['file']}@{split}"
            other = donor(i, len(parts)) if how.revoice or "swapped" in how.rows else None
            third = parts[others(i, len(parts))[1]] if how.revoice else None
            jobs.append(PackedJob(stem, split, part, None if other is None else parts[other], third))
    return jobs


@dataclass(frozen=True)
class PackedJob:
    """One packed clip to be judged, with the clip whose voice it is given, and a third one; see `folder.Job`."""

    stem: str
    split: str
    part: Part
    voice: Part | None
    third: Part | None

    @property
    def name(self) -> str:
        """As in the manifest."""
        return str(self.part.record["name"])

    def digest(self) -> str:
        """Of its own files and of those it borrows from, which may be missing."""
        lines = self.part.digest()
        for part in (self.voice, self.third):
            if part is not None:
                lines += part.digest() if part.readable() else ["missing"]
        return protocol.text_digest(lines)

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Every row of the protocol.

        Raises:
            Excluded: it is too short.
            DataError: it cannot be read, or the model draws NaN.
        """
        part, how = self.part, tools.how
        if part.last - part.first < fewest(how.reference, score_reference=how.score_reference):
            raise Excluded(f"too short ({part.last - part.first} frames)")
        clip = part.load()
        swapped, other = self._borrowed()
        subject = Subject(clip, how.reference, how.id_every, mask=how.mask, score_reference=how.score_reference,
                          swapped=swapped)  # fmt: skip
        own = part.samples()
        verdicts = []
        for row in possible(how.rows, subject.swapped):
            heard = None if own is None else heard_samples(row, clip.name, own, other)
            verdicts += judge_row(subject, row, tools.generator, tools.expert, how.systems, heard, tools.networks)
        if self.voice is not None and self.third is not None:
            verdicts += self._revoiced(subject, tools)
        shown = 0 if how.score_reference else len(subject.references)
        skipped = {"reference": shown, "beyond max_frames": part.end - part.last}
        facts = {"frames": part.end - part.first, "judged": len(subject.frames), "person": person_of(part.record),
                 "skipped": {why: count for why, count in skipped.items() if count}}  # fmt: skip
        if tools.networks.judge is not None:
            facts["lag_faces"] = "direct" if own is not None else "no sound"
        picked = subject.frames.numpy()
        arrays = {"frame": part.first + picked} | {name: values[picked] for name, values in part.poses().items()}
        return Outcome(verdicts, facts, arrays)

    def _borrowed(self) -> tuple[Tensor | None, Float | None]:
        """Mels and sound of the clip whose voice it is given: nothing where they cannot be read, as that clip says."""
        if self.voice is None or not self.voice.readable():
            return None, None
        with suppress(DataError, InputError):
            return self.voice.mels(), self.voice.samples()
        return None, None

    def _revoiced(self, subject: Subject, tools: Tools) -> list[Verdict]:
        found = []
        for part in (self.voice, self.third):
            if part is None or not part.readable() or part.last - part.first <= SHORTEST:
                return []
            try:
                found.append(part.load())
            except DataError:  # as its own record says
                return []
        records = revoice_clip(tools.generator, subject.clip, found[0], found[1], tools.expert, tools.how.mask,
                               tools.how.reference)  # fmt: skip
        return [Verdict(record) for record in records]


@dataclass(frozen=True)
class Tools:
    """What judges, in one process."""

    generator: Generator
    expert: SyncNet
    networks: Networks
    how: Settings


def _tools(model: Path, expert: Path, networks: NetworkFiles, how: Settings) -> Tools:
    device = choose_device(how.device)
    return Tools(
        checkpoint.load_generator(model).to(device).eval(), checkpoint.load_syncnet(expert).to(device).eval(),
        networks.load(device), how,
    )  # fmt: skip
