"""Shards: a prepared folder packed into a few large tar files, which `sidgan.data.shardset` trains from.

A folder of shards holds, for each split, tar files of about the same size, and an index::

    OUT/train-000000.tar    NAME.json, NAME.mp4, NAME.npz of one clip, then of the next, in shuffled order
    OUT/shards.json         index: each shard's samples, frames, bytes, SHA-256, and the byte ranges of its pieces

A sample is the part of one clip that belongs to one split. Its ``.mp4`` and ``.npz`` are the prepared clip's own, byte
for byte; its ``.json`` is the manifest's record with ``split``, the frames ``first`` and ``last`` (one past the end)
that belong to it, and the digest of all three. The library ``webdataset`` reads these files too.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from zipfile import BadZipFile

import numpy as np

from sidgan.config import SYNC_FRAMES
from sidgan.data.dataset import PackedClip, packed_clip, read_crops, read_manifest
from sidgan.data.listing import rank
from sidgan.data.splits import ASIDE
from sidgan.errors import DataError, OutputError, counted
from sidgan.files import digest, finished, write_text, writing
from sidgan.types import Byte, Float

INDEX, VERSION = "shards.json", 1
PIECE = 250  #: frames read at once at most: bounds the memory of a pool of clips
SUFFIXES = (".json", ".mp4", ".npz")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        path: of the tar file.
        split: of all its samples.
        samples, frames, bytes, sha256: counts, file size and digest.
        pieces: (P, 5) int64, one row for each piece: byte offset and length of its sample, first frame, one past the
            last frame, and the total frames of the split in the clip's folder (for sampling weights).
    """

    path: Path
    split: str
    samples: int
    frames: int
    bytes: int
    sha256: str
    pieces: Any


@dataclass(frozen=True)
class Sample:
    """A sample to be packed: manifest record, split, range of frames, path of the clip's files without suffix."""

    record: dict[str, Any]
    split: str
    first: int
    last: int
    base: Path

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def folder(self) -> str:
        """The folder part of the clip's name, by which training weights clips."""
        return str(self.record["name"]).rpartition("/")[0]

    @property
    def size(self) -> int:
        """Bytes of its video and arrays."""
        return sum(_size(self.base, suffix) for suffix in SUFFIXES[1:])


# ------------------------------------------------------------------------------------------------------------ packing


def write_shards(root: Path, out: Path, megabytes: float = 256, progress: Progress = lambda done, total: None) -> None:
    """Pack a prepared folder. The same folder gives the same bytes. Shards that are in ``out`` already are replaced.

    Args:
        root: prepared folder.
        out: created if missing; needs as much space as ``root``.
        megabytes: approximate size of a shard; the shards of a split are about equally large.
        progress: called with the number of samples written and the total.

    Raises:
        DataError: ``root`` is not prepared, or a clip of it is missing.
        OutputError: the shards cannot be written, or ``out`` is a prepared folder.
    """
    if (out / "manifest.jsonl").exists():
        raise OutputError(f"{out} is a prepared folder, which cannot share a folder with shards; give another "
                          "folder")  # fmt: skip
    samples = _samples(root)
    sizes = {sample.record.get("size") for sample in samples}
    if len(sizes) != 1:
        raise DataError(f"the clips in {root} have several sizes ({sorted(map(str, sizes))}); prepare them with one")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        _clear(out)
    folders = Counter[tuple[str, str]]()
    for sample in samples:
        folders[sample.split, sample.folder] += len(sample)
    lines, done = [], 0
    for split, members in itertools.groupby(samples, lambda sample: sample.split):
        for number, group in enumerate(_groups(list(members), 1e6 * megabytes)):
            entry = _write_shard(out / f"{split}-{number:06d}.tar", group, folders)
            lines.append(json.dumps({"split": split} | entry))
            done += len(group)
            progress(done, len(samples))
    head = json.dumps({"version": VERSION, "size": sizes.pop()})[:-1]
    write_text(out / INDEX, head + ', "shards": [\n' + ",\n".join(lines) + "\n]}\n")


def _samples(root: Path) -> list[Sample]:
    """All samples by split, each split shuffled by `rank`, so that every shard is a random sample of it."""
    found = [
        Sample(record, split, first, last, root / "clips" / record["file"])
        for record in read_manifest(root)
        for split, (first, last) in record.get("splits", {}).items()
        if split != ASIDE and last - first >= 2 * SYNC_FRAMES
    ]
    if not found:
        raise DataError(f"no clip in {root} is long enough; see why with: sidgan inspect {root}")
    return sorted(found, key=lambda sample: (sample.split, rank(sample.record["name"])))


def _groups(samples: list[Sample], limit: float) -> Iterator[list[Sample]]:
    """Groups of consecutive samples of about equal size, none much larger than ``limit`` bytes."""
    ends = np.cumsum([sample.size for sample in samples])
    count = math.ceil(ends[-1] / limit)
    group_of = [int(count * (end - 1) // ends[-1]) for end in ends]
    for _, group in itertools.groupby(zip(group_of, samples, strict=True), lambda pair: pair[0]):
        yield [sample for _, sample in group]


class _HashingFile:
    """A writable file that counts and hashes the bytes written."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.sha256, self.length = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.length += len(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.length


def _write_shard(path: Path, samples: Sequence[Sample], folders: Counter[tuple[str, str]]) -> dict[str, Any]:
    """Write one tar file; returns its entry in the index."""
    pieces = []
    with finished(path) as part, writing(path), part.open("wb") as plain:
        file = _HashingFile(plain)
        with tarfile.open(fileobj=file, mode="w:", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]
            for sample in samples:
                begin = file.length
                for name, data in _members(sample):
                    info = tarfile.TarInfo(name)  # no time and no owner: the same data gives the same file
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
                count, total = math.ceil(len(sample) / PIECE), folders[sample.split, sample.folder]
                edges = [sample.first + len(sample) * i // count for i in range(count + 1)]
                pieces += [(begin, file.length - begin, a, b, total) for a, b in itertools.pairwise(edges)]
    return {"file": path.name, "samples": len(samples), "frames": sum(map(len, samples)), "bytes": file.length,
            "sha256": file.sha256.hexdigest(), "pieces": pieces}  # fmt: skip


def _members(sample: Sample) -> Iterator[tuple[str, bytes]]:
    # webdataset ends a sample's key at the first dot.
    key = quote(sample.record["file"], safe="").replace(".", "%2E")
    try:
        data = [sample.base.with_name(sample.base.name + suffix).read_bytes() for suffix in SUFFIXES[1:]]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read ({error.strerror}); prepare the data again") from None
    record = sample.record | {"split": sample.split, "first": sample.first, "last": sample.last}
    yield key + ".json", json.dumps(record | {"digest": _digest(record, data)}, sort_keys=True).encode()
    yield from zip((key + suffix for suffix in SUFFIXES[1:]), data, strict=True)


def _digest(record: dict[str, Any], data: Sequence[bytes]) -> str:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode())
    for part_data in data:
        digest.update(part_data)
    return digest.hexdigest()


def _size(base: Path, suffix: str) -> int:
    path = base.with_name(base.name + suffix)
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); prepare the data again") from None


def _clear(out: Path) -> None:
    """Remove an earlier run's shards, its index first: without an index, a folder holds no shards."""
    (out / INDEX).unlink(missing_ok=True)
    for path in out.glob("*-[0-9][0-9][0-9][0-9][0-9][0-9].tar"):
        path.unlink()


# ------------------------------------------------------------------------------------------------------------ reading


def is_shards(root: Path) -> bool:
    """Whether a folder holds shards."""
    return (root / INDEX).is_file()


def read_index(root: Path) -> tuple[int, list[Shard]]:
    """Crop side in px and the shards of a folder.

    Raises:
        DataError: the index is missing or cannot be parsed.
    """
    path = root / INDEX
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        if index["version"] != VERSION:
            raise ValueError(f"version {index['version']}")
        shards = [_entry(root, dict(entry)) for entry in index["shards"]]
        return int(index["size"]), shards
    except OSError:
        raise DataError(f"{root} holds no {INDEX}; run: sidgan shards DATA {root}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read ({error}); pack again: sidgan shards DATA {root}") from None


def _entry(root: Path, entry: dict[str, Any]) -> Shard:
    pieces = np.array(entry.pop("pieces"), np.int64).reshape(-1, 5)
    return Shard(path=root / entry.pop("file"), pieces=pieces, **entry)


@dataclass(frozen=True)
class Fetched:
    """A piece from frame ``first`` on: decoded ``images`` (N, S, S, 3), and its clip's ``.npz`` still as bytes."""

    where: str
    record: dict[str, Any]
    images: Byte
    packed: bytes
    first: int

    def unpack(self) -> PackedClip:
        """The finished clip, on the CPU. Not thread-safe: only one thread of a process may call this at a time.

        NumPy parses headers with Python's own parser, and in Python 3.11 two threads that parse at once occasionally
        raise a SystemError.

        Raises:
            DataError: the arrays are damaged.
        """
        try:
            with np.load(io.BytesIO(self.packed)) as arrays:
                return packed_clip(self.record["name"], self.images, arrays, self.first)
        except (ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{self.where} was damaged before it was packed ({error})") from None


def fetch_piece(shard: Shard, number: int) -> Fetched:
    """Read and decode row ``number`` of `Shard.pieces`. This is the slow part of loading, and it is thread-safe.

    Raises:
        DataError: the sample is damaged, or its file is missing.
    """
    offset, length, first, last, _ = map(int, shard.pieces[number])
    record, video, packed = _sample(shard, offset, length)
    where = f"{shard.path}: {record.get('name')}"
    try:
        images = read_crops(video, first, last)
    except DataError as error:  # the digest was right, so the file was damaged before it was packed
        raise DataError(f"{where} was damaged before it was packed ({error})") from None
    if len(images) != last - first:
        raise DataError(f"{where} was damaged before it was packed ({len(images)} frames from {first} on, not "
                        f"{last - first})")  # fmt: skip
    return Fetched(where, record, images, packed, first)


def _sample(shard: Shard, offset: int, length: int) -> tuple[dict[str, Any], bytes, bytes]:
    """Record, video and arrays of a sample, with their digest checked."""
    where = f"the sample at byte {offset}"
    try:
        with shard.path.open("rb") as file:
            file.seek(offset)
            block = file.read(length)
        if len(block) < length:
            raise ValueError("the file ends too early")
        with tarfile.open(fileobj=io.BytesIO(block), mode="r:") as tar:
            members = {Path(m.name).suffix: (m.name, tar.extractfile(m)) for m in tar if m.isreg()}
        where = members[".json"][0].removesuffix(".json")
        json_data, *data = (file.read() for _, file in (members[s] for s in SUFFIXES) if file is not None)
        record = json.loads(json_data)
        digest = record.pop("digest")
        if digest != _digest(record, data):
            raise ValueError("its digest does not match")
        return record, data[0], data[1]
    except OSError as error:
        raise DataError(f"{shard.path} cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{shard.path}: {where} is damaged ({error})") from None


def glance(shard: Shard) -> str | None:
    """Check a shard's length only: a line about what is wrong, or ``None``."""
    try:
        length = shard.path.stat().st_size
    except OSError as error:
        return f"{shard.path} cannot be read: {error.strerror}"
    return None if length == shard.bytes else f"{shard.path} has {length} bytes, not {shard.bytes}; copy it again"


def damaged(shard: Shard) -> list[str]:
    """Check a shard by reading all of it: one line for each damaged sample, or for the file."""
    try:
        if digest(shard.path) == shard.sha256:
            return []
    except OSError as error:
        return [f"{shard.path} cannot be read: {error.strerror or error}"]
    lines = []
    for offset, length in dict.fromkeys((int(row[0]), int(row[1])) for row in shard.pieces):
        try:
            _sample(shard, offset, length)
        except DataError as error:
            lines.append(str(error))
    return lines or [f"{shard.path} was changed after it was written, but all its samples are intact"]


def check(root: Path, progress: Progress = lambda done, total: None) -> None:
    """Check all shards of a folder by reading them.

    Raises:
        DataError: some are damaged; the message names each shard and sample.
    """
    _, shards = read_index(root)
    lines: list[str] = []
    for done, shard in enumerate(shards, 1):
        lines += damaged(shard)
        progress(done, len(shards))
    if lines:
        raise DataError("; ".join([*lines, "copy these shards again, or pack them again with sidgan shards"]))


def held(root: Path) -> dict[str, dict[str, int]]:
    """Numbers of clips, frames, bytes and shards of each split in a folder of shards."""
    found = {}
    for split, group in itertools.groupby(read_index(root)[1], lambda shard: shard.split):
        shards = list(group)
        facts = {name: sum(getattr(s, key) for s in shards)
                 for name, key in (("clips", "samples"), ("frames", "frames"), ("bytes", "bytes"))}  # fmt: skip
        found[split] = facts | {"shards": len(shards)}
    return found


def described(root: Path) -> list[str]:
    """`held` as text, one line for each split."""
    return [f"{split}: {counted(n['clips'], 'clip')}, {counted(n['frames'], 'frame')}, {n['bytes'] / 1e6:.1f} MB in "
            f"{counted(n['shards'], 'shard')}" for split, n in held(root).items()]  # fmt: skip


def weights(shards: Sequence[Shard]) -> Float:
    """Sampling weights of all pieces of some shards, the same as in `sidgan.data.dataset.PackedSet.draw`."""
    pieces = np.concatenate([shard.pieces for shard in shards])
    return (pieces[:, 3] - pieces[:, 2]) / np.sqrt(pieces[:, 4])
