"""Dubs as jobs: one dub with all its files and settings, or a list of dubs over several processes."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidgan import dubbing, media
from sidgan.dubbing import DubReport
from sidgan.dubbing.analysis import Find, Seen, analyse, once
from sidgan.dubbing.analysis.choice import pictured
from sidgan.dubbing.journal import Journal
from sidgan.dubbing.report import Progress
from sidgan.dubbing.settings import Settings, background_of, face_of
from sidgan.errors import ConfigError, InputError, OutputError, SidganError, counted
from sidgan.executors import Executor
from sidgan.files import check_target, require_apart, require_ending
from sidgan.nn import Generator
from sidgan.portable import on_disk, spelt
from sidgan.provenance.credentials import Credentials
from sidgan.settings import from_dict, meant, require_minutes
from sidgan.types import Clip, Show

if TYPE_CHECKING:
    from sidgan.adaptation import AdaptReport

NEEDED = ("video", "voice", "out")  #: columns that a list must have
READ = ("video", "voice", "face", "background", "sign", "key")  #: columns that hold input files, beside ``speakers``
BOOLEANS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
OWN_SOUND = "the video's own sound, without its speech"  #: its name on report pages


def speakers_of(texts: Sequence[str]) -> dict[int, Path]:
    """Parse texts such as ``1=anna.wav`` into person number -> voice file.

    Raises:
        ConfigError: a text has another form, or a person is given twice.
    """
    speakers: dict[int, Path] = {}
    for part in texts:
        number, sign, file = part.strip().partition("=")
        if not sign or not number.isdecimal() or not file:
            raise ConfigError(f"speaker {part}: give a person's number and an audio file, such as 2=anna.wav")
        if int(number) in speakers:
            raise ConfigError(f"speaker {part}: person {int(number)} has a voice already")
        speakers[int(number)] = Path(os.path.expanduser(file))  # no shell expands ``~`` there
    return speakers


#: Column -> parser of its text, for columns whose value is not the text itself.
KINDS: dict[str, Callable[[str], Any]] = {
    "crf": int, "adapt": float, "steady": float, "emphasis": float, "face": face_of, "background": background_of,
    "speakers": lambda text: speakers_of(text.split(";")), "lossless": lambda text: BOOLEANS[text.lower()],
    **dict.fromkeys((*NEEDED, "strip", "report", "sign", "key"), Path),
}  # fmt: skip
Tell = Callable[[str], None]  #: called with each line to print (unlike `Show`, whose progress line is overwritten)


@dataclass(frozen=True)
class Job(Settings):
    """One dub: its files, its settings, and further outputs.

    Attributes:
        voice: sound track of the output; without ``speakers`` also the speech that the mouth follows. With
            ``speakers``, ``None`` stands for the mix of their voices.
        adapt: minutes of fine-tuning on the video before dubbing; ``None``: none.
        strip: write a before/after picture to this file.
        report: write a report page to this file.
        sign, key: certificate and its private key, to sign the output with.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        require_minutes(self.adapt)

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
        """Label -> sound: the voices, in the order in which the output's mark lists them, and the background."""
        found: dict[str, Path | str] = {} if self.voice is None else {"voice": self.voice}
        found |= {f"voice of person {number}": file for number, file in sorted(self.speakers.items())}
        if self.background is not None:
            found["background"] = self.background if isinstance(self.background, Path) else OWN_SOUND
        return found

    @property
    def given(self) -> list[Path]:
        """All input files except the model."""
        files = [self.video, self.voice, *self.speakers.values(), self.face, self.background, self.sign, self.key]
        return [file for file in files if isinstance(file, Path)]

    @property
    def inputs(self) -> list[Path]:
        """All input files."""
        return [Path(self.model), *self.given]

    @property
    def outputs(self) -> list[Path]:
        """All output files."""
        return [path for path in (self.out, self.strip, self.report) if path is not None]

    def noted(self) -> dict[str, Any]:
        """As of `Settings`, with the minutes of adaptation, which a dub without any does not have."""
        return super().noted() | ({} if self.adapt is None else {"adapt": self.adapt})

    def is_made(self) -> bool:
        """Whether all outputs are there, complete, and of the same files and settings (`sidgan.dubbing.is_made`).

        Raises:
            SidganError: an input file cannot be read, or cannot sign.
        """
        if not all(path.is_file() for path in self.outputs):
            return False
        made = self.out.stat().st_mtime_ns
        if any(path.stat().st_mtime_ns < made for path in self.outputs[1:]):  # picture or page of an earlier dub
            return False
        return dubbing.is_made(self.video, self.voice, self.out, self.model, self, self._credentials())

    def run(self, show: Show, tell: Tell) -> tuple[DubReport, list[AdaptReport]]:
        """Run the dub, and before it the adaptation, if any.

        Args:
            show: called with the progress.
            tell: called with lines to print.

        Raises:
            SidganError: as `sidgan.dub`, `sidgan.adapt` and `sidgan.Credentials`.
        """
        credentials = self._credentials()
        self._check_beside()
        find = once() if self.adapt is not None and not isinstance(self.face, Path) else None
        own, adapted = self._adapted(credentials, show, tell, find)
        report = dubbing.Dubber(self.model, self).dub(
            self.video, self.voice, self.out, own=own, sign=credentials, workers=self.workers, ray=self.ray,
            tell=tell, find=find, progress=lambda stage, done, total: show(done / max(total, 1), stage),
        )  # fmt: skip
        facts = {} if self.adapt is None else {"adapted": [one.to_dict() for one in adapted]}
        try:
            if self.strip is not None:
                dubbing.strip(self.video, self.out, self.strip, length=self.length)
            if self.report is not None:
                dubbing.write_page(report.to_dict() | facts, self.video, self.heard, self.out, self.report)
        except SidganError as error:
            raise type(error)(f"{self.out} is finished, but its --strip or --report is not: {error}") from error
        return report, adapted

    def _credentials(self) -> Credentials | None:
        if self.sign is not None and self.key is not None:
            return Credentials(self.sign, self.key)
        if self.sign is not None or self.key is not None:
            raise ConfigError("give --sign and --key together: the certificate and its private key")
        return None

    def _check_beside(self) -> None:
        """Raise an `OutputError` if strip or report cannot be written, or would overwrite an input or output."""
        earlier = [self.out]
        for target in self.outputs[1:]:
            require_apart(target, self.inputs)
            require_apart(target, earlier, "written as well")
            require_ending(target, ".png" if target is self.strip else ".html")
            check_target(target)
            earlier.append(target)

    def _adapted(
        self, credentials: Credentials | None, show: Show, tell: Tell, find: Find | None
    ) -> tuple[Mapping[int, Generator], list[AdaptReport]]:
        if self.adapt is None:
            return {}, []
        from sidgan import adaptation  # imported here, as it needs the extra `train`

        dubbing.check(
            self.video, self.spoken, self.out, credentials, encoder=self.encoder, lossless=self.lossless,
            engine=self.engine, device=self.device, background=self.background,
        )  # fmt: skip
        if isinstance(self.face, Path):
            pictured(self.face)
        with Journal(self.out):  # locks the output, so that a second run does not repeat the adaptation
            results = adaptation.adapt_faces_once(
                dubbing.work_folder(self.out) / "adapted", self.video, model=self.model, minutes=self.adapt,
                faces="largest" if self.faces == "largest" and self.face is None and not self.speakers else "all",
                device=self.device, tolerant=self.on_damage == "pass", progress=show, find=find and self._sure(find),
            )  # fmt: skip
        for one in (result.report for result in results):
            who = f"face {one.face} ({one.place}): " if len(results) > 1 else ""
            tell(who + one.line())
        return adaptation.networks(results), [result.report for result in results]

    def _sure(self, find: Find) -> Find:
        """``find``, which also raises where the people that were asked for are not there, before the adaptation."""

        def found(clip: Clip, progress: Progress) -> Seen:
            seen = find(clip, progress)
            if self.face is not None or self.speakers:
                analyse(clip, self.faces, progress, self.face, list(self.speakers), seen)
            return seen

        return found


def read(file: Path, like: Job) -> list[Job]:
    """The jobs of a CSV file whose first line names the columns: ``video``, ``voice``, ``out``, and any other setting.

    Args:
        file: relative paths in it start at the current folder, as on the command line.
        like: defaults for columns that are missing, and for empty values.

    Raises:
        InputError: the file cannot be read, holds no job, holds two jobs with the same output, or a job that reads the
            output of another, as jobs may run at the same time.
        ConfigError: an unknown column, or an impossible value.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.DictReader(text)
            columns = [name.strip() for name in rows.fieldnames or ()]
            while columns and not columns[-1]:  # spreadsheets save empty cells to the right and below
                columns.pop()
            _require_known(file, columns)
            rows.fieldnames = columns
            given = ((rows.line_num, _given(row)) for row in rows)
            jobs = [_job(f"{file}, line {number}", values, like) for number, values in given if values]
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not in UTF-8; save it as CSV (UTF-8)") from error
    except (OSError, csv.Error) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InputError(f"{file} cannot be read as a list of jobs ({reason}); give a CSV file") from error
    if not jobs:
        raise InputError(f"{file} holds no job; give a line with {', '.join(NEEDED)} for each dub")
    writers = dict[str, Job]()
    for job, path in ((one, path) for one in jobs for path in one.outputs):
        if writers.setdefault(spelt(os.path.realpath(path)), job) is not job:
            raise InputError(f"{file} has more than one job for {path}; give each a file of its own, in the list")
    for job, path in ((one, path) for one in jobs for path in one.inputs):
        if writers.get(spelt(os.path.realpath(path)), job) is not job:
            raise InputError(f"{file} has a job that reads {path}, which another job writes; run that job first, from "
                             "a list of its own, or choose another name")  # fmt: skip
    return jobs


def absent(jobs: Sequence[Job]) -> Iterator[str]:
    """A warning for each job whose inputs or output folders are missing, to be shown before earlier jobs run."""
    for job in jobs:
        missing = [str(path) for path in job.given if not path.exists()]
        missing += dict.fromkeys(f"folder {path.parent}" for path in job.outputs if not path.parent.is_dir())
        if missing:
            yield f"{job.out}: there is no {' and no '.join(missing)}; this dub will fail unless that exists by then"


def _require_known(file: Path, columns: Sequence[str]) -> None:
    known = [one.name for one in fields(Job) if one.name not in ("workers", "ray")]
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and sign in columns[0]:
            raise ConfigError(f"{file} is separated by {name}; save it with commas")
    for place, column in enumerate(columns):
        if column not in known:
            raise ConfigError(f"{file} has an unknown column '{column}'; {meant(column, known)}")
        if column in columns[:place]:
            raise ConfigError(f"{file} has two columns '{column}'; remove one of them")
    missing = _lacking(columns)
    if missing:
        raise ConfigError(f"{file} has no column {' and no column '.join(missing)}; its first line must name them")


def _lacking(names: Collection[str]) -> list[str]:
    """The needed columns that are not among ``names``; ``speakers`` replaces ``voice``."""
    return [name for name in NEEDED if name not in names and not (name == "voice" and "speakers" in names)]


def _given(row: Mapping[str | None, Any]) -> dict[str, str]:
    """The values of a row that are not empty, as column -> text; the key ``""`` holds surplus ones."""
    texts = {**row, None: " ".join(row.get(None) or ())}
    return {name or "": text.strip() for name, text in texts.items() if text and text.strip()}


def _job(where: str, given: Mapping[str, str], like: Job) -> Job:
    if any("\0" in text for text in given.values()):
        raise ConfigError(f"{where} holds a null character; save the list as CSV (UTF-8)")
    if "" in given:
        raise ConfigError(f"{where} has more values than there are columns; put what holds a comma into quotes")
    lacking = _lacking(given)
    if lacking:
        raise ConfigError(f"{where} lacks {' or '.join(lacking)}")
    values: dict[str, Any] = {one.name: getattr(like, one.name) for one in fields(Job)}
    for name, text in given.items():
        try:
            values[name] = KINDS.get(name, str)(os.path.expanduser(text))
        except ConfigError as error:
            raise ConfigError(f"{where}: {name} cannot be '{text}' ({error})") from None
        except (ValueError, KeyError):
            wanted = "yes or no" if KINDS[name] not in (int, float) else "a number, with a decimal point if needed"
            raise ConfigError(f"{where}: {name} cannot be '{text}'; give {wanted}") from None
    values |= {name: on_disk(file) for name in READ if isinstance(file := values[name], Path)}
    values["speakers"] = {number: on_disk(file) for number, file in values["speakers"].items()}
    try:
        job = from_dict(Job, values)
        media.require_container(job.out)
    except (ConfigError, OutputError) as error:
        raise ConfigError(f"{where}: {error}") from None
    return job


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        done: whether it succeeded.
        line: one line about the result, or the error.
        notes: further lines: what it told while it ran, such as the gain of the adaptation, and `remarks`.
        kept: whether it was there already (`Job.is_made`).
    """

    job: Job
    done: bool
    line: str
    notes: tuple[str, ...] = ()
    kept: bool = False


def run_all(jobs: Sequence[Job], executor: Executor) -> Iterator[Outcome]:
    """Run jobs on an executor and yield their outcomes in order; a job that fails does not stop the others.

    Raises:
        SidganError: the executor itself failed.
    """
    yield from executor(attempt, [replace(job, workers=1, ray=None) for job in jobs])


def attempt(job: Job) -> Outcome:
    """Run a job, unless an earlier run has, and return its error as an outcome instead of raising it."""
    told = list[str]()
    # The job meets an input's error again and says so; what is wrong with an old output does not matter, it is redone.
    with suppress(Exception):
        if job.is_made():
            line = f"{job.out} is kept: same files, same settings; remove it to make it again"
            return Outcome(job, True, line, kept=True)
    try:
        report, _ = job.run(lambda share, text: None, told.append)
    except SidganError as error:
        line = str(error)  # which may name only an input, and several jobs may share it
        return Outcome(job, False, line if str(job.out) in line else f"{job.out}: {line}")
    except Exception as error:  # an unexpected error of one file must not stop the other jobs
        return Outcome(job, False, " ".join(f"{job.out} failed ({type(error).__name__}: {error})".split()))
    return Outcome(job, True, made(job, report), (*told, *remarks(report)))


def remarks(report: DubReport, few: int = 0) -> Iterator[str]:
    """Lines about a dub: notes, frames that were left as filmed (see `left`), and damage."""
    yield from report.notes
    yield from left(report, few)
    for begin, end in report.damaged:
        yield f"{begin:.2f}-{end:.2f} s are damaged: the last good frame is shown instead"


def left(report: DubReport, few: int = 0) -> Iterator[str]:
    """Lines about the frames that were left as filmed, most frequent reason first.

    A reason with up to ``few`` segments of frames gets one line per segment, any other a single line.
    """
    segments: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for first, last, reason in report.passed:
        segments[reason].append((first, last))
    frames = {reason: sum(last - first + 1 for first, last in found) for reason, found in segments.items()}
    for reason in sorted(frames, key=lambda reason: -frames[reason]):
        if len(segments[reason]) <= few:
            yield from (f"{_frames(first, last)} left as filmed: {reason}" for first, last in segments[reason])
        else:
            yield f"{counted(frames[reason], 'frame')} left as filmed: {reason}"


def _frames(first: int, last: int) -> str:
    """A run of frames in words."""
    return f"frame {first}" if first == last else f"frames {first}-{last}"


def made(job: Job, report: DubReport) -> str:
    """One line about the result of a dub."""
    extras = " and ".join(str(path) for path in (job.strip, job.report) if path is not None)
    return f"{report.dubbed} of {report.frames} frames dubbed -> {job.out}{extras and f'; see {extras}'}"
