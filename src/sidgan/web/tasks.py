"""The jobs: find people in a video or photo, dub one frame, a few seconds, or all of it. One function for each kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep
from typing import Any

import cv2
import numpy as np

from sidgan import dubbing, media
from sidgan.data.sheets import text
from sidgan.dubbing.analysis import Analysis, census, survey, undecided
from sidgan.errors import InputError, NoFaceError, SidganError
from sidgan.files import finished, write_text
from sidgan.jobs import OWN_SOUND, Job
from sidgan.people import sharpness
from sidgan.types import Byte, Opening, Show
from sidgan.web.queue import Queue, Work, files_of, length_of, locked
from sidgan.web.settings import Means
from sidgan.web.store import Kept

FRAME_LENGTH, PREVIEW_LENGTH = 0.6, 5.0  #: seconds of video that are dubbed for a single frame, and for a preview
FACES = "faces.npz"  #: what was found in a video, in its folder
TRIED = "tried-{}.json"  #: the references of these faces, as chosen by trial with a model, an engine and an emphasis
POLL = 0.2  #: seconds between two attempts to lock a job's folder
MAX_GAIN = 20.0  #: dB by which a voice is turned up or down at most
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A job with everything that is needed to do it.

    Attributes:
        folder: for the results.
        spec: the order, see `sidgan.web.schema`.
        files: the job's files by id.
        means: model, device and engine.
        show: called with the progress.
        tell: called with each note for the user.
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
        """The path of the video, or photo."""
        return self.path(self.spec["video"])

    @property
    def still(self) -> bool:
        """Whether it is a photo."""
        return bool(self.files[self.spec["video"]].facts.get("still"))

    def path(self, id: str) -> Path:
        """The path of a file."""
        return self.queue.store.path(self.files[id])

    def progress(self, stage: str, done: int, total: int) -> None:
        """Pass on the progress that the package reports."""
        self.show(done / max(total, 1), stage)


def run(queue: Queue, job: Work, means: Means, show: Show, tell: Tell) -> dict[str, Any]:
    """Do a job.

    Returns:
        The result as JSON values; ``files`` lists the names of the result files.

    Raises:
        SidganError: a problem that the user can fix.
    """
    files = {file.id: file for file in _files(queue, job)}
    folder = queue.folder(job.id)
    folder.mkdir(mode=0o700, exist_ok=True)
    task = Task(queue, folder, job.spec, files, means, show, tell)
    with _alone(folder, show):
        return KINDS[job.kind](task)


def plain(queue: Queue, job: Work, line: str) -> str:
    """A line for the user, with the user's file names instead of the service's paths."""
    for file in _files(queue, job, strict=False):
        line = line.replace(str(queue.store.path(file)), file.name)
    return line.replace(f"{queue.folder(job.id)}/", "").replace(f"{queue.store.folder}/", "")


def look(task: Task) -> dict[str, Any]:
    """Find the people in a video, with an image of each."""
    clip, seen, people = media.probe(task.video), _surveyed(task), []
    if not seen.people:
        raise NoFaceError(f"no face found in {task.video}; give {'a photo' if task.still else 'a video'} with a face "
                          "that is seen from the front")  # fmt: skip
    tracks = census.tracks_of(seen)
    pictures = census.pictures(clip, {number: [*census.moments(one)] for number, one in tracks.items()}, task.progress)
    for number, one in tracks.items():
        name, presence = f"person-{number}.jpg", census.presence(seen, clip, one, number)
        _write_jpg(task.folder / name, max((picture for _, picture in pictures[number]), key=sharpness))
        people.append({
            "number": number, "place": presence.place, "seen": presence.seen, "frames": presence.frames,
            "redrawable": presence.redrawable, "reasons": presence.reasons, "picture": name,
        })  # fmt: skip
    return {"people": people, "files": [person["picture"] for person in people]}


def frame(task: Task) -> dict[str, Any]:
    """Dub one frame: images of it before and after."""
    at, length = task.spec["at"], length_of(task.spec, task.files)
    with TemporaryDirectory(prefix="moment-", dir=task.folder) as folder:
        begin = max(0.0, min(at - FRAME_LENGTH / 2, length - FRAME_LENGTH))
        without_background = replace(task, spec={**task.spec, "background": None})  # it would not be heard
        before, after, begin, report = _excerpt(without_background, Path(folder), begin, begin + FRAME_LENGTH)
        for name, video, caption in (("before.jpg", before, ""), ("after.jpg", after, "altered by sidgan")):
            _write_jpg(task.folder / name, _captioned(_frame_at(video, at - begin), caption))
    return {"at": at, "dubbed": report.dubbed, "frames": report.frames, "files": ["before.jpg", "after.jpg"]}


def preview(task: Task) -> dict[str, Any]:
    """Dub a few seconds: videos of them before and after."""
    at = task.spec["at"]
    before, after, _, report = _excerpt(task, task.folder, at, at + PREVIEW_LENGTH)
    return {"at": at, "dubbed": report.dubbed, "frames": report.frames, "files": [before.name, after.name]}


def dub(task: Task) -> dict[str, Any]:
    """Dub the whole video; resumes the work of an earlier worker."""
    spec, out, page = task.spec, task.folder / "dubbed.mp4", task.folder / "report.html"
    sound = task.folder / "sound.wav"
    voice, speakers = _cast(task)
    if spec["match_loudness"]:
        _mix(task, sound)
        voice = sound
    job = Job(
        task.video, voice, out, model=task.means.model, device=task.means.device, engine=task.means.engine,
        background=_background(task), speakers=speakers, silence=spec["silence"], emphasis=spec["emphasis"],
        length=spec["length"], adapt=spec["adapt"], on_damage=spec["on_damage"],
    )  # fmt: skip
    report, adapted = job.run(task.show, task.tell)
    sound.unlink(missing_ok=True)
    notes = dict.fromkeys(report.notes)
    if spec["match_loudness"]:  # the dub was given their mix only
        voices = _voices(task)
        notes |= dict.fromkeys(dubbing.reduced(voices, voices, media.channels(out)))
    for line in notes:
        task.tell(line)
    facts = report.to_dict() | {"notes": [*notes]}
    facts |= {"adapted": [network.to_dict() for network in adapted]} if adapted else {}
    names = {task.path(id): file.name for id, file in task.files.items()}
    names |= {sound: "the voices, made as loud as the video was", _speech_free(task): OWN_SOUND}
    names[out] = f"{Path(names[task.video]).stem}-dubbed.mp4"
    files = [out.name]
    try:
        dubbing.write_page(facts, task.video, job.heard, out, page, names)
        files.append(page.name)
    except Exception as problem:  # the video is complete, so the job must not fail
        why = str(problem) if isinstance(problem, SidganError) else f"{type(problem).__name__}: {problem}"
        task.tell(f"the dub is complete, but the report about it could not be made ({why})")
    kept = ("frames", "dubbed", "passed", "damaged", "shots", "wall", "model", "engine", "resumed", "adapted")
    return {name: facts[name] for name in kept if name in facts} | {"files": files}


KINDS: Mapping[str, Callable[[Task], dict[str, Any]]] = {"look": look, "frame": frame, "preview": preview, "dub": dub}


# ------------------------------------------------------------------------------------------------------------ helpers


@contextmanager
def _alone(folder: Path, show: Show) -> Iterator[None]:
    """Keep other workers out of a job's folder, after waiting for one that has lost the job and not yet noticed it."""
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        while not locked(lock):
            show(0.0, "")
            sleep(POLL)
        yield


def _files(queue: Queue, job: Work, *, strict: bool = True) -> list[Kept]:
    files = [queue.store.file(id, job.owner) for id in dict.fromkeys(files_of(job.spec))]
    if strict and None in files:
        raise InputError("a file of this job was deleted; upload it again and make a new job")
    return [file for file in files if file is not None]


def _surveyed(task: Task) -> Analysis:
    """The faces of the video, which are found once and kept beside it."""
    cache = task.queue.store.file_folder(task.spec["video"]) / FACES
    with suppress(OSError, ValueError):
        return Analysis.load(cache)
    seen = undecided(survey(media.probe(task.video), task.progress)[0])
    for tried in cache.parent.glob(TRIED.format("*")):  # with faces that were found by another version
        tried.unlink(missing_ok=True)
    seen.save(cache)
    return seen


@contextmanager
def _tried(task: Task, seen: Analysis, dubber: dubbing.Dubber) -> Iterator[None]:
    """Give faces the references that earlier previews with these settings chose, and keep those chosen in the block."""
    name = TRIED.format(f"{dubber.model}-{dubber.engine.kind}-{dubber.settings.emphasis:g}")
    cache = task.queue.store.file_folder(task.spec["video"]) / name
    views = [view for person in seen.people for view in person.views]
    with suppress(OSError, ValueError, TypeError):
        for view, (chosen, opening) in zip(views, json.loads(cache.read_text(encoding="utf-8")), strict=True):
            view.chosen, view.opening = tuple(chosen), Opening(*opening)
    yield
    write_text(cache, json.dumps([(view.chosen, view.opening) for view in views]))


def _cast(task: Task) -> tuple[Path | None, dict[int, Path]]:
    """The voice, if there is only one; and the voices by number of the person."""
    cast = task.spec["cast"]
    speakers = {part["person"]: task.path(part["voice"]) for part in cast if part["person"] is not None}
    return task.path(cast[0]["voice"]) if len(cast) == 1 else None, speakers


def _voices(task: Task) -> list[Path]:
    """The voices, as in the cast of the order."""
    return [task.path(part["voice"]) for part in task.spec["cast"]]


def _background(task: Task) -> Path | None:
    """The background sound, if any; the video's own sound without its speech is cached beside the video."""
    background = task.spec["background"]
    if background != "original":
        return None if background is None else task.path(background)
    cache = _speech_free(task)
    if not cache.exists():
        media.write_rest(cache, task.video, device=task.means.device, progress=task.progress)
    return cache


def _speech_free(task: Task) -> Path:
    """The cache file of the video's own sound without its speech."""
    return task.queue.store.file_folder(task.spec["video"]) / "rest.wav"


def _background_excerpt(task: Task, folder: Path, begin: float, end: float) -> Path | None:
    """An excerpt of the background sound, if any.

    If the video's speech has not been removed yet, only the excerpt is separated, since the user waits for a preview.
    """
    if task.spec["background"] is None:
        return None
    cut, separated = folder / "background.wav", folder / "part.wav"
    unseparated = task.spec["background"] == "original" and not _speech_free(task).exists()
    whole = task.video if unseparated else _background(task)
    assert whole is not None
    media.write_sound_excerpt(cut, whole, begin, end)
    if not unseparated:
        return cut
    media.write_rest(separated, cut, device=task.means.device, progress=task.progress)
    return separated


def _mix(task: Task, out: Path) -> None:
    """Mix all voices, with their loudness matched to the video if the order says so."""
    voices = _voices(task)
    gains = [1.0] * len(voices)
    if task.spec["match_loudness"]:
        target = media.loudness(task.video)
        if target is None:
            task.tell("the video's own sound is silent, so the voices are as loud as they were given")
        else:
            gains = [_gain(target, media.loudness(voice)) for voice in voices]
    gain = media.write_mix(out, voices, gains)
    if line := media.turned_down(gain):
        task.tell(f"the voices were {line}")


def _gain(target: float, loudness: float | None) -> float:
    """The factor from one loudness to another, both in LUFS; 1 for silence (``None``)."""
    return 1.0 if loudness is None else float(10 ** (min(MAX_GAIN, max(-MAX_GAIN, target - loudness)) / 20))


def _excerpt(task: Task, folder: Path, begin: float, end: float) -> tuple[Path, Path, float, dubbing.Excerpt]:
    """Dub an excerpt of the video as the dub of all of it: before, after, when it begins in seconds, and the report."""
    before, after = folder / "before.mp4", folder / "after.mp4"
    dubber = dubbing.Dubber(
        task.means.model, device=task.means.device, engine=task.means.engine, emphasis=task.spec["emphasis"],
        silence=task.spec["silence"],
    )  # fmt: skip
    seen = _surveyed(task)
    frames, begin = _shown(task, seen, begin, end)
    with TemporaryDirectory(prefix="sound-", dir=folder) as sounds:
        whole, heard = Path(sounds) / "whole.wav", Path(sounds) / "heard.wav"
        voice, speakers = _cast(task)
        if task.spec["match_loudness"] or voice is None:
            _mix(task, whole)
            voice = whole
        media.write_sound_excerpt(heard, voice, begin, end)
        if (background := _background_excerpt(task, Path(sounds), begin, end)) is not None:
            said, heard = heard, Path(sounds) / "mixed.wav"
            media.write_mix(heard, [said, background])
        with _tried(task, seen, dubber):
            report = dubber.excerpt(
                task.video, voice, heard, frames, before, after, found=seen, speakers=speakers, progress=task.progress
            )
    for line in (*report.notes, *dubbing.reduced(_voices(task), _voices(task), _channels(task))):
        task.tell(line)
    return before, after, begin, report


def _shown(task: Task, seen: Analysis, begin: float, end: float) -> tuple[range, float]:
    """The frames of the dub between two times in seconds, and when the first is shown, where the sound must start."""
    if task.still:
        rate, end = len(seen.times) / seen.end, min(end, length_of(task.spec, task.files))
        frames = range(*(ceil(Fraction(round(1000 * at), 1000) * rate) for at in (begin, end)))
    else:
        frames = seen.shown(begin, end)
    if not frames:
        raise InputError(f"{task.video} is over at {begin:.1f} s; choose an earlier moment")
    return frames, float(frames.start / rate if task.still else seen.times[frames.start])


def _channels(task: Task) -> int:
    """The number of channels of the sound of the dub."""
    spec, voices = task.spec, _voices(task)
    mixed = spec["match_loudness"] or spec["background"] is not None or len(voices) > 1
    return 2 if mixed else media.channels_kept(voices[0], ".mp4")


def _frame_at(video: Path, at: float) -> Byte:
    """(H, W, 3) RGB: the frame that is shown at ``at`` seconds of a short video; its last frame if it is shorter."""
    shown = None
    for time, image in media.read_rgb(video):
        if shown is not None and time > at:
            break
        shown = image
    assert shown is not None
    return shown


def _captioned(image: Byte, caption: str) -> Byte:
    """A copy with a caption at the upper right, the side that the page's comparison shows of the dubbed image."""
    if caption:
        image = image.copy()
        scale = max(0.4, image.shape[1] / 1600)
        (width, height), _ = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
        x, y = max(image.shape[1] - width - 8, 0), height + 8
        for shift, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
            text(image, caption, (x + shift, y + shift), scale, colour)
    return image


def _write_jpg(path: Path, image: Byte) -> None:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    with finished(path) as part:
        part.write_bytes(data.tobytes())
