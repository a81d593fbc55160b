"""What workers do: find people, draw a moment, some seconds, or all of a video. One function for each kind of job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from sidgan import dubbing, media
from sidgan.data.sheets import text
from sidgan.dubbing.analysis import portraits
from sidgan.errors import InputError, SidganError
from sidgan.files import finished
from sidgan.jobs import OWN_SOUND, Job
from sidgan.types import Byte, Show
from sidgan.web.queue import Queue, Work, files_of
from sidgan.web.store import Kept
from sidgan.web.worker import Means

MOMENT, SECONDS = 0.6, 5.0  #: s of video that are drawn for a picture, and for a preview
MOST_GAIN = 20.0  #: dB by which a voice is made louder or softer
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A job with its files.

    Attributes:
        folder: for the results.
        files: by their numbers.
    """

    queue: Queue
    folder: Path
    spec: Mapping[str, Any]
    files: Mapping[str, Kept]
    means: Means
    show: Show
    tell: Tell

    @property
    def video(self) -> Path:
        """The video."""
        return self.path(self.spec["video"])

    def path(self, id: str) -> Path:
        """One of the files."""
        return self.queue.store.path(self.files[id])

    def progress(self, stage: str, done: int, total: int) -> None:
        """What the package tells."""
        self.show(done / max(total, 1), stage)


def run(queue: Queue, job: Work, means: Means, show: Show, tell: Tell) -> dict[str, Any]:
    """Do a job; what came of it, with the names of its ``files``.

    Raises:
        SidganError: what a user can mend.
    """
    files = {file.id: file for file in _files(queue, job)}
    folder = queue.folder(job.id)
    folder.mkdir(mode=0o700, exist_ok=True)
    task = Task(queue, folder, job.spec, files, means, show, tell)
    return KINDS[job.kind](task)


def plain(queue: Queue, job: Work, line: str) -> str:
    """A line with the names that the user knows, instead of the service's paths."""
    for file in _files(queue, job, strict=False):
        line = line.replace(str(queue.store.path(file)), file.name)
    return line.replace(f"{queue.folder(job.id)}/", "").replace(f"{queue.store.folder}/", "")


def look(task: Task) -> dict[str, Any]:
    """Who is seen in a video, with a picture of each."""
    people = _people(task, fresh=True)
    told = []
    for one in people:
        name = f"person-{one.number}.jpg"
        if one.picture is not None:
            _write_jpg(task.folder / name, one.picture)
        presence = one.presence
        told.append({
            "number": one.number, "place": presence.place, "seen": presence.seen, "frames": presence.frames,
            "redrawable": presence.redrawable, "reasons": presence.reasons, "picture": name,
        })  # fmt: skip
    return {"people": told, "files": [one["picture"] for one in told]}


def frame(task: Task) -> dict[str, Any]:
    """One moment before and after, as pictures."""
    at, length = task.spec["at"], task.files[task.spec["video"]].facts["seconds"]
    with TemporaryDirectory(prefix="moment-", dir=task.folder) as folder:
        begin = max(0.0, min(at - MOMENT / 2, length - MOMENT))
        unheard = replace(task, spec={**task.spec, "background": None})
        before, after, report = _excerpt(unheard, Path(folder), begin, begin + MOMENT)
        for name, video, caption in (("before.jpg", before, ""), ("after.jpg", after, "altered by sidgan")):
            _write_jpg(task.folder / name, _captioned(_picture(video, at - begin), caption))
    return {"at": at, "dubbed": report.dubbed, "frames": report.frames, "files": ["before.jpg", "after.jpg"]}


def preview(task: Task) -> dict[str, Any]:
    """Some seconds before and after, as videos."""
    begin = task.spec["at"]
    before, after, report = _excerpt(task, task.folder, begin, begin + SECONDS)
    return {"at": begin, "dubbed": report.dubbed, "frames": report.frames, "files": [before.name, after.name]}


def dub(task: Task) -> dict[str, Any]:
    """All of it; gone on with where an earlier worker was."""
    spec, out, page = task.spec, task.folder / "dubbed.mp4", task.folder / "report.html"
    sound = task.folder / "sound.wav"
    voice, speakers = _cast(task)
    if task.spec["match_loudness"]:
        _mix(task, sound)
        voice = sound
    job = Job(
        task.video, voice, out, model=task.means.model, device=task.means.device, engine=task.means.engine,
        background=_background(task), speakers=speakers, silence=spec["silence"], emphasis=spec["emphasis"],
        length=spec["length"], adapt=spec["adapt"], on_damage=spec["on_damage"],
    )  # fmt: skip
    report, adapted = job.run(task.show, task.tell)
    sound.unlink(missing_ok=True)
    for line in report.notes:
        task.tell(line)
    told = report.to_dict() | ({"adapted": [one.to_dict() for one in adapted]} if adapted else {})
    names = {task.path(id): file.name for id, file in task.files.items()}
    names |= {sound: "the voices, made as loud as the video was", _kept_rest(task): OWN_SOUND}
    names[out] = f"{Path(names[task.video]).stem}-dubbed.mp4"
    files = [out.name]
    try:
        dubbing.write_page(told, task.video, job.heard, out, page, names)
        files.append(page.name)
    except Exception as problem:  # whatever it is, the video is complete
        why = str(problem) if isinstance(problem, SidganError) else f"{type(problem).__name__}: {problem}"
        task.tell(f"the dub is complete, but the report about it could not be made ({why})")
    kept = ("frames", "dubbed", "passed", "damaged", "shots", "wall", "model", "engine", "resumed", "adapted")
    return {name: told[name] for name in kept if name in told} | {"files": files}


KINDS: Mapping[str, Callable[[Task], dict[str, Any]]] = {"look": look, "frame": frame, "preview": preview, "dub": dub}


# ------------------------------------------------------------------------------------------------------------ helpers


def _files(queue: Queue, job: Work, *, strict: bool = True) -> list[Kept]:
    found = [queue.store.file(id, job.owner) for id in dict.fromkeys(files_of(job.spec))]
    if strict and None in found:
        raise InputError("a file of this job was deleted; upload it again and make a new job")
    return [file for file in found if file is not None]


def _people(task: Task, *, fresh: bool = False) -> tuple[portraits.Portrait, ...]:
    """Who is in the video; kept beside it."""
    kept = task.queue.store.file_folder(task.spec["video"]) / "people.json"
    if not fresh:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return portraits.load(kept)
    people = portraits.portraits(task.video, task.progress)
    portraits.save(people, kept)
    return people


def _cast(task: Task) -> tuple[Path | None, dict[int, Path]]:
    """What is heard, where that is one file as it is; and the voices by person."""
    cast = task.spec["cast"]
    speakers = {part["person"]: task.path(part["voice"]) for part in cast if part["person"] is not None}
    return task.path(cast[0]["voice"]) if len(cast) == 1 else None, speakers


def _background(task: Task) -> Path | None:
    """What lies under the voices; of the video's own sound, without its speech, which is kept beside it."""
    background = task.spec["background"]
    if background != "original":
        return None if background is None else task.path(background)
    kept = _kept_rest(task)
    if not kept.exists():
        media.write_rest(kept, task.video, device=task.means.device, progress=task.progress)
    return kept


def _kept_rest(task: Task) -> Path:
    return task.queue.store.file_folder(task.spec["video"]) / "rest.wav"


def _background_excerpt(task: Task, folder: Path, begin: float, end: float) -> Path | None:
    """The same for some seconds, which are separated by themselves where the whole was not: people wait for them."""
    if task.spec["background"] is None:
        return None
    cut, part = folder / "background.wav", folder / "part.wav"
    alone = task.spec["background"] == "original" and not _kept_rest(task).exists()
    whole = task.video if alone else _background(task)
    assert whole is not None
    media.write_sound_excerpt(cut, whole, begin, end)
    if not alone:
        return cut
    media.write_rest(part, cut, device=task.means.device, progress=task.progress)
    return part


def _mix(task: Task, out: Path) -> None:
    """The voices together, as loud as is wished."""
    voices = [task.path(part["voice"]) for part in task.spec["cast"]]
    gains = [1.0] * len(voices)
    if task.spec["match_loudness"]:
        wanted = media.loudness(task.video)
        if wanted is None:
            task.tell("the video's own sound is silent, so the voices are as loud as they were given")
        else:
            gains = [_gain(wanted, media.loudness(voice)) for voice in voices]
    turned = media.write_mix(out, voices, gains)
    if less := media.turned_down(turned):
        task.tell(f"the voices were {less}")


def _gain(wanted: float, is_: float | None) -> float:
    return 1.0 if is_ is None else float(10 ** (min(MOST_GAIN, max(-MOST_GAIN, wanted - is_)) / 20))


def _excerpt(task: Task, folder: Path, begin: float, end: float) -> tuple[Path, Path, dubbing.DubReport]:
    """A part of the video before and after, drawn from that part alone."""
    before, after = folder / "before.mp4", folder / "after.mp4"
    for left in (before, after):  # of a worker that was stopped
        left.unlink(missing_ok=True)
    rmtree(dubbing.work_folder(after), ignore_errors=True)
    begin = media.write_excerpt(before, task.video, begin, end)  # sounds begin with the first picture
    with TemporaryDirectory(prefix="sound-", dir=folder) as sounds:
        whole, heard = Path(sounds) / "whole.wav", Path(sounds) / "heard.wav"
        voices: dict[int | None, Path] = {}
        for number, part in enumerate(task.spec["cast"]):
            voices[part["person"]] = Path(sounds) / f"{number}.wav"
            media.write_sound_excerpt(voices[part["person"]], task.path(part["voice"]), begin, end)
        if task.spec["match_loudness"] or len(voices) > 1:
            _mix(task, whole)
            media.write_sound_excerpt(heard, whole, begin, end)
        else:
            heard = next(iter(voices.values()))
        speakers = _there(task, before, {person: voice for person, voice in voices.items() if person is not None})
        report = dubbing.dub(
            before, heard, after, speakers=speakers, background=_background_excerpt(task, Path(sounds), begin, end),
            silence=task.spec["silence"], model=task.means.model, device=task.means.device, engine=task.means.engine,
            emphasis=task.spec["emphasis"], progress=task.progress,
        )  # fmt: skip
    return before, after, report


def _there(task: Task, part: Path, speakers: Mapping[int, Path]) -> dict[int, Path]:
    """The speakers by the numbers that they have in a part of the video, who may be fewer."""
    if not speakers:
        return {}
    numbers = portraits.recognised(_people(task), portraits.portraits(part, task.progress))
    there = {numbers[person]: voice for person, voice in speakers.items() if person in numbers}
    if not there:
        raise InputError("nobody who has a voice is visible at this moment; choose another moment")
    return there


def _picture(video: Path, at: float) -> Byte:
    """(H, W, 3) RGB: what is shown ``at`` s of a short video; its last picture where it is over by then."""
    shown = None
    for time, picture in media.read_rgb(video):
        if shown is not None and time > at:
            break
        shown = picture
    assert shown is not None
    return shown


def _captioned(picture: Byte, caption: str) -> Byte:
    """The same with words in its upper right corner, which a comparison with the picture before does not hide."""
    if caption:
        picture = picture.copy()
        scale = max(0.4, picture.shape[1] / 1600)
        (width, height), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = max(picture.shape[1] - width - 8, 0), height + 8
        for shift, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
            text(picture, caption, (x + shift, y + shift), scale, colour)
    return picture


def _write_jpg(path: Path, picture: Byte) -> None:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    with finished(path) as part:
        part.write_bytes(data.tobytes())
