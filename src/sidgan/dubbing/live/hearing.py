"""The voice of a live stream, converted to a log-mel spectrogram block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np

from sidgan import audio
from sidgan.audio import SAMPLE_RATE, STEPS_PER_SECOND
from sidgan.config import MEL_BANDS
from sidgan.dubbing.silence import Silence
from sidgan.dubbing.voice import Voice
from sidgan.errors import InputError
from sidgan.settings import require
from sidgan.types import Float

TOGETHER = 16  #: spectrogram columns that are computed at a time
DELAY = Fraction(TOGETHER, STEPS_PER_SECOND)  #: seconds of sound that may be read beyond what is listened to
REMEMBERED = 10 * STEPS_PER_SECOND  #: columns that are kept; silence is judged relative to the speech in them


class Hearing:
    """The log-mel spectrogram of the last `REMEMBERED` columns of a voice, however its sound is cut into blocks.

    Args:
        sound: consecutive (n,) float32 blocks in [-1, 1], consumed when they are needed.
        rate: its sample rate, Hz.
        silence: what happens to mouths in silence, see `sidgan.dub`.

    Raises:
        ConfigError: an impossible rate.
    """

    def __init__(self, sound: Iterable[Float], rate: int, silence: Silence) -> None:
        require(4000 <= rate <= 768_000, f"audio_rate must be 4000 to 768000 Hz, not {rate}")
        self._silence, self._samples = silence, 0
        self._columns = audio.stream_log_mel(self._counted(_resampled(_pieces(sound), rate)), TOGETHER)
        self._first, self._mel = 0, np.zeros((MEL_BANDS, 0), np.float32)
        self._over = False

    def listen(self, until: Fraction) -> None:
        """Read the sound up to ``until`` s or its end, blocking while it arrives; drop columns that are too old."""
        wanted = int(until * STEPS_PER_SECOND) + 1
        pieces = [self._mel]
        known = self._first + self._mel.shape[1]
        while known < wanted and not self._over:
            piece = next(self._columns, None)
            if piece is None:
                self._over = True
            else:
                pieces.append(piece)
                known += piece.shape[1]
        past = max(0, wanted - REMEMBERED - self._first)
        self._mel, self._first = np.concatenate(pieces, 1)[:, past:], self._first + past

    def voice(self) -> tuple[Voice, Fraction]:
        """The voice that is kept, and the second of the stream at which it begins; ``end`` counts from there."""
        begins, lasts = Fraction(self._first, STEPS_PER_SECOND), Fraction(self._mel.shape[1], STEPS_PER_SECOND)
        if self._over:
            lasts = Fraction(self._samples, SAMPLE_RATE) - begins
        return Voice(self._mel, lasts).silences(self._silence), begins

    def _counted(self, pieces: Iterable[Float]) -> Iterator[Float]:
        for piece in pieces:
            self._samples += len(piece)
            yield piece


def _pieces(sound: Iterable[Float]) -> Iterator[Float]:
    for piece in [sound] if isinstance(sound, np.ndarray) else sound:
        samples = np.asarray(piece)
        if samples.ndim != 1 or samples.dtype.kind != "f":
            raise InputError(
                f"sound is {samples.dtype} of shape {samples.shape}; give one channel of floats in [-1, 1], (samples,)"
            )
        if not np.isfinite(samples).all():
            raise InputError("sound contains NaN or infinite values; check its source")
        yield samples.astype(np.float32)


def _resampled(pieces: Iterable[Float], rate: int) -> Iterator[Float]:
    if rate == SAMPLE_RATE:
        yield from pieces
        return
    import soxr  # imported late: training works without it

    made = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
    for piece in pieces:
        yield made.resample_chunk(piece)
    yield made.resample_chunk(np.zeros(0, np.float32), last=True)
