"""Dubs as jobs: one with all that belongs to it, or a list of them over several processes."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidgan import dubbing
from sidgan.config import from_dict, meant
from sidgan.dubbing import DubReport
from sidgan.dubbing.journal import Journal
from sidgan.dubbing.settings import Settings, background_of, face_of
from sidgan.errors import ConfigError, InputError, SidganError, counted
from sidgan.executors import Executor
from sidgan.files import check_target, require_apart, require_ending
from sidgan.nn import Generator
from sidgan.portable import on_disk, spelt
from sidgan.provenance.credentials import Credentials
from sidgan.types import Show

if TYPE_CHECKING:
    from sidgan.adaptation import AdaptReport

NEEDED = ("video", "voice", "out")
READ = ("video", "voice", "face", "background", "sign", "key")  #: columns of files, beside those of ``speakers``
TRUTH = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
OWN_SOUND = "the video's own sound, without its speech"  #: what a page calls it


def speakers_of(texts: Sequence[str]) -> dict[int, Path]:
    """Voices by the number of their person, from texts such as ``1=anna.wav``.

    Raises:
        ConfigError: it says something else.
    """
    speakers: dict[int, Path] = {}
    for part in texts:
        number, sign, file = part.strip().partition("=")
        if not sign or not number.isdecimal() or not file:
            raise ConfigError(f"speaker {part}: give a person's number and an audio file, such as 2=anna.wav")
        if int(number) in speakers:
            raise ConfigError(f"speaker {part}: person {int(number)} has a voice already")
        speakers[int(number)] = Path(file)
    return speakers


#: How the text of a column becomes a value, where it is not the text itself.
KINDS: dict[str, Callable[[str], Any]] = {
    "crf": int, "adapt": float, "steady": float, "emphasis": float, "face": face_of, "background": background_of,
    "speakers": lambda text: speakers_of(text.split(";")), "lossless": lambda text: TRUTH[text.lower()],
    **dict.fromkeys((*NEEDED, "strip", "report", "sign", "key"), Path),
}  # fmt: skip
Tell = Callable[[str], None]  #: called with a line that stays


@dataclass(frozen=True)
class Job(Settings):
    """One dub: its files, its settings, and what else is wanted.

    Attributes:
        voice: what is heard and, without ``speakers``, spoken; with them, ``None`` for their mix.
        adapt: minutes of fine-tuning on the video first.
        strip: also write a before/after picture here. report: and a page about it.
        sign, key: certificate and its key, to sign the output with.
        model, workers, ray: see `sidgan.dub`.
    """

    video: Path
    voice: Path | None
    out: Path
    model: str = "bundled"
    adapt: float | None = None
    strip: Path | None = None
    report: Path | None = None
    sign: Path | None = None
    key: Path | None = None
    workers: int = 1
    ray: str | None = None

    @property
    def spoken(self) -> Path:
        """The voice, or the first of several.

        Raises:
            ConfigError: there is none.
        """
        spoken = self.voice or next(iter(self.speakers.values()), None)
        if spoken is None:
            raise ConfigError("give a voice, or --speaker N=AUDIO for each person")
        return spoken

    @property
    def heard(self) -> dict[str, Path | str]:
        """What is heard, by what it is: voices in the order in which a mark has them, and what is under them."""
        found: dict[str, Path | str] = {} if self.voice is None else {"voice": self.voice}
        found |= {f"voice of person {number}": file for number, file in sorted(self.speakers.items())}
        if self.background is not None:
            found["background"] = self.background if isinstance(self.background, Path) else OWN_SOUND
        return found

    @property
    def given(self) -> list[Path]:
        """All files that it reads beside the model."""
        files = [self.video, self.voice, *self.speakers.values(), self.face, self.background, self.sign, self.key]
        return [file for file in files if isinstance(file, Path)]

    @property
    def inputs(self) -> list[Path]:
        """All files that it reads."""
        return [Path(self.model), *self.given]

    @property
    def outputs(self) -> list[Path]:
        """All files that it writes."""
        return [path for path in (self.out, self.strip, self.report) if path is not None]

    def run(self, show: Show, tell: Tell) -> tuple[DubReport, list[AdaptReport]]:
        """Do it.

        Raises:
            SidganError: as `sidgan.dub`, `sidgan.adapt` and `sidgan.Credentials`.
        """
        credentials = None
        if self.sign is not None and self.key is not None:
            credentials = Credentials(self.sign, self.key)
        elif self.sign is not None or self.key is not None:
            raise ConfigError("give --sign and --key together: the certificate and its private key")
        self._check_beside()
        own, adapted = self._adapted(credentials, show, tell)
        report = dubbing.Dubber(self.model, self).dub(
            self.video, self.voice, self.out, own=own, sign=credentials, workers=self.workers, ray=self.ray,
            tell=tell, progress=lambda stage, done, total: show(done / max(total, 1), stage),
        )  # fmt: skip
        facts = {} if self.adapt is None else {"adapted": [one.to_dict() for one in adapted]}
        try:
            if self.strip is not None:
                dubbing.strip(self.video, self.out, self.strip)
            if self.report is not None:
                dubbing.write_page(report.to_dict() | facts, self.video, self.heard, self.out, self.report)
        except SidganError as error:
            raise type(error)(f"{self.out} is finished, but its --strip or --report is not: {error}") from error
        return report, adapted

    def _check_beside(self) -> None:
        """Raise an `OutputError` where picture or page cannot be written, or would take the place of another file."""
        made = [self.out]
        for target in self.outputs[1:]:
            require_apart(target, self.inputs)
            require_apart(target, made, "written as well")
            require_ending(target, ".png" if target is self.strip else ".html")
            check_target(target)
            made.append(target)

    def _adapted(
        self, credentials: Credentials | None, show: Show, tell: Tell
    ) -> tuple[Mapping[int, Generator], list[AdaptReport]]:
        if self.adapt is None:
            return {}, []
        from sidgan import adaptation  # needs the extra train; dubs without it do not

        dubbing.check(
            self.video, self.spoken, self.out, credentials, encoder=self.encoder, lossless=self.lossless,
            engine=self.engine, device=self.device, background=self.background,
        )  # fmt: skip
        with Journal(self.out):  # another run for the same output would do the same minutes of work
            results = adaptation.adapt_faces_once(
                dubbing.work_folder(self.out) / "adapted", self.video, model=self.model, minutes=self.adapt,
                faces="largest" if self.faces == "largest" and self.face is None and not self.speakers else "all",
                device=self.device, tolerant=self.on_damage == "pass", progress=show,
            )  # fmt: skip
        for one in (result.report for result in results):
            who = f"face {one.face} ({one.place}): " if len(results) > 1 else ""
            tell(who + one.line())
        return adaptation.networks(results), [result.report for result in results]


def read(file: Path, like: Job) -> list[Job]:
    """The jobs of a CSV file whose first line names the columns: ``video``, ``voice``, ``out``, and any other setting.

    Args:
        file: relative paths in it begin at the current folder, as on a command line.
        like: the settings of those that a line does not give, or gives as nothing.

    Raises:
        InputError: the file cannot be read, or holds no job, or two jobs with one output, or one that reads what
            another writes: which is first, nobody knows.
        ConfigError: an unknown column, or an impossible value.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            columns = [name.strip() for name in rows.fieldnames or ()]
            _require_known(file, columns)
            jobs = [_job(f"{file}, line {rows.line_num}", _named(columns, row), like) for row in rows]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not in UTF-8; save it as CSV (UTF-8)") from error
    except (OSError, csv.Error) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"{file} cannot be read as a list of jobs ({reason}); give a CSV file") from error
    if not jobs:
        raise InputError(f"{file} holds no job; give a line with {', '.join(NEEDED)} for each dub")
    makers = dict[str, Job]()
    for job, path in ((one, path) for one in jobs for path in one.outputs):
        if makers.setdefault(spelt(os.path.realpath(path)), job) is not job:
            raise InputError(f"{file} has more than one job for {path}; give each job a file of its own")
    for job, path in ((one, path) for one in jobs for path in one.inputs):
        if makers.get(spelt(os.path.realpath(path)), job) is not job:
            raise InputError(f"{file} has a job that reads {path}, which another job writes; run that job first, from "
                             "a list of its own, or choose another name")  # fmt: skip
    return jobs


def absent(jobs: Sequence[Job]) -> Iterator[str]:
    """A line for each job that reads what is not there: the first one may have hours to go before its turn."""
    for job in jobs:
        gone = [str(path) for path in job.given if not path.exists()]
        if gone:
            yield f"{job.out}: there is no {' and no '.join(gone)}; this dub will fail unless that exists by then"


def _require_known(file: Path, columns: Sequence[str]) -> None:
    known = [one.name for one in fields(Job) if one.name not in ("workers", "ray")]
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and sign in columns[0]:
            raise ConfigError(f"{file} is separated by {name}; save it with commas")
    for place, column in enumerate(columns):
        if column not in known:
            raise ConfigError(f"{file} has an unknown column '{column}'; {meant(column, known)}")
        if column in columns[:place]:
            raise ConfigError(f"{file} has two columns '{column}'; leave one of them")
    missing = _lacking(columns)
    if missing:
        raise ConfigError(f"{file} has no column {' and no column '.join(missing)}; its first line must name them")


def _lacking(names: Collection[str]) -> list[str]:
    """What a job needs and these names do not give; speakers bring voices of their own."""
    return [name for name in NEEDED if name not in names and not (name == "voice" and "speakers" in names)]


def _named(columns: Sequence[str], row: Mapping[str | None, Any]) -> dict[str, Any]:
    """A line by its columns, and what is left over under no name."""
    values = [value for name, value in row.items() if name is not None]
    return {**dict(zip(columns, values, strict=False)), "": " ".join(row.get(None) or ())}


def _job(where: str, row: Mapping[str, Any], like: Job) -> Job:
    given = {name: text.strip() for name, text in row.items() if isinstance(text, str) and text.strip()}
    if "" in given:
        raise ConfigError(f"{where} has more values than there are columns; put what holds a comma into quotes")
    lacking = _lacking(given)
    if lacking:
        raise ConfigError(f"{where} lacks {' or '.join(lacking)}")
    values: dict[str, Any] = {one.name: getattr(like, one.name) for one in fields(Job)}
    for name, text in given.items():
        try:
            values[name] = KINDS.get(name, str)(text)
        except ConfigError as error:
            raise ConfigError(f"{where}: {name} cannot be '{text}' ({error})") from None
        except (ValueError, KeyError):
            wanted = "yes or no" if KINDS[name] not in (int, float) else "a number, with a decimal point if needed"
            raise ConfigError(f"{where}: {name} cannot be '{text}'; give {wanted}") from None
    values |= {name: on_disk(file) for name in READ if isinstance(file := values[name], Path)}
    values["speakers"] = {number: on_disk(file) for number, file in values["speakers"].items()}
    try:
        return from_dict(Job, values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Outcome:
    """How a job ended: whether it did what it should, what to tell in one line, and further lines, ``notes``.

    These are the notes of its report, and how many frames were left as filmed, and why.
    """

    job: Job
    done: bool
    line: str
    notes: tuple[str, ...] = ()


def run_all(jobs: Sequence[Job], executor: Executor) -> Iterator[Outcome]:
    """Do jobs by an executor of `sidgan.executors`, in their order; one that fails does not end the others.

    Raises:
        SidganError: an executor's own troubles.
    """
    yield from executor(attempt, [replace(job, workers=1, ray=None) for job in jobs])


def attempt(job: Job) -> Outcome:
    """Do a job, and say how it ended instead of raising."""
    try:
        report, _ = job.run(lambda share, text: None, lambda line: None)
    except SidganError as error:
        line = str(error)  # which may be of an input that several jobs have
        return Outcome(job, False, line if str(job.out) in line else f"{job.out}: {line}")
    except Exception as error:  # one odd file must not end the run
        return Outcome(job, False, " ".join(f"{job.out} failed ({type(error).__name__}: {error})".split()))
    return Outcome(job, True, made(job, report), (*report.notes, *left(report)))


def left(report: DubReport, few: int = 0) -> Iterator[str]:
    """What was left as filmed and why: in one line for each reason, or stretch by stretch up to ``few`` of them."""
    stretches: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for first, last, reason in report.passed:
        stretches[reason].append((first, last))
    frames = {reason: sum(last - first + 1 for first, last in found) for reason, found in stretches.items()}
    for reason in sorted(frames, key=lambda reason: -frames[reason]):
        if len(stretches[reason]) <= few:
            yield from (f"frames {first}-{last} left as filmed: {reason}" for first, last in stretches[reason])
        else:
            yield f"{counted(frames[reason], 'frame')} left as filmed: {reason}"


def made(job: Job, report: DubReport) -> str:
    """What a dub has made, in one line."""
    looks = " and ".join(str(path) for path in (job.strip, job.report) if path is not None)
    return f"{report.dubbed} of {report.frames} frames dubbed -> {job.out}{looks and f'; see {looks}'}"
