"""Making a clip harder to dub by a known amount: noise over its sound, faster speech, fewer pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from sidgan import audio, media
from sidgan.config import FPS
from sidgan.data.dataset import PackedClip
from sidgan.errors import DataError
from sidgan.evaluation.subject import scaled
from sidgan.types import Float

VOICES = 4  #: of other clips in babble


class UnsuitedError(DataError):
    """A clip cannot be disturbed so, whatever else can be done with it."""


def noise(kind: str, count: int, seed: int) -> Float:
    """Noise of mean square 1 at 16 kHz, always the same for a seed.

    Args:
        kind: ``white``, or ``pink``: equal power in every octave above 20 Hz.
        count: samples.
        seed: 0 or more.

    Returns:
        (count,) float32.
    """
    values = np.random.default_rng(seed).standard_normal(count)
    if kind == "pink":
        hertz = np.fft.rfftfreq(count, 1 / audio.SAMPLE_RATE)
        values = np.fft.irfft(np.fft.rfft(values) * (hertz >= 20) / np.sqrt(np.maximum(hertz, 20)), count)
    return _unit(values)


def babble(voices: Sequence[Float], count: int) -> Float:
    """Several voices at once, equally loud, each repeated as often as it takes; mean square 1, (count,) float32.

    Raises:
        UnsuitedError: no voice, or nothing but silence.
    """
    loud = [_unit(np.resize(voice, count)) for voice in voices if len(voice) and voice.any()]
    if not loud:
        raise UnsuitedError("there is no other voice to make babble from")
    return _unit(np.sum(loud, axis=0))


def _unit(values: Float) -> Float:
    return (values / np.sqrt(np.mean(np.square(values, dtype=np.float64)) + 1e-20)).astype(np.float32)


def mixed(samples: Float, disturbance: Float, decibels: float, span: slice) -> Float:
    """Speech with noise over it.

    Args:
        samples: (n,) the speech.
        disturbance: (n,) the noise.
        decibels: 10 log10 of the speech's mean square over the noise's, both within ``span``.
        span: the samples that are judged.

    Returns:
        (n,) float32, as loud as it comes: nothing is clipped.

    Raises:
        UnsuitedError: the speech is silent there.
    """
    speech, other = (float(np.mean(np.square(part[span], dtype=np.float64))) for part in (samples, disturbance))
    if not speech or not other:
        raise UnsuitedError("its sound is silent, so no signal-to-noise ratio exists")
    gain = np.sqrt(speech / other / 10 ** (decibels / 10))
    return (samples + np.float32(gain) * disturbance).astype(np.float32)


def windows(samples: Float, frames: Sequence[Fraction]) -> Tensor:
    """(N, 1, 80, 28) float16 mel windows of frames at these times in s, as packed clips give them."""
    mel = audio.log_mel(samples).astype(np.float16).astype(np.float32)
    return torch.from_numpy(audio.mel_windows(mel, frames).astype(np.float16))


def sped_up(clip: PackedClip, samples: Float, first: int, rate: Fraction) -> PackedClip:
    """A clip as if its person had spoken faster, at 25 frames a second still.

    Frame j of the result is the true frame nearest to ``rate * j`` (the earlier one of two), so above 1 frames are left
    out and below 1 some are shown twice. The sound is stretched at constant pitch, see `sidgan.media.stretch`.

    Args:
        clip: N frames.
        samples: at 16 kHz; sample 0 belongs to the frame ``first`` frames before the clip's own first.
        first: frames.
        rate: above 1 is faster.
    """
    count = int((len(clip) - 1) / rate) + 1
    picks = [math.ceil(j * rate - Fraction(1, 2)) for j in range(count)]
    faster = samples if rate == 1 else media.stretch(samples, audio.SAMPLE_RATE, float(rate))
    times = [(Fraction(first) / rate + j) / FPS for j in range(count)]
    return PackedClip(clip.name, clip.images[picks], windows(faster, times), clip.masks[picks], clip.landmarks[picks])


def smaller(clip: PackedClip, side: int) -> PackedClip:
    """A clip whose pictures hold only side x side px of detail: averaged down and enlarged bilinearly again."""
    parts = []
    for images in torch.split(clip.images, 32):
        seen = scaled(scaled(images.float(), side), images.shape[-1])
        parts.append(seen.round().clamp(0, 255).to(torch.uint8))
    return replace(clip, images=torch.cat(parts))
