"""Build a study: the clips of all methods, cut and encoded alike, under random file names that hide the method.

::

    STUDY/study.json       the study, and which clip and method each file name stands for; never sent to the page
    STUDY/clips/NAME.mp4   the clips
    STUDY/ratings.sqlite   see `sidgan.study.answers`
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from sidgan import dubbing, media
from sidgan.data.sources import folder as videos_below
from sidgan.errors import ConfigError, InputError, some
from sidgan.files import write_text, writing
from sidgan.paper.places import weights_of
from sidgan.settings import require
from sidgan.types import Byte, Show

VERSION = "sidgan-study-1"  #: increased whenever ratings from before and after a change should not be combined
FILE = "study.json"
ANEW = "build the study anew in another folder: sidgan study build"  #: advice at the end of error messages
RATE = 48_000  #: Hz, sample rate of the clips
TOLERANCE = 0.2  #: s by which the same clip of two methods may differ in length
ABOUT = "a clip of a rating study; faces in it may have been redrawn by software"


@dataclass(frozen=True)
class Study:
    """A study: which clips of which methods are rated.

    Attributes:
        id: random identifier; each ratings file belongs to one study.
        methods: names of the methods.
        clips: names of the clips.
        tokens: random file name of each clip (row) and method (column).
        seconds: maximum length of a clip.
        seed: seed of the choice of clips and of all orders.
        version: version of the study format.
    """

    id: str
    methods: tuple[str, ...]
    clips: tuple[str, ...]
    tokens: tuple[tuple[str, ...], ...]
    seconds: float
    seed: int
    version: str = VERSION


def build(
    out: Path, methods: Sequence[tuple[str, str]], originals: Path | None = None, *, count: int = 22,
    seconds: float = 30.0, seed: int = 0, device: str = "auto", progress: Show = lambda share, text: None,
) -> tuple[Study, list[str]]:  # fmt: skip
    """Build a study. The folder counts as a study only when everything is in it.

    Args:
        out: new folder.
        methods: (name, place) of each method. A place is a folder of finished videos, or a model (``bundled``, a
            weights file or a training run), which dubs the originals with their own sound.
        originals: folder of the original videos, needed for models.
        count: number of clips, drawn at random from those that all methods have; fewer if there are not enough.
        seconds: length of each clip, from its beginning.
        seed: seed of the choice of clips and of all orders.
        device: device for dubbing.
        progress: called with the share done (0 to 1) and the clip and method at work.

    Returns:
        The study, and a line for each method that lacks clips, which are left out for all.

    Raises:
        ConfigError: fewer than two methods, two methods of the same name, or ``out`` holds a study already.
        InputError: a clip differs in length between methods, or has no sound; or no clip is common to all methods.
    """
    names = tuple(name for name, _ in methods)
    require(len(names) > 1 and len(set(names)) == len(names), "give two or more methods, each with a name of its own")
    require(count > 0 and seconds > 0, f"count and seconds must be positive, not {count} and {seconds}")
    if (out / FILE).is_file():
        raise ConfigError(f"{out} holds a study already, perhaps with ratings; choose another folder")
    sources, notes = _common(methods, originals)
    rng = np.random.default_rng(seed)
    picked = sorted(list(sources)[i] for i in rng.permutation(len(sources))[:count])
    tokens = tuple(tuple(secrets.token_hex(8) for _ in names) for _ in picked)
    study = Study(secrets.token_hex(8), names, tuple(picked), tokens, seconds, seed)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / ".building", ignore_errors=True)
        (out / ".building").mkdir()
    total, done = len(picked) * len(names), 0
    with tempfile.TemporaryDirectory(prefix="sidgan-") as work:
        for clip, row in zip(picked, tokens, strict=True):
            videos = []
            for number, (name, place) in enumerate(methods):
                progress(done / total, f"{clip}: {name}")
                finished = sources[clip].finished.get(name)
                videos.append(finished or _dubbed(place, sources[clip].original, Path(work), number, seconds, device))
                done += 1
            length = _common_length(clip, names, videos, seconds)
            for video, token in zip(videos, row, strict=True):
                _encode(video, out / ".building" / f"{token}.mp4", length)
    with writing(out):
        shutil.rmtree(out / "clips", ignore_errors=True)
        (out / ".building").rename(out / "clips")
    write_text(out / FILE, json.dumps(asdict(study), indent=1) + "\n")
    return study, notes


def read(folder: Path) -> Study:
    """The study in a folder.

    Raises:
        InputError: there is none, it has another version or is damaged, or some of its clips are missing.
    """
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no finished study; make one with sidgan study build {folder}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / FILE} cannot be read ({error}); put a copy back, or {ANEW}") from None
    version = values.get("version") if isinstance(values, dict) else None
    if version != VERSION:
        raise InputError(f"{folder} is a study of version {version}, not {VERSION}; {ANEW}")
    try:
        tokens, methods, clips = tuple(map(tuple, values["tokens"])), tuple(values["methods"]), tuple(values["clips"])
        study = Study(**values | {"tokens": tokens, "methods": methods, "clips": clips})
    except (KeyError, TypeError):
        raise InputError(f"{folder / FILE} is damaged; put a copy back, or {ANEW}") from None
    missing = next((t for row in tokens for t in row if not (folder / "clips" / f"{t}.mp4").is_file()), None)
    if missing is not None:
        raise InputError(f"{folder / 'clips' / missing}.mp4 is gone; put it back, or {ANEW}")
    return study


@dataclass(frozen=True)
class _Sources:
    """The files of one clip: the original, and the finished video of each method that is not a model."""

    original: Path | None
    finished: Mapping[str, Path]


def _common(methods: Sequence[tuple[str, str]], originals: Path | None) -> tuple[dict[str, _Sources], list[str]]:
    """The clips that all methods have, by name, and a line for each method that lacks some."""
    true = {} if originals is None else {clip.name: clip.path for clip in videos_below(originals).clips}
    finished: dict[str, dict[str, Path]] = {}
    for name, place in methods:
        if weights_of(place) is not None:
            require(originals is not None, f"{name} is a model: give --clips, a folder of videos for it to dub")
            finished[name] = {}
        else:
            finished[name] = {clip.name: clip.path for clip in videos_below(Path(place)).clips}
    folders = [set(videos) for name, videos in finished.items() if videos] + ([set(true)] if true else [])
    every, shared = set.union(*folders), set.intersection(*folders)
    notes = []
    for name, videos in [*finished.items(), ("--clips", true)]:
        missing = sorted(every - set(videos)) if videos else []
        if missing:
            notes.append(f"left out for all methods, since {name} has no such file: {some(missing)}")
    if not shared:
        raise InputError(f"no clip is common to all methods ({'; '.join(notes)}); give the same clips the same "
                         "file names")  # fmt: skip
    return {
        clip: _Sources(true.get(clip), {name: videos[clip] for name, videos in finished.items() if videos})
        for clip in sorted(shared)
    }, notes  # fmt: skip


def _dubbed(place: str, original: Path | None, work: Path, number: int, seconds: float, device: str) -> Path:
    """The first ``seconds`` of an original, dubbed by a model with the original's own sound."""
    weights = weights_of(place)
    if weights is None or original is None:
        raise InputError(f"{place} was changed, or the clip was removed, while it was read; start again")
    out, source = work / f"{number}.mp4", original
    if media.probe(original).duration > seconds + TOLERANCE:  # do not dub what is cut off afterwards
        source = work / "beginning.mp4"
        _encode(original, source, seconds, crf=6)
    dubbing.dub(source, source, out, model=weights, device=device)
    return out


def _common_length(clip: str, names: Sequence[str], videos: Sequence[Path], limit: float) -> float:
    """The length in seconds, at most ``limit``, to which the videos of all methods are cut."""
    clips = [media.probe(video) for video in videos]
    for name, found in zip(names, clips, strict=True):
        if found.audio_rate is None:
            raise InputError(f"{clip} as {name} has no sound ({found.path}), so nobody could rate its lip sync; give "
                             "one with sound")  # fmt: skip
    lengths = [min(found.duration, limit) for found in clips]
    if max(lengths) - min(lengths) > TOLERANCE:
        listed = ", ".join(f"{name} {found.duration:.2f} s" for name, found in zip(names, clips, strict=True))
        raise InputError(f"{clip} is not equally long for all methods ({listed}); give videos of the same moments")
    return min(lengths)


def _encode(video: Path, out: Path, seconds: float, crf: int = 14) -> None:
    """Encode the first ``seconds`` of a video in a form that every browser plays, without metadata of the source."""
    rate = min(media.probe(video).frame_rate, Fraction(60))
    sound = media.read_audio(video, RATE)[: round(seconds * RATE)]
    media.write_clip(out, _frames(video, rate, seconds), rate, sound, RATE, crf=crf, preset="fast",
                     tags={"comment": ABOUT})  # fmt: skip


def _frames(video: Path, rate: Fraction, seconds: float) -> Iterator[Byte]:
    """Frames resampled to a constant rate and cropped to an even size; each is the one shown at that time."""
    tick, shown = 0, None
    for time, image in media.read_rgb(video):
        while shown is not None and tick / rate < time and tick / rate < seconds:
            yield shown
            tick += 1
        if time >= seconds:
            return
        shown = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    if shown is not None:
        yield shown
