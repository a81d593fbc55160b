"""Clips and methods to a study: clips cut and encoded alike, under names that tell nothing.

::

    STUDY/study.json       what is shown, and which hidden name is whose; the page never sees it
    STUDY/clips/NAME.mp4   what is shown
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
from sidgan.config import require
from sidgan.data.sources import folder as videos_below
from sidgan.errors import ConfigError, InputError
from sidgan.files import write_text, writing
from sidgan.paper.places import weights_of
from sidgan.types import Byte, Show

VERSION = "sidgan-study-1"  #: counts up whenever ratings of before and after should not be put together
FILE = "study.json"
ANEW = "build the study anew in another folder: sidgan study build"  #: what always helps
RATE = 48_000  #: Hz of the sound
APART = 0.2  #: s by which the same clip of two methods may differ in length
ABOUT = "a clip of a rating study; faces in it may have been redrawn by software"


@dataclass(frozen=True)
class Study:
    """What is rated.

    Attributes:
        id: tells studies apart; ratings belong to one.
        methods: their names. clips: theirs.
        tokens: hidden name of each clip (row) as each method (column) made it.
        seconds: length of a clip at most. seed: of the choice of clips and of all orders.
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
    """Make a study; nothing is there before all of it is.

    Args:
        out: new folder.
        methods: name and place of each: a folder of finished videos, or a weights file, ``bundled`` or a run, which
            dubs the originals with their own sound.
        originals: folder of the true videos, for those that are to be dubbed.
        count: clips, drawn by ``seed`` from those that all methods have; fewer if there are no more.
        seconds: of each clip, from its beginning.
        seed: of the choice and of all orders.
        device: for dubbing.
        progress: told the share done, and of what.

    Returns:
        The study, and lines about clips that were left out.

    Raises:
        ConfigError: fewer than two methods, two of one name, or ``out`` holds a study already.
        InputError: a clip is not the same moments for two methods, or has no sound; no clip is common to all.
    """
    names = tuple(name for name, _ in methods)
    require(len(names) > 1 and len(set(names)) == len(names), "give two or more methods, each with a name of its own")
    require(count > 0 and seconds > 0, f"count and seconds must be positive, not {count} and {seconds}")
    if (out / FILE).is_file():
        raise ConfigError(f"{out} holds a study already, perhaps with ratings; choose another folder")
    held, notes = _common(methods, originals)
    rng = np.random.default_rng(seed)
    picked = sorted(list(held)[i] for i in rng.permutation(len(held))[:count])
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
                made = held[clip].made.get(name)
                videos.append(made or _dubbed(place, held[clip].original, Path(work), number, seconds, device))
                done += 1
            length = _length(clip, names, videos, seconds)
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
        InputError: there is none, or one of another version, or some of its clips are gone.
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
    lost = next((t for row in tokens for t in row if not (folder / "clips" / f"{t}.mp4").is_file()), None)
    if lost is not None:
        raise InputError(f"{folder / 'clips' / lost}.mp4 is gone; put it back, or {ANEW}")
    return study


@dataclass(frozen=True)
class _Sources:
    """Where one clip is: its original, and by method the finished video."""

    original: Path | None
    made: Mapping[str, Path]


def _common(methods: Sequence[tuple[str, str]], originals: Path | None) -> tuple[dict[str, _Sources], list[str]]:
    """Clips that all methods have, by name, and lines about the others."""
    true = {} if originals is None else {clip.name: clip.path for clip in videos_below(originals).clips}
    having: dict[str, dict[str, Path]] = {}
    for name, place in methods:
        if weights_of(place) is not None:
            require(originals is not None, f"{name} is a model: give --clips, a folder of videos for it to dub")
            having[name] = {}
        else:
            having[name] = {clip.name: clip.path for clip in videos_below(Path(place)).clips}
    folders = [set(videos) for name, videos in having.items() if videos] + ([set(true)] if true else [])
    every, shared = set.union(*folders), set.intersection(*folders)
    notes = []
    for name, videos in [*having.items(), ("--clips", true)]:
        lost = sorted(every - set(videos)) if videos else []
        if lost:
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            notes.append(f"left out for all methods, since {name} has no such file: {', '.join(lost[:3])}{more}")
    if not shared:
        raise InputError(f"no clip is common to all methods ({'; '.join(notes)}); give the same clips the same "
                         "file names")  # fmt: skip
    return {
        clip: _Sources(true.get(clip), {name: videos[clip] for name, videos in having.items() if videos})
        for clip in sorted(shared)
    }, notes  # fmt: skip


def _dubbed(place: str, original: Path | None, work: Path, number: int, seconds: float, device: str) -> Path:
    """The beginning of a clip, dubbed by a model with its own sound."""
    weights = weights_of(place)
    if weights is None or original is None:
        raise InputError(f"{place} was changed, or the clip was removed, while it was read; start again")
    out, source = work / f"{number}.mp4", original
    if media.probe(original).duration > seconds + APART:  # minutes need not be dubbed for half of one
        source = work / "beginning.mp4"
        _encode(original, source, seconds, crf=6)
    dubbing.dub(source, source, out, model=weights, device=device)
    return out


def _length(clip: str, names: Sequence[str], videos: Sequence[Path], most: float) -> float:
    found = [media.probe(video) for video in videos]
    for name, one in zip(names, found, strict=True):
        if one.audio_rate is None:
            raise InputError(f"{clip} as {name} has no sound ({one.path}), so nobody could rate its lip sync; give one "
                             "with sound")  # fmt: skip
    shown = [min(one.duration, most) for one in found]
    if max(shown) - min(shown) > APART:
        told = ", ".join(f"{name} {one.duration:.2f} s" for name, one in zip(names, found, strict=True))
        raise InputError(f"{clip} is not equally long for all methods ({told}); give videos of the same moments")
    return min(shown)


def _encode(video: Path, out: Path, seconds: float, crf: int = 14) -> None:
    """Encode the beginning of a video as every browser plays it, without anything that tells where it is from."""
    rate = min(media.probe(video).frame_rate, Fraction(60))
    sound = media.read_audio(video, RATE)[: round(seconds * RATE)]
    media.write_clip(out, _pictures(video, rate, seconds), rate, sound, RATE, crf=crf, preset="fast",
                     tags={"comment": ABOUT})  # fmt: skip


def _pictures(video: Path, rate: Fraction, seconds: float) -> Iterator[Byte]:
    """Pictures at a constant rate, of even size: at each tick the one that is shown then."""
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
