"""More speakers from few: clips in which the mouth of one person (target) moves as another's (donor) did.

A sync expert needs many people; a set in which one person speaks for hours and others for seconds has few. The mouth
motion of any clip can be transferred to any face, filmed (`sidgan.carry`) or synthetic (`sidgan.data.drawn`), and
stays in sync with the donor's sound. Targets and donors are frames of the split ``train``, and so are the results.
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
from sidgan.carry import Motion, View, blended, brightness, colour_match, destination, redraw
from sidgan.config import FPS
from sidgan.data.dataset import packed_arrays, person_of, read_crops, read_manifest
from sidgan.data.drawn import drawn
from sidgan.errors import ConfigError, DataError, counted
from sidgan.executors import local
from sidgan.files import digest, write_arrays, write_text, writing
from sidgan.types import Byte, Float

FRAMES = 75  #: length of a new clip, if the donor has as many
SHORTEST = 25  #: frames; shorter stretches are not used
MEL_ALIGNED = 5  #: every 5th frame (0.2 s, 16 mel columns) begins on a whole mel column
AMPLITUDES = (0.8, 1.3)  #: range of the factor on the donor's mouth motion
WINDOW_TRIES = 4  #: random windows of the donor, of which the one with the most varied mouth opening is used
CLOSED = 0.1  #: share of the frames, those with the smallest openings, that count as lips closed
NOSE_TIP = 30  #: landmark whose position relative to the eyes shows how the head is turned
BLEND_SHARES = (0.3, 0.7)  #: range of the other person's share in a blended face
POSE_TRIES = 8  #: random people, of whom the one with the most similar head pose is blended in
MAX_POSE_DIFFERENCE = 8.0  #: degrees; heads whose poses differ by more are not blended
COLOUR_SAMPLES = 5  #: frames of a clip whose brightness is measured


@dataclass(frozen=True)
class Stretch:
    """The training frames of a packed clip: ``first`` to one before ``last``."""

    root: Path
    record: dict[str, Any] = field(hash=False, compare=False)
    name: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def person(self) -> str:
        """The speaker: the identity, else the inner folder of a name such as ``grid/s1/x``, else the clip itself.

        Pieces of one clip count as one person.
        """
        known = self.record.get("identity")
        folder = self.name.rpartition("/")[0]
        return str(known or (folder if "/" in folder else person_of(self.record) or self.name))

    @property
    def base(self) -> Path:
        """Path of the clip's files, without suffix."""
        return self.root / "clips" / str(self.record["file"])


@dataclass(frozen=True)
class Job:
    """One clip to make: ``target`` with the mouth motion of ``donor``, perhaps blended with one of ``others``.

    Without a target, the face is synthetic.
    """

    target: Stretch | None
    donor: Stretch
    others: tuple[Stretch, ...]
    number: int
    out: Path
    rng: np.random.Generator


@dataclass(frozen=True)
class Material:
    """The data of a stretch of N frames.

    Attributes:
        images: (N, S, S, 3) uint8 RGB crops.
        arrays: the packed clip's arrays for these frames; ``mel`` has only the columns of these frames.
        pixels: (N, 68, 2) landmarks in px of the crops.
        motion: of these landmarks.
    """

    images: Byte
    arrays: dict[str, Float]
    pixels: Float
    motion: Motion

    def view(self, i: int) -> View:
        """Crop and landmarks of frame ``i``."""
        return View(self.images[i], self.pixels[i])


def multiply(
    data: Path, out: Path, count: int, seed: int = 0, *, blend: float = 0.0, draw: float = 0.0, workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Make ``count`` new clips of a prepared folder's people and write them as another prepared folder.

    People take turns as targets in random order; donors are drawn with equal weight per person, never the target.
    The same arguments give the same clips. After a stop, the same call resumes; a larger ``count`` adds clips.

    Args:
        data: prepared folder.
        out: new folder, or one that was made, or begun, with the same data, ``seed``, ``blend`` and ``draw``.
        count: clips to make.
        seed: of all random choices.
        blend: share of the clips whose face is mixed with another person's, so that it belongs to nobody.
        draw: share of the clips whose face is synthetic instead.
        workers: number of processes; it does not change the result.
        progress: called with the number of clips done and the total.

    Returns:
        The new manifest's records.

    Raises:
        ConfigError: ``count`` is not positive, ``blend`` or ``draw`` is not in [0, 1], or ``out`` has other contents.
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
    _open_output(out, settings | ({"draw": draw} if draw else {}))
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


def _open_output(out: Path, settings: dict[str, Any]) -> None:
    """Create the output folder, or check that it was begun with the same settings."""
    marker = out / "multiply.json"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not marker.is_file())):
        raise ConfigError(f"{out} exists already; name a new folder")
    if marker.is_file():
        if json.loads(marker.read_text(encoding="utf-8")) != settings:
            raise ConfigError(f"{out} was started with other data, seed or share of blended or drawn faces; name a "
                              "new folder")  # fmt: skip
        return
    with writing(out):
        (out / "clips").mkdir(parents=True, exist_ok=True)
    write_text(marker, json.dumps(settings))


def by_person(data: Path) -> dict[str, list[Stretch]]:
    """The training stretches of a prepared folder, by person.

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
    """Target, donor and random generator of each clip to make."""
    order: list[str] = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        order = order or [str(name) for name in rng.permutation(sorted(people))]
        who = order.pop()
        other = str(rng.choice(sorted(set(people) - {who})))
        target, donor = (people[name][int(rng.integers(len(people[name])))] for name in (who, other))
        yield target, donor, rng


def _others(people: dict[str, list[Stretch]], target: Stretch, rng: np.random.Generator) -> tuple[Stretch, ...]:
    names = rng.permutation(sorted(set(people) - {target.person}))[:POSE_TRIES]
    return tuple(people[name][int(rng.integers(len(people[name])))] for name in names)


@dataclass(frozen=True)
class Made:
    """A new clip before it is written: pictures (S, S, 3) in order, arrays to be packed, facts for its record."""

    pictures: Iterator[Byte]
    arrays: dict[str, Float]
    facts: dict[str, Any]


def _make(job: Job) -> dict[str, Any]:
    """Make and write one clip, or read its record if it is done; returns the record."""
    cv2.setNumThreads(1)
    donor, out, rng = job.donor, job.out, job.rng
    name = _name(job)
    base = out / "clips" / name.replace("/", "__")
    marker = base.with_name(base.name + ".json")
    if marker.is_file():
        return dict(json.loads(marker.read_text(encoding="utf-8")))
    material = load(donor)
    tries = [_window(len(donor), rng) for _ in range(WINDOW_TRIES)]
    spoken = max(tries, key=lambda rows: float(material.motion.opening[rows].std()))
    made = _drawn(job, material, spoken) if job.target is None else _transferred(job, job.target, material, spoken)
    media.write_clip(base.with_name(base.name + ".mp4"), made.pictures, Fraction(FPS), crf=10, chroma444=True)
    start = spoken[0] * audio.STEPS_PER_SECOND // FPS
    mel = material.arrays["mel"][:, start : start + audio.STEPS_PER_SECOND * len(spoken) // FPS + 16]
    masks = geometry.mask_boxes(made.arrays["landmarks"])
    write_arrays(base.with_name(base.name + ".npz"), {"mel": mel, "masks": masks, **made.arrays})
    source = {"donor": donor.name, "donor_frames": [int(donor.first + spoken[0]), int(donor.first + spoken[-1] + 1)]}
    record = _copied_facts(donor, "loudness") | made.facts | {
        "name": name, "file": base.name, "kept": True, "frames": len(spoken), "start": 0.0,
        "splits": {"train": [0, len(spoken)]}, "transfer": source | made.facts["transfer"],
    }  # fmt: skip
    write_text(marker, json.dumps(record, sort_keys=True))  # last, because it marks the clip as complete
    return record


def _name(job: Job) -> str:
    """Name of a new clip. Its folder, which training weights, is the filmed target, or the synthetic face's donor."""
    donor = job.donor.name.replace("/", "_")
    if job.target is None:
        return f"drawn/{job.donor.person.replace('/', '_')}/{donor}_{job.number:04}"
    return f"transfer/{job.target.name.replace('/', '_')}/{donor}_{job.number:04}"


def _copied_facts(origin: Stretch, *keys: str) -> dict[str, Any]:
    """Those of the facts that the origin's record has."""
    return {key: origin.record[key] for key in keys if key in origin.record}


def _transferred(job: Job, target: Stretch, donor: Material, spoken: np.ndarray) -> Made:
    """A filmed target with the mouth motion of the frames ``spoken`` of the donor."""
    rng, face = job.rng, load(target)
    shown = _back_and_forth(len(target), len(spoken), rng)
    source: dict[str, Any] = {
        "target": target.name, "target_frames": [int(target.first + i) for i in (shown.min(), shown.max() + 1)]
    }  # fmt: skip
    if job.others:
        face, shown, mixed = _blended(face, shown, job.others, rng)
        source |= mixed
    amplitude = float(rng.uniform(*AMPLITUDES))
    aims = destination(face.motion[shown], donor.motion.speech()[spoken], amplitude)
    size = face.images.shape[1]
    unit = ((aims + 0.5) / size).astype(np.float32)
    arrays = {"landmarks": unit, "matrices": face.arrays["matrices"][shown], "pose": face.arrays["pose"][shown]}
    facts = _copied_facts(target, "side", "sharpness", "source_rate") | {"identity": target.person, "size": size}
    facts["transfer"] = source | {"amplitude": round(amplitude, 3)}
    return Made(_pictures(face, donor, shown, spoken, aims), arrays, facts)


def _drawn(job: Job, donor: Material, spoken: np.ndarray) -> Made:
    """A synthetic person with the mouth motion of the frames ``spoken`` of the donor."""
    size = donor.images.shape[1]
    made = drawn(donor.motion[spoken], size, job.rng)
    track, side = made.track, float(np.median(made.track.matrices[:, 0, 0]))
    unit = geometry.to_unit(track.matrices, track.landmarks)
    arrays = {"landmarks": unit, "matrices": track.matrices, "pose": track.pose}
    facts = {"side": round(side, 1), "source_rate": float(FPS), "identity": f"drawn/{made.seed}", "size": size}
    return Made(iter(made.images), arrays, facts | {"transfer": {"drawn": made.seed}})


def _blended(
    face: Material, shown: np.ndarray, others: tuple[Stretch, ...], rng: np.random.Generator
) -> tuple[Material, np.ndarray, dict[str, Any]]:
    """Blend the ``shown`` frames of a face with one frame of another person whose lips are closed.

    Shape and colours are blended with the same share; the motion stays the first person's. If nobody has a frame with a
    similar head pose, the face is returned unchanged.

    Returns:
        The blended frames; for each shown frame, its index in them; facts for the record.
    """
    rows, places = np.unique(shown, return_inverse=True)
    motion, share = face.motion[rows], float(rng.uniform(*BLEND_SHARES))
    pose = np.median(face.arrays["pose"][rows], 0)
    (off, at), chosen = min(((_nearest_pose(load(one), pose), one) for one in others), key=lambda found: found[0])
    if off > MAX_POSE_DIFFERENCE:
        return face, shown, {}
    other, theirs = load(chosen).view(at), load(chosen).motion.local[at]
    quiet = motion.local[motion.opening <= np.quantile(motion.opening, CLOSED)]
    local = motion.local + share * (theirs - np.median(quiet.real, 0) - 1j * np.median(quiet.imag, 0))
    aims = local * motion.scale[:, None] + motion.origin[:, None]
    pixels = np.stack([aims.real, aims.imag], -1).astype(np.float32)
    some = rows[np.linspace(0, len(rows) - 1, COLOUR_SAMPLES).astype(int)]
    gain = brightness(face.images[some], face.pixels[some]) / brightness(other.image[None], other.points[None])
    images = [blended(face.view(i), other, aim, share, gain) for i, aim in zip(rows, pixels, strict=True)]
    arrays = {key: face.arrays[key][rows] for key in ("matrices", "pose")}
    facts = {"blended": chosen.name, "share": round(share, 3)}
    return Material(np.stack(images), arrays, pixels, Motion.of(pixels)), places, facts


def _nearest_pose(material: Material, pose: Float) -> tuple[float, int]:
    """Of the frames with closed lips, the one with the head pose nearest to ``pose``: difference in degrees, index."""
    off = np.abs(material.arrays["pose"] - pose)[:, :2].max(1)  # roll is removed by face coordinates
    opening = material.motion.opening
    off = np.where(opening <= np.quantile(opening, CLOSED), off, np.inf)
    return float(off.min()), int(off.argmin())


def _pictures(face: Material, donor: Material, shown: np.ndarray, spoken: np.ndarray, aims: Float) -> Iterator[Byte]:
    """The target's ``shown`` frames warped to landmarks ``aims``, with inner mouths of the donor's ``spoken`` ones."""
    own, other = (rows[np.linspace(0, len(rows) - 1, COLOUR_SAMPLES).astype(int)] for rows in (shown, spoken))
    gain = colour_match(
        brightness(face.images[own], face.pixels[own]), brightness(donor.images[other], donor.pixels[other])
    )
    lips = face.view(_closed_frame(face.motion, shown))
    for i, j, aim in zip(shown, spoken, aims, strict=True):
        yield redraw(face.view(i), lips, aim, donor.view(j), gain)


def _closed_frame(motion: Motion, shown: np.ndarray) -> int:
    """Of the shown frames with closed lips, the one whose head pose is nearest to the median of all shown frames."""
    rows = np.unique(shown)
    opening, nose = motion.opening[rows], motion.local[rows, NOSE_TIP]
    off = np.abs(nose - np.median(nose.real) - 1j * np.median(nose.imag))
    return int(rows[np.where(opening <= np.quantile(opening, CLOSED), off, np.inf).argmin()])


@lru_cache(maxsize=16)
def load(stretch: Stretch) -> Material:
    """Read a stretch; no data from outside it are returned."""
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
    """Indices of random consecutive frames of the donor, the first at the start of a mel column."""
    count = min(FRAMES, length)
    return np.arange(count) + MEL_ALIGNED * int(rng.integers((length - count) // MEL_ALIGNED + 1))


def _back_and_forth(length: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of the target's frames from a random one on, running back and forth between the ends of its stretch."""
    steps = int(rng.integers(2 * length)) + np.arange(count)
    return np.asarray(length - 1 - np.abs(length - 1 - steps % (2 * length - 2)))
