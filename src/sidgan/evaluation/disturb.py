"""Disturbances of known strength that make a clip harder to dub: noise, changed speed of speech, low resolution."""

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

VOICES = 4  #: number of other clips whose voices are mixed into babble


class UnsuitedError(DataError):
    """A disturbance cannot be applied to a clip; others may."""


def noise(kind: str, count: int, seed: int) -> Float:
    """Noise with mean square 1 at 16 kHz, reproducible from its seed.

    Args:
        kind: ``white``, or ``pink``: equal power in every octave above 20 Hz.
        count: number of samples.
        seed: 0 or more.

    Returns:
        (count,) float32.
    """
    values = np.random.default_rng(seed).standard_normal(count)
    if kind == "pink":
        hertz = np.fft.rfftfreq(count, 1 / audio.SAMPLE_RATE)
        values = np.fft.irfft(np.fft.rfft(values) * (hertz >= 20) / np.sqrt(np.maximum(hertz, 20)), count)
    return _normalised(values)


def babble(voices: Sequence[Float], count: int) -> Float:
    """Several voices at once, equally loud, each looped to length ``count``: (count,) float32 with mean square 1.

    Raises:
        UnsuitedError: there is no voice, or all are silent.
    """
    normalised = [_normalised(np.resize(voice, count)) for voice in voices if len(voice) and voice.any()]
    if not normalised:
        raise UnsuitedError("there is no other voice to make babble from")
    return _normalised(np.sum(normalised, axis=0))


def _normalised(values: Float) -> Float:
    """Scale to mean square 1."""
    return (values / np.sqrt(np.mean(np.square(values, dtype=np.float64)) + 1e-20)).astype(np.float32)


def mixed(samples: Float, disturbance: Float, decibels: float, span: slice) -> Float:
    """Mix speech with noise.

    Args:
        samples: (n,) the speech.
        disturbance: (n,) the noise.
        decibels: signal-to-noise ratio in dB, measured within ``span``.
        span: the samples that are judged.

    Returns:
        (n,) float32; not clipped, may exceed [-1, 1].

    Raises:
        UnsuitedError: speech or noise is silent within ``span``.
    """
    speech, other = (float(np.mean(np.square(part[span], dtype=np.float64))) for part in (samples, disturbance))
    if not speech or not other:
        raise UnsuitedError("its sound is silent, so no signal-to-noise ratio exists")
    gain = np.sqrt(speech / other / 10 ** (decibels / 10))
    return (samples + np.float32(gain) * disturbance).astype(np.float32)


def windows(samples: Float, frames: Sequence[Fraction]) -> Tensor:
    """(N, 1, 80, 28) float16 mel windows of frames at the given times in s, rounded as in packed clips."""
    mel = audio.log_mel(samples).astype(np.float16).astype(np.float32)
    return torch.from_numpy(audio.mel_windows(mel, frames).astype(np.float16))


def sped_up(clip: PackedClip, samples: Float, first: int, rate: Fraction) -> PackedClip:
    """Change the speed of a clip, keeping 25 fps.

    Frame j of the result is the true frame nearest to ``rate * j`` (of two, the earlier one), so frames are dropped at
    rates above 1 and repeated below 1. The sound is time-stretched at constant pitch, see `sidgan.media.stretch`.

    Args:
        clip: N frames.
        samples: sound at 16 kHz; sample 0 lies ``first`` frames before the first frame of the clip.
        first: offset of the clip in the sound, frames.
        rate: speed; above 1 is faster.
    """
    count = int((len(clip) - 1) / rate) + 1
    picks = [math.ceil(j * rate - Fraction(1, 2)) for j in range(count)]
    faster = samples if rate == 1 else media.stretch(samples, audio.SAMPLE_RATE, float(rate))
    times = [(Fraction(first) / rate + j) / FPS for j in range(count)]
    return PackedClip(clip.name, clip.images[picks], windows(faster, times), clip.masks[picks], clip.landmarks[picks])


def smaller(clip: PackedClip, side: int) -> PackedClip:
    """Reduce the detail of a clip to side x side px: crops are area-averaged to this size and enlarged bilinearly."""
    parts = []
    for images in torch.split(clip.images, 32):
        reduced = scaled(scaled(images.float(), side), images.shape[-1])
        parts.append(reduced.round().clamp(0, 255).to(torch.uint8))
    return replace(clip, images=torch.cat(parts))
