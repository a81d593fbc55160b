"""Recordings of many voices with phoneme labels, on which a listener is trained.

Audio recordings are easier to obtain in quantity than video. Each gives one file (`sidgan.data.labelling`)::

    OUT/VOICE/NAME.npz    mel (80, n) float16, and sounds (n,) int8: indices into `sidgan.nn.SOUNDS`, -1 where unknown
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sidgan import audio
from sidgan.config import MEL_STEPS
from sidgan.errors import DataError
from sidgan.types import Float

HEARD = 7  #: column of a mel window whose phoneme is its label: the frame's time, see `sidgan.audio.window_start`
UNKNOWN = -1  #: label of a column without a known phoneme


@dataclass(frozen=True)
class Recording:
    """A recording of one voice: mel (80, n) float16, and the phoneme of each column (n,) int8."""

    voice: str
    mel: Float
    sounds: np.ndarray


def read_recording(path: Path) -> Recording:
    """A labelled recording, ``VOICE/NAME.npz``.

    Raises:
        DataError: the file cannot be read, or is no labelled recording.
    """
    try:
        with np.load(path) as arrays:
            return Recording(path.parent.name, arrays["mel"], arrays["sounds"])
    except KeyError:
        raise DataError(f"{path} is not a labelled recording; give a folder from sidgan label") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__}); remove it and label again") from None


class SpeechSet:
    """Labelled recordings in memory; a voice is drawn with a weight of the square root of its duration.

    Attributes:
        voices: recordings of each voice.
        seconds: duration of all recordings.
    """

    def __init__(self, recordings: Iterable[Recording]) -> None:
        self.voices: defaultdict[str, list[Recording]] = defaultdict(list)
        for recording in recordings:
            if recording.mel.shape[1] > MEL_STEPS:
                self.voices[recording.voice].append(recording)
        self._names = sorted(self.voices)
        columns = np.array([sum(r.mel.shape[1] for r in self.voices[n]) for n in self._names], np.float64)
        self._probabilities = np.sqrt(columns) / np.sqrt(columns).sum()
        self.seconds = float(columns.sum()) / audio.STEPS_PER_SECOND

    @classmethod
    def read(cls, folders: Sequence[Path]) -> SpeechSet:
        """All recordings in some labelled folders.

        Raises:
            DataError: there are none, all are too short, or one cannot be read.
        """
        paths = [p for folder in folders for p in sorted(folder.glob("*/*.npz"))]
        if not paths:
            raise DataError(f"no labelled recordings in {', '.join(map(str, folders))}; make them with sidgan label")
        speech = cls(read_recording(path) for path in paths)
        if not speech.voices:
            raise DataError(f"all recordings in {', '.join(map(str, folders))} are too short; label longer ones")
        return speech

    def divided(self, held: int) -> tuple[SpeechSet, SpeechSet]:
        """Training and held-out set: every ``held``-th voice is held out."""
        held_out = set(self._names[held - 1 :: held])
        parts = ([r for n in self._names if (n in held_out) == part for r in self.voices[n]] for part in (False, True))
        return SpeechSet(next(parts)), SpeechSet(next(parts))

    def draw(self, rng: np.random.Generator, count: int, each: int) -> tuple[np.ndarray, np.ndarray]:
        """A batch of random mel windows: ``each`` windows from each of ``count`` random recordings.

        Returns:
            Mels (count, each, 1, 80, 16) float32, and phoneme labels (count, each) int64.
        """
        mels, sounds = [], []
        for _ in range(count):
            recordings = self.voices[self._names[int(rng.choice(len(self._names), p=self._probabilities))]]
            lengths = np.array([r.mel.shape[1] for r in recordings], np.float64)
            recording = recordings[int(rng.choice(len(recordings), p=lengths / lengths.sum()))]
            starts = rng.integers(0, recording.mel.shape[1] - MEL_STEPS + 1, each)
            mels.append(np.stack([recording.mel[:, s : s + MEL_STEPS] for s in starts]))
            sounds.append(recording.sounds[starts + HEARD])
        return np.stack(mels).astype(np.float32)[:, :, None], np.stack(sounds).astype(np.int64)
