"""Who dubs a clip: the generator with the right and with wrong sounds, and dubbers that do not listen at all.

A figure can be read only beside others: a generator has learnt something where it beats those that do not listen, and
itself with the wrong sound::

    truth      the clip itself: what the best possible dubber would score
    model      the generator with the right sound
    wrong      the generator with the clip's own sound, half the clip later
    silent     the generator with silence
    shuffled   the generator with the clip's own sound, cut into pieces of 0.2 s in another order
    swapped    the generator with the sound of another clip
    reference  the reference frame's mouth, in every frame
    random     the mouth of another frame of the clip, drawn anew for each frame
    average    the clip's average mouth. It knows the answers: a landmark for PSNR, not a bar to pass

In `LEAKS`, nothing heard tells how the original mouth moved. Where the drawn mouth still opens with it, the picture
gave it away: by the cheeks, by the crop, by the shadow of the chin.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from sidgan.audio import SILENCE
from sidgan.data.dataset import PackedClip
from sidgan.evaluation.subject import BATCH, Dubber, Subject, generated
from sidgan.metrics.lag import FRAME_SAMPLES
from sidgan.nn import Generator
from sidgan.types import Float

LEAKS = ("silent", "shuffled", "swapped")
ROWS = ("truth", "model", "wrong", *LEAKS, "reference", "random", "average")
BLOCK = 5  #: frames that stay together when sound is shuffled; as long as a mel window


def heard(row: str, subject: Subject) -> Tensor:
    """The mel windows (N, 1, 80, 28) that a row is drawn from and judged against."""
    mels = subject.clip.mels
    if row == "silent":
        return torch.full_like(mels, SILENCE)
    source = subject.swapped if row == "swapped" else mels
    if source is None or not len(source):
        raise ValueError("a clip without another one has nothing to be swapped with")
    return source[_sounding(row, subject.clip.name, len(mels), len(source))]


def heard_samples(row: str, name: str, own: Float, other: Float | None) -> Float | None:
    """The samples behind `heard`; ``None`` where nothing is heard, or what is heard is not at hand.

    Args:
        row: who dubs.
        name: the clip's.
        own, other: its sound at 16 kHz and that of the clip it is swapped with, 640 samples for each frame.
    """
    source = other if row == "swapped" else own
    if row == "silent" or source is None:
        return None
    pieces = source.reshape(-1, FRAME_SAMPLES)
    return pieces[_sounding(row, name, len(own) // FRAME_SAMPLES, len(pieces)).numpy()].ravel()


def _sounding(row: str, name: str, count: int, source: int) -> Tensor:
    """Which of ``source`` frames of sound is heard in each of a clip's frames, (count,)."""
    frames = torch.arange(count)
    if row == "wrong":
        frames = frames.roll(-(count // 2))
    elif row == "shuffled":
        frames = shuffled(count, name)
    return frames % source


def shuffled(count: int, name: str) -> Tensor:
    """Indices (count,) of frames in blocks of `BLOCK`, none of which is where it was; the clip's name decides."""
    blocks = list(torch.split(torch.arange(count), BLOCK))
    if len(blocks) < 2:
        return torch.arange(count).roll(count // 2)
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(blocks))
    moved = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one cycle: no block stays
    return torch.cat([blocks[moved[i]] for i in range(len(blocks))])


def dubber(row: str, subject: Subject, generator: Generator | None) -> Dubber:
    """Who draws the pictures of a row."""
    images = subject.clip.images
    if row == "truth":
        return lambda frames: images[frames]
    if row == "reference":
        return lambda frames: images[subject.reference].expand(len(frames), -1, -1, -1)
    if row == "random":
        others = _other_frames(subject.clip)
        return lambda frames: images[others[frames]]
    if row == "average":
        total = torch.stack([part.sum(0, dtype=torch.int64) for part in torch.split(images, BATCH)]).sum(0)
        average = (total.double() / len(images)).round().to(torch.uint8)
        return lambda frames: average.expand(len(frames), -1, -1, -1)
    if generator is None:
        raise ValueError(f"row '{row}' needs a generator")
    return generated(generator, subject, heard(row, subject))


def _other_frames(clip: PackedClip) -> Tensor:
    """For each frame another one; the clip's name decides, so that other clips in the set change nothing."""
    count = len(clip)
    steps = np.random.default_rng(zlib.crc32(clip.name.encode())).integers(1, count, size=count)
    return torch.from_numpy((np.arange(count) + steps) % count)
