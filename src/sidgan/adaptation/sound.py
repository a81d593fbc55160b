"""Does a video's own sound teach the lips of one of its faces? And what is heard where it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan import audio
from sidgan.config import FPS
from sidgan.data.offset import Offset, estimate_offset
from sidgan.synth import Person, random_line, voice
from sidgan.types import Float

QUIET = -55.0  #: dBFS (RMS) below which there is nothing to hear
TELLING = 250  #: frames from which sound and picture can be shown not to belong together
SURE = 500  #: frames from which the right lag alone is not enough
NEAR = 2  #: frames that an estimate may be off the lag it should be
SOME = 4.0  #: evidence that nine of ten unrelated pairs do not reach, and all related ones of 20 s do
SAMPLES = audio.SAMPLE_RATE // FPS
TOGETHER = 5  #: frames that make whole columns of a spectrogram: 16


@dataclass(frozen=True)
class Sound:
    """What a face's sound is good for.

    Attributes:
        verdict: ``own``, ``shifted by n frames``, ``silent`` or ``not its own``.
        shift: frames by which the sound is moved to fit the picture.
        evidence: that they belong together, in robust standard deviations; 0 where nothing was heard.
    """

    verdict: str
    shift: int = 0
    evidence: float = 0.0

    @property
    def teaches(self) -> bool:
        """Whether the lips can be learnt from it."""
        return self.verdict not in ("silent", "not its own")


Stretch = tuple[Float, Fraction]  #: landmarks (N, 68, 2) at 25 fps, and the time of the first in seconds


def judge_sounds(faces: Sequence[Sequence[Stretch]], samples: Float) -> list[Sound]:
    """Judge the sound of a video for each of its faces, given by the stretches in which it is seen.

    A lag is a file's, not a face's: the face that shows it best says where the others' should be. A face whose estimate
    lies elsewhere, or is too weak for its length, is somebody who listens, or is dubbed already. What is too short to
    tell is taken for its own, as most sound is.

    Args:
        faces: of each face, one stretch or more.
        samples: (n,) at 16 kHz, beginning at time 0; empty where there is no sound track.
    """
    found = [_estimate(stretches, samples) if loudness(stretches, samples) >= QUIET else None for stretches in faces]
    best = max((f for f in found if f is not None and f.trusted), key=lambda f: f.evidence, default=Offset(0, 0.0))
    return [
        Sound("silent") if offset is None else _verdict(offset, best.frames, sum(len(p) for p, _ in stretches))
        for offset, stretches in zip(found, faces, strict=True)
    ]


def _verdict(offset: Offset, lag: int, frames: int) -> Sound:
    """What an estimate says beside the lag it should have."""
    evidence = round(offset.evidence, 1)
    shift = offset.frames if offset.trusted else lag
    near = abs(offset.frames - shift) <= NEAR and (offset.evidence >= SOME or frames < SURE)
    if frames >= TELLING and not near:
        return Sound("not its own", 0, evidence)
    return Sound(f"shifted by {shift} frames" if shift else "own", shift, evidence)


def _estimate(stretches: Sequence[Stretch], samples: Float) -> Offset:
    points, mels = [], []
    for landmarks, start in stretches:
        count = len(landmarks) // TOGETHER * TOGETHER
        mel = audio.log_mel(heard(samples, start, count))
        points.append(landmarks[:count])
        mels.append(mel[:, : count * audio.STEPS_PER_SECOND // FPS])
    return estimate_offset(np.concatenate(points), np.concatenate(mels, 1))


def loudness(stretches: Sequence[Stretch], samples: Float) -> float:
    """Of the sound under some stretches, in dBFS (RMS); -120 for none at all."""
    parts = [heard(samples, start, len(points)) for points, start in stretches]
    power = float(np.mean(np.square(np.concatenate(parts)))) if len(samples) else 0.0
    return 10 * float(np.log10(power + 1e-12))


def heard(samples: Float, start: Fraction, frames: int) -> Float:
    """The sound under ``frames`` frames from ``start`` seconds on; silence where there is none."""
    first, count = round(start * audio.SAMPLE_RATE), frames * SAMPLES
    part = samples[max(0, first) : max(0, first + count)]
    before = min(count, max(0, -first))
    return np.pad(part, (before, count - before - len(part)))


def foreign_speech(frames: int, seed: int) -> Float:
    """(frames, 1, 80, 28) mel windows of speech that nobody in any video said: a drawn person's."""
    person = Person.random(seed)
    line = random_line(np.random.default_rng(seed), frames / FPS)
    return audio.mel_windows(audio.log_mel(voice(line, person)), [Fraction(i, FPS) for i in range(frames)])
