"""A clip to be dubbed and judged: its frames, what they say themselves, and how a generator redraws them."""

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
from sidgan.evaluation.measures import Look
from sidgan.geometry import mouth_opening, placement
from sidgan.metrics.lips import LMD_SIZE
from sidgan.nn import Generator
from sidgan.types import Byte, Float

BATCH = 32  #: frames drawn and judged together
SHOWN = 6  #: frames of each clip that are kept to be looked at
EMBEDDING = 128  #: numbers in an identity
LOWER = (0.0, 0.5, 1.0, 1.0)
Dubber = Callable[[Tensor], Tensor]  #: frame indices (n,) -> whole pictures (n, 3, S, S) uint8
Reference = Literal["first", "last", "pair"]
Mask = Literal["query", "lower"]


class Subject:
    """A clip to be dubbed, and what its own frames say, found once for all rows.

    Args:
        clip: what is dubbed.
        reference: the frame that shows the generator the person: ``first`` (the paper's), ``last``, or ``pair``, two
            much as dubbing takes them: lips closed, and open. Their times are all that they tell of the answer.
        id_every: identity, the slowest metric, is measured on every n-th frame; 0 leaves it out.
        mask: what is hidden of the query: the box between the cheeks and below the nose, or the lower half.
        score_reference: whether the reference frame is judged as well. There the reference *is* the answer.
        swapped: (N, 1, 80, 28) sound of another clip.
        confirm: look whether there is a face at all, before its landmarks are believed.

    Attributes:
        frames: indices of the judged frames, rising; the references of a pair leave gaps.
        references: indices of the frames that show the person. ``reference`` is the first of them.
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
        # Packed landmarks are smoothed over time. Others are found frame by frame, so the true ones must be as well.
        self.guides = clip.landmarks * LMD_SIZE - 0.5
        self.landmarks = np.zeros_like(clip.landmarks)
        self.identities = np.full((count, EMBEDDING), np.nan, np.float32)
        for some in torch.split(self.frames, BATCH):
            pictures = judged_size(clip.images[some])
            self.landmarks[some.numpy()] = self.find_landmarks(pictures, some)
            self.identities[some.numpy()] = self.embed(pictures, some)

    @property
    def size(self) -> int:
        """Side of the clip's pictures in px."""
        return int(self.clip.images.shape[-1])

    def shown(self) -> list[int]:
        """The few frames that are kept to be looked at, spread evenly."""
        count = min(SHOWN, len(self.frames))
        return [int(self.frames[(2 * i + 1) * len(self.frames) // (2 * count)]) for i in range(count)]

    def masks(self, frames: Tensor) -> Tensor:
        """The hidden boxes of some frames (n, 1, S, S)."""
        return box_masks(self.clip.masks[frames], self.size)

    def look(self, images: Tensor, frames: Tensor, mels: Tensor) -> Look:
        """Pictures (n, 3, S, S) uint8 of some frames, drawn from a sound (N, 1, 80, 28), as metrics see them."""
        pictures, truth = judged_size(images), self.clip.images[frames]
        at = frames.numpy()  # NumPy takes a tensor of one index for a plain number, and drops the axis
        if torch.equal(images, truth):  # found already
            points, identities = self.landmarks[at].copy(), self.identities[at]
        else:
            points, identities = self.find_landmarks(pictures, frames), self.embed(pictures, frames)
        if self.confirm:
            seen = [self._face_seen(p, i) for p, i in zip(pictures, frames.tolist(), strict=True)]
            points[~np.array(seen)] = np.nan
        return Look(
            frames=frames, images=images, truth=truth, masks=self.masks(frames), pictures=pictures,
            landmarks=points, true_landmarks=self.landmarks[at], identities=identities,
            true_identities=self.identities[at], mels=mels[frames],
        )  # fmt: skip

    def find_landmarks(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Landmarks (n, 68, 2) of pictures of these frames, looked for where the true face is."""
        boxes = [faces.box_of(self.guides[i]) for i in frames.tolist()]
        return np.stack([faces.landmarks(p, box) for p, box in zip(pictures, boxes, strict=True)])

    def embed(self, pictures: Sequence[Byte], frames: Tensor) -> Float:
        """Identities (n, 128) of those pictures whose frame is asked for, under the true landmarks; else NaN."""
        nothing = np.full(EMBEDDING, np.nan, np.float32)
        pairs = zip(frames.tolist(), pictures, strict=True)
        return np.stack([faces.embed(p, self.guides[i]) if i in self.id_frames else nothing for i, p in pairs])

    def _face_seen(self, picture: Byte, frame: int) -> bool:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return faces.confirm(np.asarray(luma), faces.box_of(self.guides[frame])) is not None


def _references(clip: PackedClip, reference: str) -> list[int]:
    if reference != "pair":
        return [0 if reference == "first" else len(clip) - 1]
    return closed_and_open(clip.landmarks)


def closed_and_open(landmarks: Float) -> list[int]:
    """A frame with lips closed and one with lips open, of landmarks (N, 68, 2)."""
    order = np.argsort(mouth_opening(landmarks), kind="stable")
    few = len(order) // 40  # the very widest may be a landmark astray
    return [int(order[few]), int(order[-1 - few])]


def beginning(clip: PackedClip, count: int | None) -> PackedClip:
    """The first ``count`` frames; all of them for ``None``."""
    return PackedClip(clip.name, clip.images[:count], clip.mels[:count], clip.masks[:count], clip.landmarks[:count])


@contextmanager
def evaluating(network: nn.Module | None) -> Iterator[None]:
    """Eval mode for a while, so that a network in training can be judged in between."""
    training = network is not None and network.training
    if network is not None:
        network.eval()
    try:
        yield
    finally:
        if network is not None:
            network.train(training)


def generated(generator: Generator, subject: Subject, mels: Tensor) -> Dubber:
    """How a generator redraws a clip from mel windows (N, 1, 80, 28): at its own size, scaled to the clip's.

    One that copies draws at the clip's size, where that is one of its own or a multiple.
    """
    own = generator.config.size
    fits = subject.size in generator.config.sizes or subject.size % own == 0
    size = subject.size if generator.config.rgb == "copying" and fits else own
    device = next(generator.parameters()).device

    def pictures(frames: Tensor | slice) -> Tensor:
        return scaled(subject.clip.images[frames].to(device).float() / 255, size)

    shown = subject.references[: generator.config.references]
    features = generator.encode_reference(pictures(torch.tensor(shown))[None])

    def draw(frames: Tensor) -> Tensor:
        hidden = box_masks(subject.clip.masks[frames].to(device), size) > 0
        placed = torch.from_numpy(placement(subject.clip.landmarks[frames.numpy()], subject.clip.landmarks[shown]))
        heard = mels[frames].to(device).float()
        drawn = redrawn(generator, pictures(frames), hidden, heard, features, placed.to(device))
        if not bool(torch.isfinite(drawn).all()):
            raise DataError(f"the model produces NaN (in frames {int(frames[0])} to {int(frames[-1])})")
        levels = scaled(drawn, subject.size) * 255
        return levels.round().clamp(0, 255).to(torch.uint8).to(subject.clip.images.device)

    return draw


def scaled(images: Tensor, size: int) -> Tensor:
    """(n, 3, S, S) -> (n, 3, size, size): averaged down or enlarged bilinearly."""
    if images.shape[-1] == size:
        return images
    if images.shape[-1] > size:
        return F.interpolate(images, (size, size), mode="area")
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False)


def judged_size(images: Tensor) -> list[Byte]:
    """Crops (n, 3, S, S) uint8 as n pictures (256, 256, 3) in which landmarks are found."""
    how = cv2.INTER_AREA if images.shape[-1] > LMD_SIZE else cv2.INTER_LINEAR
    pictures = np.ascontiguousarray(images.cpu().permute(0, 2, 3, 1).numpy())
    return [np.asarray(cv2.resize(p, (LMD_SIZE, LMD_SIZE), interpolation=how)) for p in pictures]
