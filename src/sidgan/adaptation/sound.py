"""Decide whether the sound of a video belongs to a face, so that its lips can be learnt from it."""

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

MIN_LOUDNESS = -55.0  #: dBFS (RMS) below which sound counts as silent
MIN_FRAMES = 250  #: from which sound can be judged not to belong to the face
EVIDENCE_FRAMES = 500  #: frames from which `MIN_EVIDENCE` is required beside the right lag
MAX_LAG_ERROR = 2  #: frames between a face's estimated lag and that of the file
MIN_EVIDENCE = 4.0  #: reached by one in ten unrelated pairs, and by all related ones of 20 s
SAMPLES_PER_FRAME = audio.SAMPLE_RATE // FPS
FRAME_BLOCK = 5  #: frames that span a whole number of mel columns, 16


@dataclass(frozen=True)
class Sound:
    """Whether sound belongs to a face.

    Attributes:
        verdict: ``own``, ``shifted by n frames``, ``silent`` or ``not its own``.
        shift: frames by which the sound is shifted to match the picture.
        evidence: for picture and sound belonging together, in robust standard deviations; 0 if silent.
    """

    verdict: str
    shift: int = 0
    evidence: float = 0.0

    @property
    def teaches(self) -> bool:
        """Whether lips can be learnt from it."""
        return self.verdict not in ("silent", "not its own")


Stretch = tuple[Float, Fraction]  #: landmarks (N, 68, 2) at 25 fps, and the time of the first in seconds


def judge_sounds(faces: Sequence[Sequence[Stretch]], samples: Float) -> list[Sound]:
    """Judge the sound of a video for each of its faces, given by the stretches in which it is seen.

    A face whose own lag is sure keeps it. The others get that of the file, which the face with the most evidence tells:
    one with another lag, or with too little evidence for its length, belongs to a listener or is dubbed already. If a
    face is too short to judge, the sound counts as its own, as is mostly true.

    Args:
        faces: the stretches of each face; one without any counts as silent.
        samples: (n,) at 16 kHz, starting at time 0; empty if there is no audio track.
    """
    found = [_estimate(face, samples) if loudness(face, samples) >= MIN_LOUDNESS else None for face in faces]
    best = max((f for f in found if f is not None and f.trusted), key=lambda f: f.evidence, default=Offset(0, 0.0))
    return [
        Sound("silent") if offset is None else _verdict(offset, best.frames, sum(len(p) for p, _ in stretches))
        for offset, stretches in zip(found, faces, strict=True)
    ]


def _verdict(offset: Offset, lag: int, frames: int) -> Sound:
    """Judge a face of ``frames`` frames by its estimate and the lag of the file."""
    evidence = round(offset.evidence, 1)
    shift = offset.frames if offset.trusted else lag
    near = abs(offset.frames - shift) <= MAX_LAG_ERROR and (offset.evidence >= MIN_EVIDENCE or frames < EVIDENCE_FRAMES)
    if frames >= MIN_FRAMES and not near:
        return Sound("not its own", 0, evidence)
    return Sound(f"shifted by {shift} frames" if shift else "own", shift, evidence)


def _estimate(stretches: Sequence[Stretch], samples: Float) -> Offset:
    points, mels = [], []
    for landmarks, start in stretches:
        count = len(landmarks) // FRAME_BLOCK * FRAME_BLOCK
        mel = audio.log_mel(sound_under(samples, start, count))
        points.append(landmarks[:count])
        mels.append(mel[:, : count * audio.STEPS_PER_SECOND // FPS])
    return estimate_offset(np.concatenate(points), np.concatenate(mels, 1))


def loudness(stretches: Sequence[Stretch], samples: Float) -> float:
    """Loudness of the sound during some stretches, in dBFS (RMS); -120 without stretches or sound."""
    parts = [sound_under(samples, start, len(points)) for points, start in stretches]
    power = float(np.mean(np.square(np.concatenate(parts)))) if parts and len(samples) else 0.0
    return 10 * float(np.log10(power + 1e-12))


def sound_under(samples: Float, start: Fraction, frames: int) -> Float:
    """The samples during ``frames`` frames from ``start`` seconds on, padded with silence."""
    first, count = round(start * audio.SAMPLE_RATE), frames * SAMPLES_PER_FRAME
    part = samples[max(0, first) : max(0, first + count)]
    before = min(count, max(0, -first))
    return np.pad(part, (before, count - before - len(part)))


def foreign_speech(frames: int, seed: int) -> Float:
    """(frames, 1, 80, 28) mel windows of synthetic speech, which belongs to no video."""
    person = Person.random(seed)
    line = random_line(np.random.default_rng(seed), frames / FPS)
    return audio.mel_windows(audio.log_mel(voice(line, person)), [Fraction(i, FPS) for i in range(frames)])
