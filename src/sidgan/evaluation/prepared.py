"""Evaluation of a weights file on prepared folders: the clips of some splits, into a result folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sidgan import checkpoint
from sidgan.data.dataset import person_of
from sidgan.engine import choose_device, require_device
from sidgan.errors import DataError, InputError
from sidgan.evaluation import protocol
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, summarise
from sidgan.evaluation.judging import Verdict
from sidgan.evaluation.lists import Choice, by_split, chosen
from sidgan.evaluation.networks import NetworkFiles, Networks
from sidgan.evaluation.parts import Part, Sounds, original_sounds, sounds_below
from sidgan.evaluation.reconstruction import check, donor, fewest, judge_row, possible
from sidgan.evaluation.results import SYSTEMS, EvalResult
from sidgan.evaluation.revoicing import SHORTEST, enough, others, revoice_clip
from sidgan.evaluation.rows import ROWS, heard_samples
from sidgan.evaluation.subject import Mask, Reference, Subject
from sidgan.files import digest
from sidgan.nn import Generator, SyncNet
from sidgan.settings import require
from sidgan.types import Float


@dataclass(frozen=True)
class Settings:
    """Settings of `evaluate_to`: those of `sidgan.evaluation.evaluate`, and two more.

    ``revoice`` adds the rows of `sidgan.evaluation.revoicing`; ``device`` is ``cpu``, ``cuda`` or ``cuda:N``.
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
        require_device(self.device)


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
    """Evaluate a generator on prepared clips, into a result folder; a run that was stopped can be resumed.

    Args:
        out: result folder, see `sidgan.evaluation.folder`; created if it does not exist.
        model: weights file of a generator, or ``bundled``.
        data: a prepared folder, or several.
        splits: the splits to evaluate, unless ``choose`` is given.
        choose: selects clips from all manifest records, see `sidgan.evaluation.lists`.
        expert: weights file of a sync expert, or ``bundled``.
        networks: networks behind FID and LSE, or a function that fetches them once clips are found; by default none.
        sounds: folder of the source files. Packed clips have mels but no sound, which LSE needs. By default, it is
            read from the source folder named in ``prepare.json``, if all files are still there.
        settings: settings; by default on the CPU.
        workers: number of processes.
        progress: called with the number of clips done and of all clips.

    Returns:
        Split -> result.

    Raises:
        ConfigError: the settings are invalid, or ``out`` holds figures of other settings.
        DataError: these splits have no clips, no clip can be judged, or one has no file in ``sounds``.
        CheckpointError: a weights file does not exist, or holds another network.
        OutputError: the result cannot be written.
    """
    settings = settings or Settings()
    files = {"model": checkpoint.file_of_kind(model, "generator"), "expert": checkpoint.file_of_kind(expert, "syncnet")}
    out, sounds = Path(out), None if sounds is None else Path(sounds)
    choice = chosen(data, choose or partial(by_split, splits=splits))
    limit = min((n for n in (settings.max_frames, choice.max_frames) if n is not None), default=None)
    settings = replace(settings, max_frames=limit)
    heard = {} if sounds is None else sounds_below(sounds, choice)
    network_files = networks() if callable(networks) else networks or NetworkFiles()
    require(sounds is None or network_files.lag_expert is not None,
            "--sounds is only for LSE; add --published, or leave it out")  # fmt: skip
    if sounds is None and network_files.lag_expert is not None:
        heard = original_sounds(choice)
    jobs = _jobs(choice, settings, heard)
    described = protocol.describe(
        "model", asdict(settings) | {"sounds": bool(heard)}, _describe_clips(choice, jobs), network_files.describe(),
        **{kind: digest(path) for kind, path in files.items()},
    )  # fmt: skip
    protocol.write_or_check(out, described)
    tools = partial(_tools, files["model"], files["expert"], network_files, settings)
    records = judge_all(out, jobs, tools, workers=workers, progress=progress)
    return summarise(out, records, asdict(settings))


def _describe_clips(choice: Choice, jobs: Sequence[PackedJob]) -> dict[str, Any]:
    """The entry ``clips`` of the protocol."""
    return {
        "list": choice.list, "notes": list(choice.notes), "count": len(jobs),
        "size": sorted({record["size"] for record, _ in choice.clips if "size" in record}),
        "names": protocol.text_digest(f"{job.split} {job.name}" for job in jobs),
    }  # fmt: skip


def _jobs(choice: Choice, settings: Settings, sounds: Sounds) -> list[PackedJob]:
    """One job per clip and split, sorted; each clip gets the voice of another clip of its split."""
    jobs: list[PackedJob] = []
    files = [record["file"] for record, _ in choice.clips]
    for split in sorted({split for _, split in choice.clips}):
        records = [record for record, other in choice.clips if other == split]
        parts = []
        for record in sorted(records, key=lambda r: r["name"]):
            first, last = record["splits"][split]
            last = last if settings.max_frames is None else min(last, first + settings.max_frames)
            parts.append(Part(record["folder"], record, first, last, record["splits"][split][1],
                              sounds.get((record["folder"], record["name"]))))  # fmt: skip
        if settings.revoice:
            enough(len(parts))
        for i, part in enumerate(parts):
            stem = part.record["file"] if files.count(part.record["file"]) == 1 else f"{part.record['file']}@{split}"
            other = donor(i, len(parts)) if settings.revoice or "swapped" in settings.rows else None
            third = parts[others(i, len(parts))[1]] if settings.revoice else None
            jobs.append(PackedJob(stem, split, part, None if other is None else parts[other], third))
    return jobs


@dataclass(frozen=True)
class PackedJob:
    """One packed clip to be judged, with the clip whose voice it gets and a third one; see `folder.Job`."""

    stem: str
    split: str
    part: Part
    voice: Part | None
    third: Part | None

    @property
    def name(self) -> str:
        """Name as in the manifest."""
        return str(self.part.record["name"])

    def digest(self) -> str:
        """Digest of its own files and of the other clips', which may be missing."""
        lines = self.part.digest()
        for part in (self.voice, self.third):
            if part is not None:
                lines += part.digest() if part.readable() else ["missing"]
        return protocol.text_digest(lines)

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Judge every row.

        Raises:
            Excluded: the clip is too short.
            DataError: it cannot be read, or the model draws NaN.
        """
        part, settings = self.part, tools.settings
        if part.last - part.first < fewest(settings.reference, score_reference=settings.score_reference):
            raise Excluded(f"too short ({part.last - part.first} frames)")
        clip = part.load()
        swapped, other = self._voice()
        subject = Subject(clip, settings.reference, settings.id_every, mask=settings.mask,
                          score_reference=settings.score_reference, swapped=swapped)  # fmt: skip
        own = part.samples()
        verdicts = []
        for row in possible(settings.rows, subject.swapped):
            heard = None if own is None else heard_samples(row, clip.name, own, other)
            verdicts += judge_row(subject, row, tools.generator, tools.expert, settings.systems, heard, tools.networks)
        if self.voice is not None and self.third is not None:
            verdicts += self._revoiced(subject, tools)
        references = 0 if settings.score_reference else len(subject.references)
        skipped = {"reference": references, "beyond max_frames": part.end - part.last}
        facts = {"frames": part.end - part.first, "judged": len(subject.frames), "person": person_of(part.record),
                 "skipped": {why: count for why, count in skipped.items() if count}}  # fmt: skip
        if tools.networks.lag_expert is not None:
            facts["lag_faces"] = "direct" if own is not None else "no sound"
        index = subject.frames.numpy()
        arrays = {"frame": part.first + index} | {name: values[index] for name, values in part.poses().items()}
        return Outcome(verdicts, facts, arrays)

    def _voice(self) -> tuple[Tensor | None, Float | None]:
        """Mels and sound of the clip whose voice it gets; ``None`` if unreadable, as that clip's record will say."""
        if self.voice is None or not self.voice.readable():
            return None, None
        with suppress(DataError, InputError):
            return self.voice.mels(), self.voice.samples()
        return None, None

    def _revoiced(self, subject: Subject, tools: Tools) -> list[Verdict]:
        clips = []
        for part in (self.voice, self.third):
            if part is None or not part.readable() or part.last - part.first <= SHORTEST:
                return []
            try:
                clips.append(part.load())
            except DataError:  # as its own record will say
                return []
        records = revoice_clip(tools.generator, subject.clip, clips[0], clips[1], tools.expert, tools.settings.mask,
                               tools.settings.reference)  # fmt: skip
        return [Verdict(record) for record in records]


@dataclass(frozen=True)
class Tools:
    """Networks and settings of one process."""

    generator: Generator
    expert: SyncNet
    networks: Networks
    settings: Settings


def _tools(model: Path, expert: Path, networks: NetworkFiles, settings: Settings) -> Tools:
    device = choose_device(settings.device)
    return Tools(
        checkpoint.load_generator(model).to(device).eval(), checkpoint.load_syncnet(expert).to(device).eval(),
        networks.load(device), settings,
    )  # fmt: skip
