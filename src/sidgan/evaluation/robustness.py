"""Where a model gets worse: head pose, size of the face, noise, speed of speech (the limits that Sec. 5 names).

A clip is judged as it is, and again under each disturbance of `LEVELS`. Pose and observed size are read from the clip
as it is, see `sidgan.evaluation.factors`; everything else is made by `sidgan.evaluation.disturb`. What the generator
sees and hears is disturbed; what it is compared with, and the sound that the expert hears, is not.
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
from sidgan.config import FPS, SYNC_FRAMES, require
from sidgan.data.dataset import PackedClip, person_of
from sidgan.data.listing import ClipSource, rank
from sidgan.data.packing import read_sound
from sidgan.engine import choose_device
from sidgan.errors import DataError, counted
from sidgan.evaluation import disturb, protocol
from sidgan.evaluation.chart import draw
from sidgan.evaluation.factors import Table, tabulate
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, nothing_judged
from sidgan.evaluation.judging import Verdict, judge
from sidgan.evaluation.lists import by_split
from sidgan.evaluation.parts import Part
from sidgan.evaluation.prepared import chosen, origin, source_of, weights_file
from sidgan.evaluation.results import COMPOSITE
from sidgan.evaluation.rows import dubber
from sidgan.evaluation.subject import Mask, Subject
from sidgan.files import digest, write_text
from sidgan.nn import Generator, SyncNet
from sidgan.types import Float

CLEAN = "clean"  #: the level at which nothing is disturbed
SNR = (20, 10, 5, 0)  #: dB
LEVELS: dict[str, tuple[Any, ...]] = {
    "yaw": (), "side": (), "size": (96, 64, 48, 32), "white": SNR, "pink": SNR, "babble": SNR,
    "rate": (Fraction(3, 4), Fraction(5, 4), Fraction(3, 2), Fraction(2)),
}  # fmt: skip
FACTORS = tuple(LEVELS)
HEARD = ("white", "pink", "babble", "rate")  #: factors for which the sound of the source is read again
ROWS = ("truth", "model", "wrong", "reference")
SHORTEST = 2 * SYNC_FRAMES  #: frames of a clip, also when it is spoken twice as fast


@dataclass(frozen=True)
class RobustnessSettings:
    """What is varied and how clips are judged; ``max_frames`` judges only the beginning of longer clips."""

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


@torch.no_grad()
def robustness_to(
    out: Path | str, model: Path | str, data: Path | str | Sequence[Path | str], *,
    splits: Sequence[str] = ("heldout",), expert: Path | str = "bundled",
    settings: RobustnessSettings | None = None, workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Table]:  # fmt: skip
    """Judge a generator under every disturbance, into a result folder that can be gone on with.

    Beside what `sidgan.evaluation.folder` lists, the folder gets ``robustness.json`` and, drawn from it,
    ``robustness.svg``, but no ``summary.json``.

    Args:
        out: result folder.
        model, expert: weights files, or ``bundled``.
        data: a prepared folder, or several.
        splits: which clips; all of them come into the same tables.
        settings: what is varied.
        workers: processes.
        progress: called with the clips done and the number of all.

    Returns:
        A table for each factor.

    Raises:
        ConfigError: impossible settings, or ``out`` holds figures of other ones.
        DataError: nothing there for these splits, no clip can be judged, or nobody knows where the clips came from.
        CheckpointError: no weights, or those of something else.
        OutputError: the result cannot be written.
    """
    out, how = Path(out), settings or RobustnessSettings()
    files = {"model": weights_file(model, "generator"), "expert": weights_file(expert, "syncnet")}
    choice = chosen(data, partial(by_split, splits=splits))
    jobs = _jobs(choice.clips, how)
    names = {"list": choice.list, "count": len(jobs),
             "names": protocol.text_digest(f"{job.split} {job.name}" for job in jobs)}  # fmt: skip
    shown = asdict(how) | {"levels": {f: [float(v) for v in LEVELS[f]] for f in how.factors}}
    digests = {kind: digest(path) for kind, path in files.items()}
    described = protocol.describe("robustness", shown, names, {}, **digests)
    protocol.settle(out, described)
    tools = partial(_tools, files["model"], files["expert"], how)
    records = judge_all(out, jobs, tools, workers=workers, progress=progress)
    judged = [r for r in records if r["excluded"] is None]
    if not judged:
        raise nothing_judged(out, records)
    tables = tabulate(out, judged, {f: [CLEAN, *(level_name(f, v) for v in LEVELS[f])] for f in how.factors})
    result = {"protocol": described, "tables": [t.to_dict() for t in tables], "clips": [r["name"] for r in judged],
              "excluded": {r["name"]: r["excluded"] for r in records if r["excluded"] is not None}}  # fmt: skip
    write_text(out / "robustness.json", json.dumps(result, indent=1) + "\n")
    title = f"Where {_short(model)} gets worse ({counted(len(judged), 'clip')})"
    write_text(out / "robustness.svg", draw(tables, title))
    return tables


def _short(model: Path | str) -> str:
    return "the bundled model" if str(model) == "bundled" else Path(model).name


def level_name(factor: str, value: Any) -> str:
    """What a level is called in records: ``pink 10``."""
    return f"{factor} {float(value):g}"


class Sound(NamedTuple):
    """Where the sound of a clip lies: in ``source``, from ``start`` s on, moved by ``shift`` frames."""

    source: ClipSource
    start: float
    shift: int
    frames: int

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.source.heard

    @property
    def length(self) -> int:
        """Samples under the packed mel."""
        return (audio.STEPS_PER_SECOND * self.frames // FPS + 16) * audio.HOP + audio.WINDOW

    def read(self) -> Float:
        """Its samples at 16 kHz, from the packed clip's first frame to a little beyond its last."""
        return read_sound(self.source, self.start, self.shift)[: self.length]


def _jobs(clips: Sequence[tuple[dict[str, Any], str]], how: RobustnessSettings) -> list[RobustnessJob]:
    """One for each clip and split, sorted. Babble over a clip is of those that follow it, taken or not."""
    listens, parts = bool(set(how.factors) & set(HEARD)), []
    for record, split in sorted(clips, key=lambda c: (c[0]["name"], c[0]["folder"], c[1])):
        first, end = record["splits"][split]
        last = end if how.max_frames is None else min(end, first + how.max_frames)
        parts.append((Part(record["folder"], record, first, last, end), split))
    roots = {folder: _root(folder) if listens else Path() for folder in {part.folder for part, _ in parts}}
    sounds = [_sound(part, roots[part.folder]) if listens else None for part, _ in parts]
    taken = sorted(range(len(parts)), key=lambda i: rank(f"{parts[i][0].record['name']} {parts[i][1]}"))[: how.clips]
    jobs = []
    for i in sorted(taken):
        part, split = parts[i]
        voices = _others(sounds, i) if "babble" in how.factors else ()
        require(bool(voices) or "babble" not in how.factors,
                "babble needs other clips of the same splits; give more, or leave it out with --factors")  # fmt: skip
        jobs.append(RobustnessJob(f"{part.record['file']}@{split}", split, part, sounds[i], voices))
    return jobs


def _others(sounds: Sequence[Sound | None], index: int) -> tuple[Sound, ...]:
    """The next few that lie in other files."""
    mine = sounds[index]
    after = [*sounds[index + 1 :], *sounds[:index]]
    return tuple([s for s in after if mine and s and s.path != mine.path][: disturb.VOICES])


LEAVE_OUT = "prepare it again, or leave sound out with --factors yaw,side,size"


def _root(folder: str) -> Path:
    """Where the clips of a prepared folder came from."""
    try:
        return origin(folder)
    except DataError as error:
        raise DataError(f"{error}; {LEAVE_OUT}") from None


def _sound(part: Part, root: Path) -> Sound:
    record = part.record
    if "source" not in record:
        raise DataError(f"{part.folder}/manifest.jsonl does not say from which files the clips came; {LEAVE_OUT}")
    return Sound(source_of(record, root), record["start"], record["corrected"], record["frames"])


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
        """As in the manifest."""
        return str(self.part.record["name"])

    def digest(self) -> str:
        """Of its packed files and of all the sounds it needs."""
        sounds = [s for s in (self.sound, *self.voices) if s is not None]
        return protocol.text_digest([*self.part.digest(), *(digest(s.path) for s in sounds)])

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Every level.

        Raises:
            Excluded: it is too short.
            DataError: it cannot be read, its sound is another one now, or the model draws NaN.
        """
        part = self.part
        if part.last - part.first <= 2 * SHORTEST:
            raise Excluded(f"too short ({part.last - part.first} frames)")
        subject = Subject(part.load(), mask=tools.how.mask)
        verdicts = _judged(CLEAN, subject, subject, ROWS, tools)
        opened = verdicts[0].series["open"]
        unsuited = dict[str, str]()
        for level, seen, true, rows in self._levels(subject, tools.how, unsuited):
            verdicts += _judged(level, seen, true, rows, tools, opened)
        picked = subject.frames.numpy()
        arrays = {"frame": part.first + picked} | {name: values[picked] for name, values in part.poses().items()}
        skipped = {"reference": 1, "beyond max_frames": part.end - part.last}
        facts = {"frames": part.end - part.first, "judged": len(picked), "side": part.record.get("side"),
                 "person": person_of(part.record),
                 "voices": len(self.voices), "skipped": {k: v for k, v in skipped.items() if v},
                 "unsuited": unsuited}  # fmt: skip
        return Outcome(verdicts, facts, arrays)

    def _levels(
        self, subject: Subject, how: RobustnessSettings, unsuited: dict[str, str]
    ) -> Iterator[tuple[str, Subject, Subject, tuple[str, ...]]]:
        """Name, what the generator gets, what is true, and the rows that can differ from those of the clean clip.

        Why a factor can do nothing with this clip is written into ``unsuited``.
        """
        if "size" in how.factors:
            for side in LEVELS["size"]:
                if side < subject.size:
                    seen = _seen(subject, disturb.smaller(subject.clip, side))
                    yield level_name("size", side), seen, subject, ("model", "wrong", "reference")
        if self.sound is None:
            return
        samples = self._samples()
        for kind in ("white", "pink", "babble"):
            if kind in how.factors:
                for decibels, sound in self._noisy(kind, samples, unsuited):
                    seen = _seen(subject, replace(subject.clip, mels=self._windows(sound)))
                    yield level_name(kind, decibels), seen, subject, ("model", "wrong")
        if "rate" in how.factors:
            for rate in LEVELS["rate"]:
                clip = disturb.sped_up(subject.clip, samples, self.part.first, rate)
                true = Subject(clip, mask=how.mask)
                yield level_name("rate", rate), true, true, ROWS

    def _samples(self) -> Float:
        """The sound of the packed clip, which must still be what was packed."""
        assert self.sound is not None
        samples = self.sound.read()
        if not torch.equal(self._windows(samples), self.part.mels()):
            raise DataError(f"{self.sound.path} no longer gives the sound that was packed; prepare it again")
        return np.pad(samples, (0, max(0, self.sound.length - len(samples))))

    def _windows(self, samples: Float) -> torch.Tensor:
        return disturb.windows(samples, [Fraction(i, FPS) for i in range(self.part.first, self.part.last)])

    def _noisy(self, kind: str, samples: Float, unsuited: dict[str, str]) -> Iterator[tuple[int, Float]]:
        """The sound under this noise, by its ratio in dB; none where there can be no ratio."""
        span = slice(*(audio.SAMPLE_RATE * frame // FPS for frame in (self.part.first, self.part.last)))
        try:
            other = self._noise(kind, len(samples))
            noisy = [disturb.mixed(samples, other, decibels, span) for decibels in SNR]
        except disturb.UnsuitedError as why:
            unsuited[kind] = str(why)
            return
        yield from zip(SNR, noisy, strict=True)

    def _noise(self, kind: str, count: int) -> Float:
        if kind == "babble":
            return disturb.babble([sound.read() for sound in self.voices], count)
        return disturb.noise(kind, count, zlib.crc32(f"{kind} {self.name}".encode()))


def _seen(subject: Subject, clip: PackedClip) -> Subject:
    """A subject of other pictures or sounds, for a dubber to work from; its landmarks stay those of the truth."""
    other = copy.copy(subject)
    other.clip = clip
    return other


def _judged(
    level: str, seen: Subject, true: Subject, rows: Sequence[str], tools: Tools, opened: Float | None = None
) -> list[Verdict]:
    """The rows at one level, with the error of the mouth's opening beside what `judge` finds."""
    found = []
    for row in rows:
        dub = dubber(row, seen, tools.generator)
        [verdict] = judge(true, row, dub, true.clip.mels, systems=(COMPOSITE,), expert=tools.expert)
        if row == "truth":
            opened = verdict.series["open"]
        assert opened is not None
        error = np.abs(verdict.series["open"] - opened)
        known = error[~np.isnan(error)]
        values = verdict.record.values | {"open_error": float(known.mean()) if len(known) else np.nan}
        found.append(replace(verdict, record=replace(verdict.record, system=level, values=values),
                             series=verdict.series | {"open_error": error}))  # fmt: skip
    return found


@dataclass(frozen=True)
class Tools:
    """What judges, in one process."""

    generator: Generator
    expert: SyncNet
    how: RobustnessSettings


def _tools(model: Path, expert: Path, how: RobustnessSettings) -> Tools:
    device = choose_device(how.device)
    return Tools(
        checkpoint.load_generator(model).to(device).eval(), checkpoint.load_syncnet(expert).to(device).eval(), how
    )
