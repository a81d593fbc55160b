"""The new voices, as the network hears them."""

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

FADE = round(0.12 * audio.STEPS_PER_SECOND)  #: columns, 0.12 s: a mouth comes and goes as slowly beside a silence
ENDING = 0.16  #: seconds over which it goes at the end of a voice that is shorter than the video


def ending(left: Fraction) -> float:
    """Share of the redrawn mouth ``left`` seconds before the end of a voice that is shorter than the video."""
    return min(1.0, float(left) / ENDING)


@dataclass(frozen=True)
class Voice:
    """A voice.

    Attributes:
        mel: (80, steps), its log-mel spectrogram.
        end: seconds at which it is over, or at which no more of it was wanted.
        still: (steps,) bool, columns of silence, in which the mouth is left as it was filmed; ``None`` where silence
            makes no difference.
        closes: only a mouth that was filmed shut is left as it was in silence; an open one is redrawn, shut.
    """

    mel: Float
    end: Fraction
    still: Array | None = None
    closes: bool = False

    def at(self, time: Fraction) -> Float:
        """What is heard around a frame shown at ``time`` s, (1, 80, 28)."""
        return audio.mel_windows(self.mel, [time])[0]

    def moves(self, time: Fraction, opened: float) -> float:
        """Share of the redrawn mouth in a frame shown at ``time`` s: 0 inside a silence, rising to 1 at its ends.

        Args:
            opened: 0 where the filmed mouth is shut, up to 1 where it is not; see `sidgan.dubbing.plan.opened`.
        """
        if self.still is None:
            return 1.0
        column = round(time * audio.STEPS_PER_SECOND)
        around = np.arange(max(0, column - FADE), min(column + FADE + 1, len(self.still)))
        moving = np.abs(around - column)[~self.still[around]]
        heard = 1.0 - float(moving.min()) / (FADE + 1) if len(moving) else 0.0
        return max(heard, opened) if self.closes else heard

    def silences(self, mode: Silence) -> Voice:
        """The same voice with its silences treated; see `sidgan.dub`."""
        if mode == "draw":
            return self
        still = silent(self.mel)
        if mode == "keep":
            return replace(self, still=still)
        return replace(self, mel=hushed(self.mel, still), still=still, closes=True)


@dataclass(frozen=True)
class Voices:
    """Whose mouth speaks with which voice.

    Attributes:
        common: the voice of all who have none of their own.
        own: voices by the number of their person.
        end: seconds at which the last of them is over.
    """

    common: Voice | None
    own: Mapping[int, Voice]
    end: Fraction

    def of(self, number: int) -> Voice:
        """The voice of a person of this number, who has one."""
        voice = self.own.get(number, self.common)
        assert voice is not None, "only people with voices are redrawn"
        return voice


def voices(
    sound: Path, speakers: Mapping[int, Path], silence: Silence, enough: Fraction | None = None
) -> Voices:
    """Read all voices.

    Args:
        sound: what the output sounds like; also everybody's voice, if nobody has one of their own.
        speakers: files by person.
        silence: what becomes of mouths in silence.
        enough: seconds after which reading may stop.
    """
    common = None if speakers else listen(sound, enough).silences(silence)
    own = {number: listen(file, enough).silences(silence) for number, file in speakers.items()}
    ends = [voice.end for voice in own.values()] if common is None else [common.end]
    if speakers:  # the sound track may be a mix of more than their voices, and longer
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
