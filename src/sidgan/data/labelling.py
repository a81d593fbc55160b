"""Label recordings with phonemes by a phone recogniser (PocketSphinx, extra ``speech``), for `sidgan.data.speech`.

Many labels are wrong, but the errors differ from voice to voice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import audio, media
from sidgan.config import MEL_STEPS
from sidgan.data.listing import files_below, require_distinct
from sidgan.data.speech import UNKNOWN, read_recording
from sidgan.errors import InputError, SidganError
from sidgan.executors import Executor, local
from sidgan.files import write_arrays, writing
from sidgan.nn import SOUNDS
from sidgan.types import Float

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".mp4", ".mkv", ".webm", ".mov", ".g722"}
LONGEST = 600.0  #: seconds; the rest of a longer recording is not used
QUIET = 1e-3  #: a recording with a lower peak counts as silent
PEAK = 0.85  #: peak to which recordings are scaled for the recogniser
PHONE_RATE = 100  #: recogniser frames per second
PHONE_CENTRE = 0.0128  #: seconds from the start of such a frame to its middle

Spoken = tuple[str, float, float]  #: a phoneme of `sidgan.nn.SOUNDS`, its start and its end in seconds


def label(
    folder: Path, out: Path, *, executor: Executor | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, float]:  # fmt: skip
    """Label every recording below ``folder`` with its phonemes; files that are labelled already are skipped.

    Args:
        folder: audio or video files. The first subfolder names the voice; files in ``folder`` itself count as one
            voice each.
        out: where the results go.
        executor: runs the jobs, see `sidgan.executors`; by default this process.
        progress: called with the number of recordings done and the total.
        report: called with one line about each recording that cannot be used.

    Returns:
        Seconds of recordings by voice.

    Raises:
        SidganError: PocketSphinx is not installed.
        InputError: no such folder, no recordings in it, or two that would be labelled under one name.
        OutputError: the results cannot be written.
    """
    recogniser()
    paths = [p for p in files_below(folder) if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise InputError(f"no recordings ({', '.join(sorted(SUFFIXES))}) in {folder}")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    voices: defaultdict[str, float] = defaultdict(float)
    jobs = [(path, out / _target(path.relative_to(folder))) for path in paths]
    require_distinct(((target, path) for path, target in jobs), "labelled")  # a/b.wav and a__b.wav of one voice
    for done, (job, found) in enumerate(zip(jobs, (executor or local())(_job, jobs), strict=True), 1):
        if isinstance(found, str):
            report(found)
        else:
            voices[job[1].parent.name] += found
        progress(done, len(jobs))
    return dict(voices)


def _target(path: Path) -> Path:
    """VOICE/NAME.npz for a recording at a relative path."""
    voice = path.parts[0] if len(path.parts) > 1 else path.stem
    return Path(voice, "__".join(path.parts[1:] or path.parts) + ".npz")


def _job(job: tuple[Path, Path]) -> float | str:
    """Label one recording; returns its seconds, or why it cannot be used."""
    path, target = job
    if target.is_file():
        return len(read_recording(target).sounds) / audio.STEPS_PER_SECOND
    try:
        samples = media.read_audio(path)[: int(LONGEST * audio.SAMPLE_RATE)]
    except InputError as error:
        return str(error)
    if len(samples) < MEL_STEPS * audio.HOP or np.abs(samples).max() < QUIET:
        return f"{path}: too short, or silent"
    mel = audio.log_mel(samples)
    sounds = by_column(recognise(samples), mel.shape[1])
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(target, {"mel": mel.astype(np.float16), "sounds": sounds})
    return mel.shape[1] / audio.STEPS_PER_SECOND


def recogniser() -> Any:
    """A new phone recogniser. It adapts to what it hears, so each recording needs its own to give repeatable results.

    Raises:
        SidganError: PocketSphinx is not installed.
    """
    try:
        from pocketsphinx import Decoder, get_model_path
    except ImportError:
        raise SidganError("finding speech sounds needs PocketSphinx; run: pip install 'sidgan[speech]'") from None
    return Decoder(
        hmm=get_model_path("en-us/en-us"), allphone=get_model_path("en-us/en-us-phone.lm.bin"), lm=None, dict=None,
        lw=2.0, beam=1e-20, pbeam=1e-20, loglevel="FATAL",
    )  # fmt: skip


def recognise(samples: Float) -> list[Spoken]:
    """The phonemes of a recording (n,) float32 at 16 kHz, in order of time; noises are left out.

    Raises:
        SidganError: PocketSphinx is not installed.
    """
    decoder = recogniser()
    decoder.start_utt()
    scaled = samples * (PEAK / max(float(np.abs(samples).max()), QUIET))
    decoder.process_raw((scaled * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.seg() if decoder.hyp() is not None else ()
    names = [("silence" if s.word == "SIL" else s.word, s.start_frame, s.end_frame + 1) for s in found]
    return [(n, first / PHONE_RATE, last / PHONE_RATE) for n, first, last in names if n in SOUNDS]


def by_column(spoken: Iterable[Spoken], count: int) -> np.ndarray:
    """The phoneme at each of ``count`` mel columns: (count,) int8 index into `sidgan.nn.SOUNDS`, or `UNKNOWN`."""
    sounds = np.full(count, UNKNOWN, np.int8)
    for name, first, last in spoken:
        edges = (math.ceil((t - 0.5 / PHONE_RATE + PHONE_CENTRE) * audio.STEPS_PER_SECOND) for t in (first, last))
        sounds[slice(*edges)] = SOUNDS.index(name)
    return sounds
