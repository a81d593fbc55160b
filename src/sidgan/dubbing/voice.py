"""Read the new voices as log-mel spectrograms, and fade mouths at their silences and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from sidgan import audio, media
from sidgan.dubbing.silence import Silence, hushed, silent
from sidgan.errors import InputError
from sidgan.types import Array, Float

FADE = round(0.12 * audio.STEPS_PER_SECOND)  #: columns (0.12 s) over which a mouth fades in and out at a silence
ENDING = 0.16  #: seconds over which a mouth fades out at the end of a voice that is shorter than the video


def ending(left: Fraction) -> float:
    """Opacity of the redrawn mouth ``left`` seconds before the end of a voice that is shorter than the video."""
    return min(1.0, float(left) / ENDING)


@dataclass(frozen=True)
class Voice:
    """A voice.

    Attributes:
        mel: (80, steps), its log-mel spectrogram.
        end: seconds at which it ends, or at which reading stopped.
        still: (steps,) bool, columns of silence, in which mouths are left as filmed; ``None`` if silence is drawn like
            speech.
        closes: in silence, only mouths that were filmed shut are left as filmed; open ones are redrawn, shut.
    """

    mel: Float
    end: Fraction
    still: Array | None = None
    closes: bool = False

    def at(self, time: Fraction) -> Float:
        """The mel window (1, 80, 28) of a frame shown at ``time`` s."""
        return audio.mel_windows(self.mel, [time])[0]

    def moves(self, time: Fraction, opened: float) -> float:
        """Opacity of the redrawn mouth in a frame shown at ``time`` s: 0 inside a silence, rising to 1 at its ends.

        Args:
            opened: 0 where the filmed mouth is shut, up to 1 where it is open; see `sidgan.dubbing.plan.opened`.
        """
        if self.still is None:
            return 1.0
        column = round(time * audio.STEPS_PER_SECOND)
        around = np.arange(max(0, column - FADE), min(column + FADE + 1, len(self.still)))
        moving = np.abs(around - column)[~self.still[around]]
        heard = 1.0 - float(moving.min()) / (FADE + 1) if len(moving) else 0.0
        return max(heard, opened) if self.closes else heard

    def silences(self, mode: Silence) -> Voice:
        """The same voice with its silences handled as ``silence`` of `sidgan.dub` says."""
        if mode == "draw":
            return self
        still = silent(self.mel)
        if mode == "keep":
            return replace(self, still=still)
        return replace(self, mel=hushed(self.mel, still), still=still, closes=True)


@dataclass(frozen=True)
class Voices:
    """The voice of each person.

    Attributes:
        common: the voice of everybody without one of their own; ``None`` if only some people have voices.
        own: voices by the number of their person.
        end: seconds at which the last voice ends.
    """

    common: Voice | None
    own: Mapping[int, Voice]
    end: Fraction

    def of(self, number: int) -> Voice:
        """The voice of the person with this number, who must have one."""
        voice = self.own.get(number, self.common)
        assert voice is not None, "only people with voices are redrawn"
        return voice


def voices(
    sound: Path, speakers: Mapping[int, Path], silence: Silence, enough: Fraction | None = None
) -> Voices:
    """Read all voices.

    Args:
        sound: file with all voices mixed; everybody's voice if ``speakers`` is empty.
        speakers: voice files by the number of their person.
        silence: what happens to mouths in silence, see `sidgan.dub`.
        enough: seconds after which reading may stop.
    """
    common = None if speakers else listen(sound, enough).silences(silence)
    own = {number: listen(file, enough).silences(silence) for number, file in speakers.items()}
    ends = [voice.end for voice in own.values()] if common is None else [common.end]
    if speakers:  # the sound track may contain more than their voices, and be longer
        end = media.sound_span(sound).end
        ends.append(end if enough is None else min(end, enough))
    return Voices(common, own, max(ends))


def listen(file: Path, enough: Fraction | None = None) -> Voice:
    """Read a voice.

    Args:
        file: any file with sound.
        enough: seconds after which reading may stop.

    Raises:
        InputError: the file has no sound, or cannot be read.
    """
    samples = 0

    def heard() -> Iterator[Float]:
        nonlocal samples
        for block in media.decode_audio(file, audio.SAMPLE_RATE):
            samples += len(block)
            yield block
            if enough is not None and samples > enough * audio.SAMPLE_RATE:
                return

    mel = np.concatenate(list(audio.stream_log_mel(heard())), axis=1)
    if not samples:
        raise InputError(f"{file} has no sound; give a file with speech")
    return Voice(mel, Fraction(samples, audio.SAMPLE_RATE))
