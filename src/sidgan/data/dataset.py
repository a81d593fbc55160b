"""Prepared clips in memory, and the windows of consecutive frames that training samples from them.

Pictures stay ``uint8`` and mels ``float16`` until a batch is made, and both may live on the GPU: this layout is meant
for sets of minutes to hours. The split ranges in the manifest decide which frames may be used.
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

MIN_FRAMES = 2 * SYNC_FRAMES  #: shorter ranges of frames are left out
LIP_MARGIN = 0.015  #: fraction of the crop's side added around the lips
LIPS_SHARE = 1 / 3  #: fraction of candidate frames, at either end of the range of openings, to choose from
REFERENCE_DISTANCE = 25  #: minimum distance in frames between a window's middle and its references, if the clip allows


@dataclass(frozen=True)
class PackedClip:
    """The N frames of one clip that belong to one split.

    Attributes:
        name: the clip's name in the manifest.
        images: (N, 3, S, S) uint8.
        mels: (N, 1, 80, 28) float16, the mel window of each frame.
        masks: (N, 4) box hidden from the generator, in unit coordinates.
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
        """(N,) distance between the lips; cached, because it is needed to choose references for every window."""
        return mouth_opening(self.landmarks)


@dataclass(frozen=True)
class Windows:
    """A batch of B windows of T consecutive frames, before any augmentation.

    Attributes:
        target: (B, T, 3, S, S) float in [0, 1], the ground truth.
        mask: (B, T, 1, S, S) 1 where the query is hidden.
        lips: (B, T, 1, S, S) 1 in a box around the lips of the ground truth. For losses only, never a network's input.
        mels: (B, T, 1, 80, 28), the mel window of each frame.
        sync_mel: (B, 1, 80, 28), the mel window of the middle frame.
        reference: (B, K, 3, S, S) float in [0, 1], K other frames of the same face.
        placed: (B, T, K, 2, 3), affine from each frame to each reference (`sidgan.geometry.placement`).
    """

    target: Tensor
    mask: Tensor
    lips: Tensor
    mels: Tensor
    sync_mel: Tensor
    reference: Tensor
    placed: Tensor


class PackedSet:
    """The clips of one or more splits of a prepared folder, and random windows from them.

    Args:
        root: prepared folder, or several, whose clips are joined.
        splits: names such as ``train`` or ``heldout``; one clip may have frames in several.
        device: where pictures and mels are held.

    Raises:
        DataError: a folder is not prepared, or no clip has enough frames in these splits.
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
        self._probabilities = _probabilities(self._clips)

    @classmethod
    def of(cls, clips: Sequence[PackedClip]) -> PackedSet:
        """A set made of clips that are in memory already."""
        data = cls.__new__(cls)
        data.device, data._clips, data._probabilities = clips[0].images.device, list(clips), _probabilities(clips)
        return data

    def at(self, step: int) -> list[str]:
        """Load the clips for a training step. Here a no-op; `sidgan.data.shardset.ShardSet` overrides it.

        Returns:
            Lines to log about clips that could not be read.
        """
        return []

    @property
    def clips(self) -> list[PackedClip]:
        """The clips in memory."""
        return self._clips

    @property
    def size(self) -> int:
        """Crop side S in px."""
        return int(self.clips[0].images.shape[-1])

    @property
    def shown(self) -> int:
        """Side in px of the pictures in windows, see `shown_at`."""
        return self._shown or self.size

    def shown_at(self, size: int) -> Self:
        """A view of the same clips, whose windows are downsampled to ``size`` px."""
        smaller = copy(self)
        smaller._shown = size
        return smaller

    def __len__(self) -> int:
        return sum(len(clip) for clip in self.clips)

    def locate(self, index: int) -> tuple[PackedClip, int]:
        """Clip and frame number within it of the ``index``-th frame of the set."""
        for clip in self.clips:
            if index < len(clip):
                return clip, index
            index -= len(clip)
        raise IndexError(index)

    def draw(self, rng: np.random.Generator) -> PackedClip:
        """A random clip. Folders are weighted by the square root of their size, so no one person fills the batches."""
        return self.clips[int(rng.choice(len(self.clips), p=self._probabilities))]

    def windows(self, rng: np.random.Generator, count: int, frames: int, references: int = 1) -> Windows:
        """``count`` windows of ``frames`` frames, each from a random clip and with ``references`` reference frames."""
        picks = []
        for _ in range(count):
            clip = self.draw(rng)
            start = int(rng.integers(len(clip) - frames + 1))
            picks.append((clip, start, reference_frames(rng, clip, start, frames, references)))
        return stack_windows(picks, frames, self.shown, self.device)


def reference_frames(rng: np.random.Generator, clip: PackedClip, start: int, frames: int, count: int) -> list[int]:
    """Choose reference frames at least a second from a window's middle, or else the farthest frame of the clip.

    Of several, the first has the lips nearly closed, the next wide open, and so on, as in dubbing
    (`TrackedFace.candidates`).
    """
    middle, length = start + frames // 2, len(clip)
    before, after = middle - REFERENCE_DISTANCE + 1, middle + REFERENCE_DISTANCE
    far = np.r_[0 : max(0, before), min(length, after) : length]
    if not far.size:
        return [0 if middle > length - 1 - middle else length - 1] * count
    if count == 1:
        return [int(rng.choice(far))]
    order = far[np.argsort(clip.opening[far], kind="stable")]
    pool = max(1, round(LIPS_SHARE * len(order)))
    return [int(rng.choice(order[-pool:] if k % 2 else order[:pool])) for k in range(count)]


def stack_windows(
    picks: Sequence[tuple[PackedClip, int, Sequence[int]]], frames: int, size: int, device: torch.device | None = None
) -> Windows:
    """Batch windows given as (clip, first frame, K reference frames), on ``device`` or where the clips are.

    Pictures of another size are resized to ``size`` px by area averaging.
    """

    def pictures(found: Sequence[Tensor]) -> Tensor:
        """Stack B pictures or windows into (B, ..., 3, S, S) in [0, 1]. They are views: this copies them only once."""
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
    """(N, 4) boxes x0, y0, x1, y1 around the lips, with a margin; like landmarks (N, 68, 2), in unit coordinates."""
    points = landmarks[:, MOUTH]
    return torch.from_numpy(np.concatenate([points.min(1) - LIP_MARGIN, points.max(1) + LIP_MARGIN], 1)).float()


def box_masks(boxes: Tensor, size: int) -> Tensor:
    """Masks (..., 1, S, S) of boxes (..., 4) in unit coordinates, identical to `sidgan.geometry.mask_image`."""
    centres = (torch.arange(size, device=boxes.device) + 0.5) / size
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    inside_x = (centres >= x0) & (centres <= x1)
    inside_y = (centres >= y0) & (centres <= y1)
    return (inside_y[..., :, None] & inside_x[..., None, :]).unsqueeze(-3).float()


def _probabilities(clips: Sequence[PackedClip]) -> Float:
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
    """Context manager: the arrays of a prepared clip by name.

    Raises:
        DataError: the file is damaged or missing.
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
    """Frames ``first`` to ``first + N`` of a prepared clip.

    Args:
        name: the clip's name.
        images: (N, S, S, 3) uint8 crops of these frames.
        arrays: of the whole clip, as in its ``.npz``.
        first: the first of these frames.
        device: where pictures and mels are put.
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
    """Decode crops (N, S, S, 3) uint8 RGB of a packed clip, a file or its bytes: frames ``first`` to ``last`` - 1.

    OpenCV decodes them, so that training needs no other media library.

    Raises:
        DataError: none of these frames can be read.
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
    stream: Any = io.BytesIO(video)  # OpenCV's type stubs do not list streams
    # Shards decode several videos at once; more threads for each would only slow that down.
    return cv2.VideoCapture(stream, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def person_of(record: Mapping[str, Any]) -> str | None:
    """The person in a packed clip: the record's identity, else for a piece the file it was cut from, else ``None``.

    Pieces of one video (``sidgan prepare --cut``) are assumed to show the same person.
    """
    known = record.get("identity") or (record.get("source") if record.get("span") else None)
    return None if known is None else str(known)


def read_manifest(root: Path) -> list[dict[str, Any]]:
    """The records of a prepared folder.

    Raises:
        DataError: the folder was not prepared completely, holds shards, or its manifest is damaged.
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
