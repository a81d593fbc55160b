"""Robustness test: how a model degrades with head pose, face size, noise and speed of speech (limits of Sec. 5).

A clip is judged undisturbed, and again under each disturbance of `LEVELS`. Head pose and face size in the source are
properties of the undisturbed clip, see `sidgan.evaluation.factors`; all other factors are applied by
`sidgan.evaluation.disturb`. Only the input of the generator is disturbed, neither the truth nor the sound that the sync
expert gets; but at another speed of speech, all of these change their speed together.
"""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sidgan import audio, checkpoint
from sidgan.config import FPS, SYNC_FRAMES
from sidgan.data.dataset import PackedClip, person_of
from sidgan.data.listing import ClipSource, rank
from sidgan.data.packing import read_sound
from sidgan.engine import choose_device, require_device
from sidgan.errors import DataError, counted
from sidgan.evaluation import disturb, protocol
from sidgan.evaluation.factor_chart import draw
from sidgan.evaluation.factors import Table, tabulate
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, nothing_judged
from sidgan.evaluation.judging import Verdict, judge
from sidgan.evaluation.lists import by_split, chosen
from sidgan.evaluation.parts import Part, origin, source_of
from sidgan.evaluation.results import COMPOSITE
from sidgan.evaluation.rows import dubber
from sidgan.evaluation.subject import Mask, Subject
from sidgan.files import digest, write_text
from sidgan.nn import Generator, SyncNet
from sidgan.settings import require
from sidgan.types import Float

CLEAN = "clean"  #: name of the undisturbed level
SNR = (20, 10, 5, 0)  #: dB
#: Factor -> levels: none for pose and size in the source, px, dB, or speed.
LEVELS: dict[str, tuple[Any, ...]] = {
    "yaw": (), "side": (), "size": (96, 64, 48, 32), "white": SNR, "pink": SNR, "babble": SNR,
    "rate": (Fraction(3, 4), Fraction(5, 4), Fraction(3, 2), Fraction(2)),
}  # fmt: skip
FACTORS = tuple(LEVELS)
SOUND_FACTORS = ("white", "pink", "babble", "rate")  #: factors that need the sound of the source files
ROWS = ("truth", "model", "wrong", "reference")
SHORTEST = 2 * SYNC_FRAMES  #: frames; clips must be longer, even at twice the speed


@dataclass(frozen=True)
class RobustnessSettings:
    """Settings of the robustness test.

    Attributes:
        factors: what is varied, of `FACTORS`.
        mask: what is hidden, see `sidgan.evaluation.evaluate`.
        max_frames: longer clips are cut to this length.
        clips: number of clips, chosen at random but always the same; by default all.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
    """

    factors: tuple[str, ...] = FACTORS
    mask: Mask = "query"
    max_frames: int | None = None
    clips: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        unknown = sorted(set(self.factors) - set(FACTORS))
        require(not unknown, f"unknown factor '{', '.join(unknown)}'; factors: {', '.join(FACTORS)}")
        require(bool(self.factors), f"no factors; factors: {', '.join(FACTORS)}")
        require(self.max_frames is None or self.max_frames > 2 * SHORTEST,
                f"max_frames must be above {2 * SHORTEST}, not {self.max_frames}")  # fmt: skip
        require(self.clips is None or self.clips >= 1, f"clips must be at least 1, not {self.clips}")
        require_device(self.device)


@torch.no_grad()
def robustness_to(
    out: Path | str, model: Path | str, data: Path | str | Sequence[Path | str], *,
    splits: Sequence[str] = ("heldout",), expert: Path | str = "bundled",
    settings: RobustnessSettings | None = None, workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Table]:  # fmt: skip
    """Evaluate a generator under every disturbance, into a result folder; a run that was stopped can be resumed.

    The folder is that of `sidgan.evaluation.folder`, with ``robustness.json`` and a chart of it, ``robustness.svg``, in
    place of ``summary.json``.

    Args:
        out: result folder.
        model, expert: weights files, or ``bundled``.
        data: a prepared folder, or several.
        splits: the splits to evaluate; all go into the same tables.
        settings: what is varied.
        workers: number of processes.
        progress: called with the number of clips done and of all clips.

    Returns:
        One table per factor.

    Raises:
        ConfigError: the settings are invalid, or ``out`` holds figures of other settings.
        DataError: these splits have no clips, no clip can be judged, or the source files are unknown.
        CheckpointError: a weights file does not exist, or holds another network.
        OutputError: the result cannot be written.
    """
    out, settings = Path(out), settings or RobustnessSettings()
    files = {"model": checkpoint.file_of_kind(model, "generator"), "expert": checkpoint.file_of_kind(expert, "syncnet")}
    choice = chosen(data, partial(by_split, splits=splits))
    jobs = _jobs(choice.clips, settings)
    names = {"list": choice.list, "count": len(jobs),
             "names": protocol.text_digest(f"{job.split} {job.name}" for job in jobs)}  # fmt: skip
    described_settings = asdict(settings) | {"levels": {f: [float(v) for v in LEVELS[f]] for f in settings.factors}}
    digests = {kind: digest(path) for kind, path in files.items()}
    described = protocol.describe("robustness", described_settings, names, {}, **digests)
    protocol.write_or_check(out, described)
    tools = partial(_tools, files["model"], files["expert"], settings)
    records = judge_all(out, jobs, tools, workers=workers, progress=progress)
    judged = [r for r in records if r["excluded"] is None]
    if not judged:
        raise nothing_judged(out, records)
    tables = tabulate(out, judged, {f: [CLEAN, *(level_name(f, v) for v in LEVELS[f])] for f in settings.factors})
    result = {"protocol": described, "tables": [t.to_dict() for t in tables], "clips": [r["name"] for r in judged],
              "excluded": {r["name"]: r["excluded"] for r in records if r["excluded"] is not None}}  # fmt: skip
    write_text(out / "robustness.json", json.dumps(result, indent=1) + "\n")
    title = f"Where {_model_name(model)} gets worse ({counted(len(judged), 'clip')})"
    write_text(out / "robustness.svg", draw(tables, title))
    return tables


def _model_name(model: Path | str) -> str:
    return "the bundled model" if str(model) == "bundled" else Path(model).name


def level_name(factor: str, value: Any) -> str:
    """Name of a level in records, such as ``pink 10``."""
    return f"{factor} {float(value):g}"


class Sound(NamedTuple):
    """The sound of a clip: in the file ``source`` from ``start`` s on, with an offset of ``shift`` frames corrected."""

    source: ClipSource
    start: float
    shift: int
    frames: int

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.source.heard

    @property
    def length(self) -> int:
        """Number of samples that the packed mel spectrogram covers."""
        return (audio.STEPS_PER_SECOND * self.frames // FPS + 16) * audio.HOP + audio.WINDOW

    def read(self) -> Float:
        """Read the samples at 16 kHz, from the first frame of the packed clip to slightly beyond its last."""
        return read_sound(self.source, self.start, self.shift)[: self.length]


def _jobs(clips: Sequence[tuple[dict[str, Any], str]], settings: RobustnessSettings) -> list[RobustnessJob]:
    """One job per clip and split, sorted. Babble consists of the clips that follow, whether these are judged or not."""
    needs_sound, parts = bool(set(settings.factors) & set(SOUND_FACTORS)), []
    for record, split in sorted(clips, key=lambda c: (c[0]["name"], c[0]["folder"], c[1])):
        first, end = record["splits"][split]
        last = end if settings.max_frames is None else min(end, first + settings.max_frames)
        parts.append((Part(record["folder"], record, first, last, end), split))
    roots = {folder: _root(folder) if needs_sound else Path() for folder in {part.folder for part, _ in parts}}
    sounds = [_sound(part, roots[part.folder]) if needs_sound else None for part, _ in parts]
    ranked = sorted(range(len(parts)), key=lambda i: rank(f"{parts[i][0].record['name']} {parts[i][1]}"))
    jobs = []
    for i in sorted(ranked[: settings.clips]):
        part, split = parts[i]
        voices = _others(sounds, i) if "babble" in settings.factors else ()
        require(bool(voices) or "babble" not in settings.factors,
                "babble needs other clips of the same splits; give more, or leave it out with --factors")  # fmt: skip
        jobs.append(RobustnessJob(f"{part.record['file']}@{split}", split, part, sounds[i], voices))
    return jobs


def _others(sounds: Sequence[Sound | None], index: int) -> tuple[Sound, ...]:
    """The next few sounds that come from other files."""
    own = sounds[index]
    after = [*sounds[index + 1 :], *sounds[:index]]
    return tuple([s for s in after if own and s and s.path != own.path][: disturb.VOICES])


ADVICE = "prepare it again, or leave sound out with --factors yaw,side,size"


def _root(folder: str) -> Path:
    """The source folder of a prepared folder."""
    try:
        return origin(folder)
    except DataError as error:
        raise DataError(f"{error}; {ADVICE}") from None


def _sound(part: Part, root: Path) -> Sound:
    record = part.record
    if "source" not in record:
        raise DataError(f"{part.folder}/manifest.jsonl does not say from which files the clips came; {ADVICE}")
    return Sound(source_of(record, root), record.get("start", 0.0), record.get("corrected", 0), record["frames"])


@dataclass(frozen=True)
class RobustnessJob:
    """One packed clip to be judged at every level; see `sidgan.evaluation.folder.Job`."""

    stem: str
    split: str
    part: Part
    sound: Sound | None
    voices: tuple[Sound, ...]

    @property
    def name(self) -> str:
        """Name as in the manifest."""
        return str(self.part.record["name"])

    def digest(self) -> str:
        """Digest of the packed files and of all sounds that are needed."""
        sounds = [s for s in (self.sound, *self.voices) if s is not None]
        return protocol.text_digest([*self.part.digest(), *(digest(s.path) for s in sounds)])

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Judge every level.

        Raises:
            Excluded: the clip is too short.
            DataError: it cannot be read, its sound has changed since it was packed, or the model draws NaN.
        """
        part = self.part
        if part.last - part.first <= 2 * SHORTEST:
            raise Excluded(f"too short ({part.last - part.first} frames)")
        subject = Subject(part.load(), mask=tools.settings.mask)
        verdicts = _judged(CLEAN, subject, subject, ROWS, tools)
        true_opening = verdicts[0].series["open"]
        unsuited = dict[str, str]()
        for level, disturbed, truth, rows in self._levels(subject, tools.settings, unsuited):
            verdicts += _judged(level, disturbed, truth, rows, tools, true_opening)
        index = subject.frames.numpy()
        arrays = {"frame": part.first + index} | {name: values[index] for name, values in part.poses().items()}
        skipped = {"reference": 1, "beyond max_frames": part.end - part.last}
        facts = {"frames": part.end - part.first, "judged": len(index), "side": part.record.get("side"),
                 "person": person_of(part.record),
                 "voices": len(self.voices), "skipped": {k: v for k, v in skipped.items() if v},
                 "unsuited": unsuited}  # fmt: skip
        return Outcome(verdicts, facts, arrays)

    def _levels(
        self, subject: Subject, settings: RobustnessSettings, unsuited: dict[str, str]
    ) -> Iterator[tuple[str, Subject, Subject, tuple[str, ...]]]:
        """Level, input of the dubbers, truth, and the rows whose figures can differ from those of the clean level.

        If a factor cannot be applied to this clip, the reason is written into ``unsuited``.
        """
        if "size" in settings.factors:
            for side in LEVELS["size"]:
                if side < subject.size:
                    disturbed = _with_clip(subject, disturb.smaller(subject.clip, side))
                    yield level_name("size", side), disturbed, subject, ("model", "wrong", "reference")
        if self.sound is None:
            return
        samples = self._samples()
        for kind in ("white", "pink", "babble"):
            if kind in settings.factors:
                for decibels, sound in self._noisy(kind, samples, unsuited):
                    disturbed = _with_clip(subject, replace(subject.clip, mels=self._windows(sound)))
                    yield level_name(kind, decibels), disturbed, subject, ("model", "wrong")
        if "rate" in settings.factors:
            for rate in LEVELS["rate"]:
                clip = disturb.sped_up(subject.clip, samples, self.part.first, rate)
                faster = Subject(clip, mask=settings.mask)
                yield level_name("rate", rate), faster, faster, ROWS

    def _samples(self) -> Float:
        """The sound of the packed clip, after a check that it is still the sound that was packed."""
        assert self.sound is not None
        samples = self.sound.read()
        if not torch.equal(self._windows(samples), self.part.mels()):
            raise DataError(f"{self.sound.path} no longer gives the sound that was packed; prepare it again")
        return np.pad(samples, (0, max(0, self.sound.length - len(samples))))

    def _windows(self, samples: Float) -> torch.Tensor:
        return disturb.windows(samples, [Fraction(i, FPS) for i in range(self.part.first, self.part.last)])

    def _noisy(self, kind: str, samples: Float, unsuited: dict[str, str]) -> Iterator[tuple[int, Float]]:
        """The sound with noise at each SNR in dB; nothing if it is silent, so that no SNR exists."""
        span = slice(*(audio.SAMPLE_RATE * frame // FPS for frame in (self.part.first, self.part.last)))
        try:
            noise = self._noise(kind, len(samples))
            noisy = [disturb.mixed(samples, noise, decibels, span) for decibels in SNR]
        except disturb.UnsuitedError as error:
            unsuited[kind] = str(error)
            return
        yield from zip(SNR, noisy, strict=True)

    def _noise(self, kind: str, count: int) -> Float:
        if kind == "babble":
            return disturb.babble([sound.read() for sound in self.voices], count)
        return disturb.noise(kind, count, zlib.crc32(f"{kind} {self.name}".encode()))


def _with_clip(subject: Subject, clip: PackedClip) -> Subject:
    """A copy of a subject with other crops or mels as the input of a dubber; landmarks stay those of the truth."""
    changed = copy.copy(subject)
    changed.clip = clip
    return changed


def _judged(
    level: str, disturbed: Subject, truth: Subject, rows: Sequence[str], tools: Tools, true_opening: Float | None = None
) -> list[Verdict]:
    """Judge the rows at one level; adds the error of the mouth opening (``open_error``) to the figures of `judge`."""
    verdicts = []
    for row in rows:
        dub = dubber(row, disturbed, tools.generator)
        [verdict] = judge(truth, row, dub, truth.clip.mels, systems=(COMPOSITE,), expert=tools.expert)
        if row == "truth":
            true_opening = verdict.series["open"]
        assert true_opening is not None
        error = np.abs(verdict.series["open"] - true_opening)
        defined = error[~np.isnan(error)]
        values = verdict.record.values | {"open_error": float(defined.mean()) if len(defined) else np.nan}
        verdicts.append(replace(verdict, record=replace(verdict.record, system=level, values=values),
                                series=verdict.series | {"open_error": error}))  # fmt: skip
    return verdicts


@dataclass(frozen=True)
class Tools:
    """Networks and settings of one process."""

    generator: Generator
    expert: SyncNet
    settings: RobustnessSettings


def _tools(model: Path, expert: Path, settings: RobustnessSettings) -> Tools:
    device = choose_device(settings.device)
    return Tools(
        checkpoint.load_generator(model).to(device).eval(), checkpoint.load_syncnet(expert).to(device).eval(), settings
    )
