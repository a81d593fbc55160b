"""More speakers from few: clips in which one person's mouth moves as another's did, with that other's sound.

Training a sync expert wants many people; a set in which one person speaks for hours and others for seconds has few.
The mouth's motion of any clip can be carried over to any face (`sidgan.data.carry`), filmed or drawn
(`sidgan.data.drawn`), and stays in sync with its sound.
Only frames of the split ``train`` are used, of both sides, and the results belong to ``train``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sidgan import audio, geometry, media
from sidgan.config import FPS
from sidgan.data.carry import Motion, View, blended, brightness, destination, redraw
from sidgan.data.dataset import packed_arrays, person_of, read_crops, read_manifest
from sidgan.data.drawn import drawn
from sidgan.errors import ConfigError, DataError, counted
from sidgan.executors import local
from sidgan.files import digest, write_arrays, write_text, writing
from sidgan.types import Byte, Float

FRAMES = 75  #: of a new clip, or as many as the donor has
SHORTEST = 25  #: frames; shorter stretches are not used
BEAT = 5  #: frames that begin on a whole mel column: 5 / 25 s = 16 columns
AMPLITUDES = (0.8, 1.3)
TRIES = 4  #: places in a donor, of which the one with the liveliest mouth is taken
CLOSED = 0.1  #: share of the frames, those with the smallest openings, from which the lips may be taken
NOSE_TIP = 30  #: its place between the eyes tells how the head is turned
GAIN = (0.5, 1.25)  #: limits of the match of colours; beyond, teeth would shine
SHARES = (0.3, 0.7)  #: of the other one in a blended face
LOOKED_AT = 8  #: people, of whom the one whose head is held most alike is blended in
TURNED = 8.0  #: degrees between two heads, beyond which they are not blended
SAMPLED = 5  #: frames of a clip whose brightness is measured


@dataclass(frozen=True)
class Stretch:
    """The training frames ``first`` to ``last`` (one past) of a packed clip."""

    root: Path
    record: dict[str, Any] = field(hash=False, compare=False)
    name: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def person(self) -> str:
        """Who speaks: the identity, else the inner folder of names such as ``grid/s1/x``, else the clip itself.

        Pieces of one clip are of one person.
        """
        known = self.record.get("identity")
        folder = self.name.rpartition("/")[0]
        return str(known or (folder if "/" in folder else person_of(self.record) or self.name))

    @property
    def base(self) -> Path:
        """Path of its files, without ending."""
        return self.root / "clips" / str(self.record["file"])


@dataclass(frozen=True)
class Job:
    """One clip to make: ``target`` with the mouth of ``donor``, and perhaps blended with one of ``others``.

    Without a target somebody is drawn.
    """

    target: Stretch | None
    donor: Stretch
    others: tuple[Stretch, ...]
    number: int
    out: Path
    rng: np.random.Generator


@dataclass(frozen=True)
class Material:
    """What a stretch of N frames holds.

    Attributes:
        images: (N, S, S, 3) uint8.
        arrays: those of the packed clip, cut to the stretch; ``mel`` has only columns of its N frames.
        pixels: (N, 68, 2) landmarks in px of the crops.
        motion: of these landmarks.
    """

    images: Byte
    arrays: dict[str, Float]
    pixels: Float
    motion: Motion

    def view(self, i: int) -> View:
        """Frame ``i`` of it."""
        return View(self.images[i], self.pixels[i])


def multiply(
    data: Path, out: Path, count: int, seed: int = 0, *, blend: float = 0.0, draw: float = 0.0, workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Make ``count`` new clips of a prepared folder's people and write them as another prepared folder.

    People take turns as targets, in random order; donors are drawn with equal weight per person, never the target.
    The same arguments give the same clips. Stopped, the same call goes on; a larger ``count`` adds to what is there.

    Args:
        data: prepared folder.
        out: new folder, or one that was made, or begun, with the same data, ``seed``, ``blend`` and ``draw``.
        count: clips to make.
        seed: of all that is drawn.
        blend: share of the clips whose face is mixed with another person's, so that it is nobody's.
        draw: share of the clips whose face is drawn instead.
        workers: processes; they do not change the result.
        progress: told (clips done, of how many).

    Raises:
        ConfigError: ``count`` is not positive, ``blend`` or ``draw`` no share, or ``out`` holds something else.
        DataError: fewer than two people with at least a second of training frames.
        SidganError: a worker process was killed.
    """
    if count < 1:
        raise ConfigError(f"the number of clips must be positive, not {count}")
    for what, share in (("blended", blend), ("drawn", draw)):
        if not 0 <= share <= 1:
            raise ConfigError(f"the share of {what} faces must be between 0 and 1, not {share}")
    people = by_person(data)
    settings = {"data": digest(data / "manifest.jsonl"), "seed": seed, "blend": blend}
    _settle(out, settings | ({"draw": draw} if draw else {}))
    jobs = []
    for number, (target, donor, rng) in enumerate(_pairs(people, count, seed)):
        if draw > 0 and rng.random() < draw:
            jobs.append(Job(None, donor, (), number, out, rng))
            continue
        mixed = blend > 0 and rng.random() < blend
        others = _others(people, target, rng) if mixed else ()
        jobs.append(Job(target, donor, others, number, out, rng))
    records = []
    for record in local(min(workers, count))(_make, jobs):
        records.append(record)
        progress(len(records), count)
    write_text(out / "manifest.jsonl", "".join(json.dumps(record, sort_keys=True) + "\n" for record in records))
    return records


def _settle(out: Path, settings: dict[str, Any]) -> None:
    """Make the folder, or see that what is in it began with the same settings."""
    noted = out / "multiply.json"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not noted.is_file())):
        raise ConfigError(f"{out} exists already; name a new folder")
    if noted.is_file():
        if json.loads(noted.read_text(encoding="utf-8")) != settings:
            raise ConfigError(f"{out} was started with other data, seed or share of blended or drawn faces; name a "
                              "new folder")  # fmt: skip
        return
    with writing(out):
        (out / "clips").mkdir(parents=True, exist_ok=True)
    write_text(noted, json.dumps(settings))


def by_person(data: Path) -> dict[str, list[Stretch]]:
    """The stretches of a prepared folder that may be trained on, by person.

    Raises:
        DataError: as in `multiply`.
    """
    people: dict[str, list[Stretch]] = {}
    for record in read_manifest(data):
        first, last = record.get("splits", {}).get("train", (0, 0))
        if record["kept"] and last - first >= SHORTEST:
            stretch = Stretch(data, record, record["name"], first, last)
            people.setdefault(stretch.person, []).append(stretch)
    if len(people) < 2:
        raise DataError(f"{data}: {counted(len(people), 'person', 'people')} to train on; "
                        "at least two are needed, to exchange their speech")  # fmt: skip
    return people


def _pairs(
    people: dict[str, list[Stretch]], count: int, seed: int
) -> Iterator[tuple[Stretch, Stretch, np.random.Generator]]:
    order: list[str] = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        order = order or [str(name) for name in rng.permutation(sorted(people))]
        who = order.pop()
        other = str(rng.choice(sorted(set(people) - {who})))
        target, donor = (people[name][int(rng.integers(len(people[name])))] for name in (who, other))
        yield target, donor, rng


def _others(people: dict[str, list[Stretch]], target: Stretch, rng: np.random.Generator) -> tuple[Stretch, ...]:
    names = rng.permutation(sorted(set(people) - {target.person}))[:LOOKED_AT]
    return tuple(people[name][int(rng.integers(len(people[name])))] for name in names)


@dataclass(frozen=True)
class Made:
    """A clip before it is written: pictures (S, S, 3) in order, arrays as they are packed, facts for the record."""

    pictures: Iterator[Byte]
    arrays: dict[str, Float]
    facts: dict[str, Any]


def _make(job: Job) -> dict[str, Any]:
    cv2.setNumThreads(1)
    donor, out, rng = job.donor, job.out, job.rng
    name = _name(job)
    base = out / "clips" / name.replace("/", "__")
    noted = base.with_name(base.name + ".json")
    if noted.is_file():
        return dict(json.loads(noted.read_text(encoding="utf-8")))
    voice = load(donor)
    tries = [_window(len(donor), rng) for _ in range(TRIES)]
    spoken = max(tries, key=lambda rows: float(voice.motion.opening[rows].std()))
    made = _drawn(job, voice, spoken) if job.target is None else _carried(job, job.target, voice, spoken)
    media.write_clip(base.with_name(base.name + ".mp4"), made.pictures, Fraction(FPS), crf=10, chroma444=True)
    start = spoken[0] * audio.STEPS_PER_SECOND // FPS
    mel = voice.arrays["mel"][:, start : start + audio.STEPS_PER_SECOND * len(spoken) // FPS + 16]
    masks = geometry.mask_boxes(made.arrays["landmarks"])
    write_arrays(base.with_name(base.name + ".npz"), {"mel": mel, "masks": masks, **made.arrays})
    source = {"donor": donor.name, "donor_frames": [int(donor.first + spoken[0]), int(donor.first + spoken[-1] + 1)]}
    record = _known(donor, "loudness") | made.facts | {
        "name": name, "file": base.name, "kept": True, "frames": len(spoken), "start": 0.0,
        "splits": {"train": [0, len(spoken)]}, "transfer": source | made.facts["transfer"],
    }  # fmt: skip
    write_text(noted, json.dumps(record, sort_keys=True))  # last: what it stands beside is whole
    return record


def _name(job: Job) -> str:
    """Of a clip. Training chooses by folders: one for each person filmed, or for who lent drawn ones their speech."""
    said = job.donor.name.replace("/", "_")
    if job.target is None:
        return f"drawn/{job.donor.person.replace('/', '_')}/{said}_{job.number:04}"
    return f"transfer/{job.target.name.replace('/', '_')}/{said}_{job.number:04}"


def _known(origin: Stretch, *keys: str) -> dict[str, Any]:
    return {key: origin.record[key] for key in keys if key in origin.record}


def _carried(job: Job, target: Stretch, voice: Material, spoken: np.ndarray) -> Made:
    """The target's frames with the donor's mouth."""
    rng, face = job.rng, load(target)
    shown = _there_and_back(len(target), len(spoken), rng)
    source: dict[str, Any] = {
        "target": target.name, "target_frames": [int(target.first + i) for i in (shown.min(), shown.max() + 1)]
    }  # fmt: skip
    if job.others:
        face, shown, mixed = _blended(face, shown, job.others, rng)
        source |= mixed
    amplitude = float(rng.uniform(*AMPLITUDES))
    aims = destination(face.motion[shown], voice.motion.speech()[spoken], amplitude)
    size = face.images.shape[1]
    unit = ((aims + 0.5) / size).astype(np.float32)
    arrays = {"landmarks": unit, "matrices": face.arrays["matrices"][shown], "pose": face.arrays["pose"][shown]}
    facts = _known(target, "side", "sharpness", "source_rate") | {"identity": target.person, "size": size}
    facts["transfer"] = source | {"amplitude": round(amplitude, 3)}
    return Made(_pictures(face, voice, shown, spoken, aims), arrays, facts)


def _drawn(job: Job, voice: Material, spoken: np.ndarray) -> Made:
    """Somebody drawn, with the donor's mouth."""
    size = voice.images.shape[1]
    made = drawn(voice.motion[spoken], size, job.rng)
    track, side = made.track, float(np.median(made.track.matrices[:, 0, 0]))
    unit = geometry.to_unit(track.matrices, track.landmarks)
    arrays = {"landmarks": unit, "matrices": track.matrices, "pose": track.pose}
    facts = {"side": round(side, 1), "source_rate": float(FPS), "identity": f"drawn/{made.seed}", "size": size}
    return Made(iter(made.images), arrays, facts | {"transfer": {"drawn": made.seed}})


def _blended(
    face: Material, shown: np.ndarray, others: tuple[Stretch, ...], rng: np.random.Generator
) -> tuple[Material, np.ndarray, dict[str, Any]]:
    """The frames of a face that are shown, each mixed with one quiet picture of another person.

    They stay as they are where nobody holds the head alike. The shape of the face is mixed as its colours are; how it
    moves stays the first one's.

    Returns:
        The frames; the places in them of those shown; what to note about it.
    """
    rows, places = np.unique(shown, return_inverse=True)
    motion, share = face.motion[rows], float(rng.uniform(*SHARES))
    pose = np.median(face.arrays["pose"][rows], 0)
    (off, at), chosen = min(((_most_alike(load(one), pose), one) for one in others), key=lambda found: found[0])
    if off > TURNED:
        return face, shown, {}
    other, theirs = load(chosen).view(at), load(chosen).motion.local[at]
    quiet = motion.local[motion.opening <= np.quantile(motion.opening, CLOSED)]
    local = motion.local + share * (theirs - np.median(quiet.real, 0) - 1j * np.median(quiet.imag, 0))
    aims = local * motion.scale[:, None] + motion.origin[:, None]
    pixels = np.stack([aims.real, aims.imag], -1).astype(np.float32)
    some = rows[np.linspace(0, len(rows) - 1, SAMPLED).astype(int)]
    gain = brightness(face.images[some], face.pixels[some]) / brightness(other.image[None], other.points[None])
    images = [blended(face.view(i), other, aim, share, gain) for i, aim in zip(rows, pixels, strict=True)]
    arrays = {key: face.arrays[key][rows] for key in ("matrices", "pose")}
    facts = {"blended": chosen.name, "share": round(share, 3)}
    return Material(np.stack(images), arrays, pixels, Motion.of(pixels)), places, facts


def _most_alike(material: Material, pose: Float) -> tuple[float, int]:
    """Of the frames with the smallest openings that whose head is held most like ``pose``: degrees off, and which."""
    off = np.abs(material.arrays["pose"] - pose)[:, :2].max(1)  # roll drops out
    opening = material.motion.opening
    off = np.where(opening <= np.quantile(opening, CLOSED), off, np.inf)
    return float(off.min()), int(off.argmin())


def _pictures(face: Material, voice: Material, shown: np.ndarray, spoken: np.ndarray, aims: Float) -> Iterator[Byte]:
    some = [np.linspace(0, len(rows) - 1, SAMPLED).astype(int) for rows in (shown, spoken)]
    seen, heard = shown[some[0]], spoken[some[1]]
    gain = brightness(face.images[seen], face.pixels[seen]) / brightness(voice.images[heard], voice.pixels[heard])
    gain = np.clip(gain, *GAIN)
    lips = face.view(_closed(face.motion, shown))
    for i, j, aim in zip(shown, spoken, aims, strict=True):
        yield redraw(face.view(i), lips, aim, voice.view(j), gain)


def _closed(motion: Motion, shown: np.ndarray) -> int:
    """Of the frames shown with the smallest openings, the one in which the head stands most like in all of them."""
    rows = np.unique(shown)
    opening, nose = motion.opening[rows], motion.local[rows, NOSE_TIP]
    off = np.abs(nose - np.median(nose.real) - 1j * np.median(nose.imag))
    return int(rows[np.where(opening <= np.quantile(opening, CLOSED), off, np.inf).argmin()])


@lru_cache(maxsize=16)
def load(stretch: Stretch) -> Material:
    """Read a stretch; nothing outside of it is returned."""
    rows = slice(stretch.first, stretch.last)
    images = read_crops(stretch.base.with_name(stretch.base.name + ".mp4"))[rows].copy()
    with packed_arrays(stretch.base.with_name(stretch.base.name + ".npz")) as packed:
        arrays = {key: packed[key] for key in ("mel", "landmarks", "matrices", "pose")}
    mel = arrays.pop("mel")
    arrays = {key: value[rows] for key, value in arrays.items()}
    begin = -(-stretch.first * audio.STEPS_PER_SECOND // FPS)
    whole = stretch.last == stretch.record["frames"]
    arrays["mel"] = mel[:, begin : None if whole else stretch.last * audio.STEPS_PER_SECOND // FPS]
    pixels = arrays["landmarks"] * images.shape[1] - 0.5
    return Material(images, arrays, pixels, Motion.of(pixels))


def _window(length: int, rng: np.random.Generator) -> np.ndarray:
    """Consecutive frames of the donor, from one on which a mel column begins."""
    count = min(FRAMES, length)
    return np.arange(count) + BEAT * int(rng.integers((length - count) // BEAT + 1))


def _there_and_back(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Frames of the target: from a random one on, turning round at either end of its stretch."""
    steps = int(rng.integers(2 * length)) + np.arange(count)
    return np.asarray(length - 1 - np.abs(length - 1 - steps % (2 * length - 2)))
