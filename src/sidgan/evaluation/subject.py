"""A clip to be dubbed and evaluated: its frames, their landmarks and identities, and how a generator redraws them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan import faces
from sidgan.data.dataset import PackedClip, box_masks
from sidgan.engine import redrawn
from sidgan.errors import DataError
from sidgan.evaluation.measures import FrameBatch
from sidgan.faces.detector import SAME_FACE
from sidgan.geometry import mouth_opening, placement
from sidgan.metrics.lips import LMD_SIZE
from sidgan.nn import Generator
from sidgan.types import Byte, Float

BATCH = 32  #: frames that are drawn and evaluated together
SHOWN = 6  #: frames of each clip that are kept for its contact sheet
EMBEDDING = 128  #: dimensions of an identity embedding
LOWER = (0.0, 0.5, 1.0, 1.0)  #: the lower half of a crop as a box x0, y0, x1, y1 in shares of its side
Dubber = Callable[[Tensor], Tensor]  #: frame indices (n,) -> whole crops (n, 3, S, S) uint8
Reference = Literal["first", "last", "pair"]
Mask = Literal["query", "lower"]


class Subject:
    """A clip to be dubbed, with landmarks and identities of its true frames, computed once for all rows.

    Args:
        clip: the clip.
        reference: the reference frame of the generator: ``first`` (as in the paper), ``last``, or ``pair``: two
            frames, lips closed and lips open, similar to dubbing. They reveal of the truth only when these occur.
        id_every: identity, the slowest metric, is measured on every n-th frame; 0 leaves it out.
        mask: what is hidden in the query: ``query``, the box between the cheeks and below the nose, or ``lower``, the
            lower half.
        score_reference: whether the reference frame is judged as well. There the reference *is* the answer.
        swapped: (N, 1, 80, 28) mel windows of another clip.
        confirm: run the face detector on the frames to be judged; landmarks are NaN where it finds no face.

    Attributes:
        frames: indices of the judged frames, ascending; references within the clip leave gaps.
        references: indices of the reference frames. ``reference`` is the first of them.
        id_frames: indices of the frames in which identity is measured.
        guides: (N, 68, 2) packed landmarks in px at 256 px, which say where to look for the face.
        landmarks, identities: (N, 68, 2) px at 256 px and (N, 128) of the true frames, as far as they are judged.
    """

    def __init__(
        self, clip: PackedClip, reference: str = "first", id_every: int = 0, *, mask: str = "query",
        score_reference: bool = False, swapped: Tensor | None = None, confirm: bool = False,
    ) -> None:  # fmt: skip
        lower = torch.tensor(LOWER, dtype=clip.masks.dtype, device=clip.masks.device)
        self.clip = replace(clip, masks=lower.expand(len(clip), 4)) if mask == "lower" else clip
        count = len(clip)
        self.swapped, self.confirm = swapped, confirm
        self.references = _references(clip, reference)
        self.reference = self.references[0]
        self.frames = torch.arange(count)
        if not score_reference:
            self.frames = self.frames[~torch.isin(self.frames, torch.tensor(self.references))]
        self.id_frames = set(self.frames[::id_every].tolist()) if id_every else set[int]()
        # Packed landmarks are smoothed over time. Those of dubbed frames are not, so the true ones are detected anew.
        self.guides = clip.landmarks * LMD_SIZE - 0.5
        self.landmarks = np.zeros_like(clip.landmarks)
        self.identities = np.full((count, EMBEDDING), np.nan, np.float32)
        for part in torch.split(self.frames, BATCH):
            pictures = judged_size(clip.images[part])
            self.landmarks[part.numpy()] = self.find_landmarks(pictures, part)
            self.identities[part.numpy()] = self.embed(pictures, part)

    @property
    def size(self) -> int:
        """Side of the crops in px."""
        return int(self.clip.images.shape[-1])

    def shown(self) -> list[int]:
        """Indices of the evenly spaced frames for the contact sheet."""
        count = min(SHOWN, len(self.frames))
        return [int(self.frames[(2 * i + 1) * len(self.frames) // (2 * count)]) for i in range(count)]

    def masks(self, frames: Tensor) -> Tensor:
        """Masks of the hidden boxes of n frames, (n, 1, S, S)."""
        return box_masks(self.clip.masks[frames], self.size)

    def batch(self, images: Tensor, frames: Tensor, mels: Tensor) -> FrameBatch:
        """The input of metrics: crops (n, 3, S, S) uint8 of n frames, drawn from mel windows (N, 1, 80, 28)."""
        pictures, truth = judged_size(images), self.clip.images[frames]
        at = frames.numpy()  # NumPy treats a tensor with one index as a scalar, and drops the axis
        if torch.equal(images, truth):  # the truth itself: computed already
            points, identities = self.landmarks[at].copy(), self.identities[at]
        else:
            points, identities = self.find_landmarks(pictures, frames), self.embed(pictures, frames)
        if self.confirm:
            seen = [self._face_seen(p, i) for p, i in zip(pictures, frames.tolist(), strict=True)]
            points[~np.array(seen)] = np.nan
        return FrameBatch(
            frames=frames, images=images, truth=truth, masks=self.masks(frames), pictures=pictures,
            landmarks=points, true_landmarks=self.landmarks[at], identities=identities,
            true_identities=self.identities[at], mels=mels[frames],
        )  # fmt: skip

    def find_landmarks(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Landmarks (n, 68, 2) in n pictures of 256 px, searched for where the true face is."""
        boxes = [faces.box_of(self.guides[i]) for i in frames.tolist()]
        return np.stack([faces.landmarks(p, box) for p, box in zip(pictures, boxes, strict=True)])

    def embed(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Identity embeddings (n, 128) with the true landmarks; NaN for frames that are not in `id_frames`."""
        nothing = np.full(EMBEDDING, np.nan, np.float32)
        pairs = zip(frames.tolist(), pictures, strict=True)
        return np.stack([faces.embed(p, self.guides[i]) if i in self.id_frames else nothing for i, p in pairs])

    def _face_seen(self, picture: Byte, frame: int) -> bool:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        box = faces.box_of(self.guides[frame])  # which is not quite what the detector finds around a face
        return faces.confirm(np.asarray(luma), box, fits=SAME_FACE) is not None


def _references(clip: PackedClip, reference: str) -> list[int]:
    if reference != "pair":
        return [0 if reference == "first" else len(clip) - 1]
    return closed_and_open(clip.landmarks)


def closed_and_open(landmarks: Float) -> list[int]:
    """Indices of a frame with lips closed and one with lips open, from landmarks (N, 68, 2)."""
    order = np.argsort(mouth_opening(landmarks), kind="stable")
    few = len(order) // 40  # skip extremes, which may be landmark errors
    return [int(order[few]), int(order[-1 - few])]


def beginning(clip: PackedClip, count: int | None) -> PackedClip:
    """The first ``count`` frames of a clip; all for ``None``."""
    return PackedClip(clip.name, clip.images[:count], clip.mels[:count], clip.masks[:count], clip.landmarks[:count])


@contextmanager
def evaluating(network: nn.Module | None) -> Iterator[None]:
    """Context manager: eval mode, so that a network in training can be evaluated in between."""
    training = network is not None and network.training
    if network is not None:
        network.eval()
    try:
        yield
    finally:
        if network is not None:
            network.train(training)


def generated(generator: Generator, subject: Subject, mels: Tensor) -> Dubber:
    """A dubber that redraws a clip with a generator from mel windows (N, 1, 80, 28).

    The generator draws at its own size, and its output is scaled to the size of the clip. A generator that copies
    pixels (``rgb = "copying"``) draws at the size of the clip, if that is one of its sizes or a multiple of its own.
    """
    own = generator.config.size
    fits = subject.size in generator.config.sizes or subject.size % own == 0
    size = subject.size if generator.config.rgb == "copying" and fits else own
    device = next(generator.parameters()).device

    def crops(frames: Tensor) -> Tensor:
        return scaled(subject.clip.images[frames].to(device).float() / 255, size)

    references = subject.references[: generator.config.references]
    features = generator.encode_reference(crops(torch.tensor(references))[None])

    def draw(frames: Tensor) -> Tensor:
        hidden = box_masks(subject.clip.masks[frames].to(device), size) > 0
        landmarks = subject.clip.landmarks
        placed = torch.from_numpy(placement(landmarks[frames.numpy()], landmarks[references]))
        heard = mels[frames].to(device).float()
        drawn = redrawn(generator, crops(frames), hidden, heard, features, placed.to(device))
        if not bool(torch.isfinite(drawn).all()):
            raise DataError(f"the model produces NaN (in frames {int(frames[0])} to {int(frames[-1])})")
        levels = scaled(drawn, subject.size) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).to(subject.clip.images.device)

    return draw


def scaled(images: Tensor, size: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, size, size): area-averaged when reduced, bilinear when enlarged."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] > size:
        return F.interpolate(images, (size, size), mode="area")
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def judged_size(images: Tensor) -> list[Byte]:
    """Crops (n, 3, S, S) uint8 -> n pictures (256, 256, 3) uint8, in which landmarks are detected."""
    how = cv2.INTER_AREA if images.shape[-1] > LMD_SIZE else cv2.INTER_LINEAR
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    return [np.asarray(cv2.resize(p, (LMD_SIZE, LMD_SIZE), interpolation=how)) for p in pictures]
