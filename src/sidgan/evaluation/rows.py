"""The rows of a table, that is, who dubs a clip: the generator with right or wrong sound, or a baseline without sound.

A figure has a meaning only in comparison: a generator has learnt from the sound if it is better than the baselines and
than itself with the wrong sound::

    truth      the clip itself: the score of a perfect dubber
    model      the generator with the right sound
    wrong      the generator with the clip's own sound, half the clip later
    silent     the generator with silence
    shuffled   the generator with the clip's own sound, cut into pieces of 0.2 s in another order
    swapped    the generator with the sound of another clip
    reference  the mouth of the reference frame, in every frame
    random     the mouth of another frame of the clip, chosen at random for each frame
    average    the average mouth of the clip. It knows the truth: a landmark for PSNR, not a baseline to beat

In `LEAKS`, the sound contains nothing about how the original mouth moved. If the drawn mouth still follows it, the
image leaked it: through the cheeks, the crop, or the shadow of the chin.
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

LEAKS = ("silent", "shuffled", "swapped")  #: rows that test for leaks
ROWS = ("truth", "model", "wrong", *LEAKS, "reference", "random", "average")
BLOCK = 5  #: frames per piece of shuffled sound: 0.2 s, the length of a mel window


def heard(row: str, subject: Subject) -> Tensor:
    """The mel windows (N, 1, 80, 28) that a row is drawn from, and judged with."""
    mels = subject.clip.mels
    if row == "silent":
        return torch.full_like(mels, SILENCE)
    source = subject.swapped if row == "swapped" else mels
    if source is None or not len(source):
        raise ValueError("row 'swapped' needs the sound of another clip")
    return source[_sound_frames(row, subject.clip.name, len(mels), len(source))]


def heard_samples(row: str, name: str, own: Float, other: Float | None) -> Float | None:
    """The audio samples behind `heard`; ``None`` for silence, or if the sound is not available.

    Args:
        row: name of the row.
        name: name of the clip.
        own, other: sound of the clip, and of the clip for ``swapped``; 640 samples per frame, at 16 kHz.
    """
    source = other if row == "swapped" else own
    if row == "silent" or source is None:
        return None
    blocks = source.reshape(-1, FRAME_SAMPLES)
    return blocks[_sound_frames(row, name, len(own) // FRAME_SAMPLES, len(blocks)).numpy()].ravel()


def _sound_frames(row: str, name: str, count: int, available: int) -> Tensor:
    """For each of ``count`` frames, the index of its sound among the ``available`` frames of sound: (count,)."""
    frames = torch.arange(count)
    if row == "wrong":
        frames = frames.roll(-(count // 2))
    elif row == "shuffled":
        frames = shuffled(count, name)
    return frames % available


def shuffled(count: int, name: str) -> Tensor:
    """Permutation (count,) of frames in blocks of `BLOCK`, none of which stays in place; seeded by the clip's name."""
    blocks = list(torch.split(torch.arange(count), BLOCK))
    if len(blocks) < 2:
        return torch.arange(count).roll(count // 2)
    order = np.random.default_rng(zlib.crc32(name.encode())).permutation(len(blocks))
    source = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))  # one cycle: no block stays in place
    return torch.cat([blocks[source[i]] for i in range(len(blocks))])


def dubber(row: str, subject: Subject, generator: Generator | None) -> Dubber:
    """The dubber of a row."""
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
    """For each frame, the index of another one; seeded by the clip's name, independent of other clips."""
    count = len(clip)
    steps = np.random.default_rng(zlib.crc32(clip.name.encode())).integers(1, count, size=count)
    return torch.from_numpy((np.arange(count) + steps) % count)
