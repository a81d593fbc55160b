"""Prepared clips in memory, and the windows that training draws from them.

Everything stays ``uint8`` (pictures) or ``float16`` (mels) until a batch is made, and may live on the GPU: the sets
this layout is meant for are minutes to hours long. The split ranges in the manifest decide which frames may be used.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from zipfile import BadZipFile

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan import audio
from sidgan.config import FPS, SYNC_FRAMES
from sidgan.errors import DataError
from sidgan.geometry import MOUTH, mouth_opening, placement
from sidgan.portable import spelt
from sidgan.types import Byte, Float

MIN_FRAMES = 2 * SYNC_FRAMES  #: shorter stretches are left out
LIP_MARGIN = 0.015  #: of the side
THIRD = 1 / 3  #: of the frames in question, those with the lips closest or widest apart that a pair is drawn from
REFERENCE_DISTANCE = 25  #: frames between a window and its reference picture, where the clip is long enough


@dataclass(frozen=True)
class PackedClip:
    """One clip's usable stretch of N frames.

    Attributes:
        name: as in the manifest.
        images: (N, 3, S, S) uint8.
        mels: (N, 1, 80, 28) float16, the window of each frame.
        masks: (N, 4) hidden box in unit coordinates.
        landmarks: (N, 68, 2) unit coordinates.
    """

    name: str
    images: Tensor
    mels: Tensor
    masks: Tensor
    landmarks: Float

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def opening(self) -> Float:
        """(N,) how far the lips are apart, found once: references are chosen by it for every window."""
        return mouth_opening(self.landmarks)


@dataclass(frozen=True)
class Windows:
    """B windows of T consecutive frames on the device, before any augmentation.

    Attributes:
        target: (B, T, 3, S, S) float in [0, 1], the truth.
        mask: (B, T, 1, S, S) 1 where the query is hidden.
        lips: (B, T, 1, S, S) 1 in a box around the lips of the truth. Losses may look at it, networks must not.
        mels: (B, T, 1, 80, 28), the window of each frame.
        sync_mel: (B, 1, 80, 28), the window of the middle frame.
        reference: (B, K, 3, S, S), the same face at K other times.
        placed: (B, T, K, 2, 3), where the frames' places lie in the references (`sidgan.geometry.placement`).
    """

    target: Tensor
    mask: Tensor
    lips: Tensor
    mels: Tensor
    sync_mel: Tensor
    reference: Tensor
    placed: Tensor


class PackedSet:
    """The clips of one or more splits of a prepared folder, and random access to their windows.

    Args:
        root: prepared folder; several may be joined.
        splits: names such as ``train`` or ``heldout``; a clip may give a part of itself to each.
        device: where pictures and mels live.

    Raises:
        DataError: nothing there for these splits.
    """

    _shown: int | None = None

    def __init__(
        self, root: Path | Sequence[Path], splits: Iterable[str], *,
        device: str | torch.device = "cpu",
    ) -> None:  # fmt: skip
        roots = [root] if isinstance(root, Path) else list(root)
        self.device = torch.device(device)
        self._clips: list[PackedClip] = []
        wanted = set(splits)
        for folder in roots:
            for record in read_manifest(folder):
                for split, (first, last) in record.get("splits", {}).items():
                    if split in wanted and last - first >= MIN_FRAMES:
                        self._clips.append(_load(folder, record, first, last, self.device))
        if not self._clips:
            raise DataError(f"no clips for {', '.join(sorted(wanted))} in {', '.join(map(str, roots))}")
        self._chances = _chances(self._clips)

    @classmethod
    def of(cls, clips: Sequence[PackedClip]) -> PackedSet:
        """A set of clips that are in memory already."""
        data = cls.__new__(cls)
        data.device, data._clips, data._chances = clips[0].images.device, list(clips), _chances(clips)
        return data

    def at(self, step: int) -> list[str]:
        """Hold the clips that a training step draws from: here always the same, see `sidgan.data.shardset`.

        Returns:
            Lines to log about what could not be read.
        """
        return []

    @property
    def clips(self) -> list[PackedClip]:
        """The clips that are held."""
        return self._clips

    @property
    def size(self) -> int:
        """Crop side S in px."""
        return int(self.clips[0].images.shape[-1])

    @property
    def shown(self) -> int:
        """Side in px of the pictures that windows are handed out with."""
        return self._shown or self.size

    def shown_at(self, size: int) -> Self:
        """The same clips, whose windows are averaged down to ``size`` px."""
        smaller = copy(self)
        smaller._shown = size
        return smaller

    def __len__(self) -> int:
        return sum(len(clip) for clip in self.clips)

    def locate(self, index: int) -> tuple[PackedClip, int]:
        """Clip and frame of the ``index``-th of all frames."""
        for clip in self.clips:
            if index < len(clip):
                return clip, index
            index -= len(clip)
        raise IndexError(index)

    def draw(self, rng: np.random.Generator) -> PackedClip:
        """A random clip. Folders are drawn by the square root of their size: no one person fills the batches."""
        return self.clips[int(rng.choice(len(self.clips), p=self._chances))]

    def windows(self, rng: np.random.Generator, count: int, frames: int, references: int = 1) -> Windows:
        """``count`` random windows of ``frames`` frames from as many clips, each with so many reference pictures."""
        picks = []
        for _ in range(count):
            clip = self.draw(rng)
            start = int(rng.integers(len(clip) - frames + 1))
            picks.append((clip, start, reference_frames(rng, clip, start, frames, references)))
        return stack_windows(picks, frames, self.shown, self.device)


def reference_frames(rng: np.random.Generator, clip: PackedClip, start: int, frames: int, count: int) -> list[int]:
    """Frames of a clip at least a second from a window's middle, or else the farthest; never inside it.

    Of several, one shows the lips rather closed and one rather open, in turns, as in dubbing (`TrackedFace.candidates`).
    """
    middle, length = start + frames // 2, len(clip)
    before, after = middle - REFERENCE_DISTANCE + 1, middle + REFERENCE_DISTANCE
    far = np.r_[0 : max(0, before), min(length, after) : length]
    if not far.size:
        return [0 if middle > length - 1 - middle else length - 1] * count
    if count == 1:
        return [int(rng.choice(far))]
    order = far[np.argsort(clip.opening[far], kind="stable")]
    some = max(1, round(THIRD * len(order)))
    return [int(rng.choice(order[-some:] if k % 2 else order[:some])) for k in range(count)]


def stack_windows(
    picks: Sequence[tuple[PackedClip, int, Sequence[int]]], frames: int, size: int, device: torch.device | None = None
) -> Windows:
    """Batch windows given as (clip, first frame, K reference frames), on ``device`` or where the clips are.

    Pictures larger than ``size`` are averaged down.
    """

    def pictures(found: Sequence[Tensor]) -> Tensor:
        """(B, ..., 3, S, S) of that many pictures or stretches of them. They are views; one call copies all."""
        images = torch.stack(list(found)).to(device).float() / 255
        if images.shape[-1] == size:
            return images
        small = F.interpolate(images.view(-1, *images.shape[-3:]), (size, size), mode="area")
        return small.view(*images.shape[:-2], size, size)

    points = np.stack([c.landmarks[s : s + frames] for c, s, _ in picks])
    shown = np.stack([c.landmarks[list(r)] for c, _, r in picks])
    boxes = torch.stack([c.masks[s : s + frames] for c, s, _ in picks]).to(device)
    lips = lip_boxes(points.reshape(-1, *points.shape[2:])).view(boxes.shape).to(boxes.device)
    mels = torch.stack([c.mels[s : s + frames] for c, s, _ in picks]).to(device).float()
    placed = placement(points.reshape(-1, *points.shape[2:]), np.repeat(shown, frames, 0))
    return Windows(
        target=pictures([c.images[s : s + frames] for c, s, _ in picks]),
        mask=box_masks(boxes, size), lips=box_masks(lips, size), mels=mels, sync_mel=mels[:, frames // 2],
        reference=pictures([c.images[i] for c, _, r in picks for i in r]).unflatten(0, (len(picks), -1)),
        placed=torch.from_numpy(placed.reshape(len(picks), frames, *placed.shape[1:])).to(boxes.device),
    )  # fmt: skip


def lip_boxes(landmarks: Float) -> Tensor:
    """(N, 4) unit boxes x0, y0, x1, y1 around the lips of unit landmarks (N, 68, 2), a little larger than they are."""
    points = landmarks[:, MOUTH]
    return torch.from_numpy(np.concatenate([points.min(1) - LIP_MARGIN, points.max(1) + LIP_MARGIN], 1)).float()


def box_masks(boxes: Tensor, size: int) -> Tensor:
    """(..., 4) unit boxes -> (..., 1, S, S), as `sidgan.geometry.mask_image` draws them."""
    centres = (torch.arange(size, device=boxes.device) + 0.5) / size
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    inside_x = (centres >= x0) & (centres <= x1)
    inside_y = (centres >= y0) & (centres <= y1)
    return (inside_y[..., :, None] & inside_x[..., None, :]).unsqueeze(-3).float()


def _chances(clips: Sequence[PackedClip]) -> Float:
    folders = Counter[str]()
    for clip in clips:
        folders[clip.name.rpartition("/")[0]] += len(clip)
    weights = np.array([len(clip) / np.sqrt(folders[clip.name.rpartition("/")[0]]) for clip in clips])
    return weights / weights.sum()


def _load(root: Path, record: dict[str, Any], first: int, last: int, device: torch.device) -> PackedClip:
    base = root / "clips" / record["file"]
    images = read_crops(base.with_name(base.name + ".mp4"))
    if len(images) != record["frames"]:
        raise DataError(f"{base.name}.mp4 has {len(images)} frames, not {record['frames']}; prepare it again")
    with packed_arrays(base.with_name(base.name + ".npz")) as arrays:
        return packed_clip(record["name"], images[first:last], arrays, first, device)


@contextmanager
def packed_arrays(path: Path) -> Iterator[Any]:
    """The arrays of a prepared clip, by name, while the block lasts.

    Raises:
        DataError: they are damaged, or not there.
    """
    try:
        with np.load(path) as arrays:
            yield arrays
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be read ({reason}); remove it and prepare again") from None


def packed_clip(
    name: str, images: Byte, arrays: Mapping[str, Any], first: int, device: torch.device | None = None
) -> PackedClip:
    """A stretch of a prepared clip.

    Args:
        name: of the clip.
        images: (N, S, S, 3) its crops.
        arrays: of the whole clip, as its ``.npz`` holds them.
        first: where the stretch begins, in frames of the clip.
        device: where pictures and mels shall be.
    """
    last = first + len(images)
    windows = audio.mel_windows(arrays["mel"].astype(np.float32), [Fraction(i, FPS) for i in range(first, last)])
    return PackedClip(
        name=name,
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device),
        mels=torch.from_numpy(windows.astype(np.float16)).to(device),
        masks=torch.from_numpy(arrays["masks"][first:last]).to(device),
        landmarks=arrays["landmarks"][first:last],
    )


def read_crops(video: Path | bytes, first: int = 0, last: int | None = None) -> Byte:
    """Crops (N, S, S, 3) RGB of a packed clip, a file or its bytes, from frame ``first`` to before ``last``.

    OpenCV decodes them, so that training needs no media library.

    Raises:
        DataError: not one of these frames can be read.
    """
    capture = cv2.VideoCapture(str(video)) if isinstance(video, Path) else _from_bytes(video)
    if first:
        capture.set(cv2.CAP_PROP_POS_FRAMES, first)
    frames: list[Byte] = []
    while last is None or len(frames) < last - first:
        ok, image = capture.read()
        if not ok:
            break
        frames.append(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    if not frames:
        raise DataError(f"cannot read {video if isinstance(video, Path) else 'its pictures'}; prepare the data again")
    return np.stack(frames)


def _from_bytes(video: bytes) -> cv2.VideoCapture:
    stream: Any = io.BytesIO(video)  # the stubs know no stream
    # Several videos are decoded at once where they come as bytes; one with threads of its own takes longer.
    return cv2.VideoCapture(stream, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def person_of(record: Mapping[str, Any]) -> str | None:
    """Who is in a packed clip, as far as its record tells: the identity, else of a piece the file it was cut from.

    Pieces of one video (``sidgan prepare --cut``) show one person, whoever that is.
    """
    known = record.get("identity") or (record.get("source") if record.get("span") else None)
    return None if known is None else str(known)


def read_manifest(root: Path) -> list[dict[str, Any]]:
    """The records of a prepared folder.

    Raises:
        DataError: the folder was not prepared, or not to the end.
    """
    path = root / "manifest.jsonl"
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise DataError(f"{root} has a name that is not valid text, which OpenCV cannot open; rename it") from None
    if (root / "shards.json").is_file():
        raise DataError(f"{root} holds shards, which are for training; give the prepared folder they were packed from")
    if not path.is_file():
        raise DataError(f"{root} holds no manifest.jsonl; run: sidgan prepare FOLDER {root}")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            record = json.loads(line)
            records.append(record | {"name": spelt(record["name"])})
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}:{number} is damaged; make it again: sidgan prepare FOLDER {root}") from None
    return records
