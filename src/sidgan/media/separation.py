"""What is heard in a file beside speech, found by Demucs, a tool for source separation that runs as its own program.

It needs several times the memory of the sound it works on, so it is given pieces of two minutes and some seconds; where
two of them overlap, one is faded into the other.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sidgan.errors import ConfigError, SidganError
from sidgan.media.files import finished, writing
from sidgan.media.sound import pcm, pcm_file, samples_from
from sidgan.types import Float

TOOL, MODEL = "demucs", "htdemucs"
INSTALL = "pip install 'sidgan[separate]'"
RATE = 44_100  #: Hz, of the tool's networks: neither side converts
PIECE, OVERLAP = 120 * RATE, 4 * RATE  #: samples
SLACK = RATE // 100  #: samples by which a result may be longer or shorter than what was given
LOOK = 0.2  #: seconds between two looks at how far the tool is
Show = Callable[[str, int, int], None]


def separator() -> list[str] | None:
    """The command of the tool: the one on PATH, or the package beside this one; ``None`` where there is neither."""
    found = shutil.which(TOOL)
    if found is not None:
        return [found]
    return [sys.executable, "-m", TOOL] if find_spec(TOOL) is not None else None


def require_separator() -> list[str]:
    """The command of the tool.

    Raises:
        ConfigError: it is not installed.
    """
    command = separator()
    if command is None:
        raise ConfigError(f"{TOOL}, which separates speech from the rest, is not installed; run: {INSTALL}")
    return command


def write_rest(path: Path, source: Path, *, device: str = "auto", progress: Show | None = None) -> None:
    """Write what is heard in a file beside speech: 16-bit stereo at 44.1 kHz, from time 0 on, as long as its sound.

    Args:
        path: a ``.wav``; what the tool works on lies beside it for as long as that takes, four times its size.
        source: a sound or video file.
        device: of `sidgan.dub`; ``auto`` is the tool's own choice.
        progress: told how many pieces are done, of how many.

    Raises:
        ConfigError: the tool is not installed.
        InputError: the source has no sound, or cannot be read.
        OutputError: ``path`` cannot be written.
        SidganError: the tool failed, or gave something else than it was given.
    """
    command = [*require_separator(), "-n", MODEL, "--two-stems", "vocals", "--shifts", "0", "--clip-mode", "clamp",
               *(() if device == "auto" else ("--device", device)), "--out", "separated"]  # fmt: skip
    with finished(path) as part, TemporaryDirectory(prefix="separating-", dir=path.parent) as name:
        folder = Path(name)
        with writing(path):
            lengths = [_write_piece(folder / f"{k:04}.wav", piece) for k, piece in enumerate(_pieces(source))]
        _run(command, folder, len(lengths), progress or (lambda stage, done, total: None))
        with writing(path), pcm_file(part, 2, RATE) as file:
            for block in _joined(_rest(folder, k, length) for k, length in enumerate(lengths)):
                file.writeframes(np.round(block).astype("<i2").tobytes())


def _pieces(source: Path) -> Iterator[Float]:
    """The sound of a file as (n, 2) pieces of `PIECE` + `OVERLAP` samples, one every `PIECE`; the last ends with it."""
    held, first = np.zeros((0, 2), np.float32), True
    for samples in samples_from(source, RATE, "stereo"):
        held = np.concatenate([held, samples.T])
        while len(held) >= PIECE + OVERLAP:
            yield held[: PIECE + OVERLAP]
            held, first = held[PIECE:], False
    if first or len(held) > OVERLAP:
        yield held


def _joined(pieces: Iterator[Float]) -> Iterator[Float]:
    """The same sound again, without what is there twice: where two pieces overlap, the second comes in evenly."""
    held = np.zeros((0, 2), np.float32)
    for piece in pieces:
        rise = ((np.arange(len(held)) + 0.5) / max(len(held), 1))[:, None]
        piece[: len(held)] = held * (1 - rise) + piece[: len(held)] * rise
        yield piece[:PIECE]
        held = piece[PIECE:]
    yield held


def _write_piece(path: Path, samples: Float) -> int:
    with pcm_file(path, 2, RATE) as file:
        file.writeframes(pcm(samples.T))
    return len(samples)


def _run(command: Sequence[str], folder: Path, count: int, progress: Show) -> None:
    """Let the tool work on all pieces. It is stopped when the caller gives up waiting for it, for whatever reason."""
    names = [f"{k:04}.wav" for k in range(count)]
    with (folder / "log").open("wb") as log:
        try:
            tool = subprocess.Popen([*command, *names], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            raise SidganError(f"{TOOL} cannot be started: {error}; install it again: {INSTALL}") from error
        try:
            progress("separate", 0, count)  # also of a tool that has ended before anybody looks
            while tool.poll() is None:
                progress("separate", len(list(folder.glob(_stem("*")))), count)
                time.sleep(LOOK)
        finally:
            tool.kill()
            tool.wait()
    if tool.returncode or len(list(folder.glob(_stem("*")))) < count:
        lines = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        told = [line.strip() for line in lines if line.strip() and "%|" not in line]  # without bars of progress
        reason = told[-1] if told else f"it ended with code {tool.returncode} without a message"
        raise SidganError(f"{TOOL} did not separate the sound: {reason} (its first run needs the internet, to download "
                          "its weights)")  # fmt: skip


def _stem(name: str) -> str:
    return f"separated/*/{name}/no_vocals.wav"


def _rest(folder: Path, number: int, length: int) -> Float:
    """(length, 2) samples in units of 16 bits: what the tool made of a piece.

    Raises:
        SidganError: it has another length, rate or format.
    """
    (path,) = folder.glob(_stem(f"{number:04}"))
    try:
        with wave.open(str(path), "rb") as file:
            rate, kind, count = file.getframerate(), (file.getnchannels(), file.getsampwidth()), file.getnframes()
            data = file.readframes(count)
    except (wave.Error, EOFError) as error:
        raise SidganError(f"{TOOL} wrote an invalid sound file ({error})") from error
    if rate != RATE or kind != (2, 2) or abs(count - length) > SLACK:
        raise SidganError(f"{TOOL} gave {count} samples of {rate} Hz, {kind[0]} channels and {8 * kind[1]} bits for "
                          f"{length} of {RATE} Hz, 2 and 16; another version of it may fit: {INSTALL}")  # fmt: skip
    samples = np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.float32)[:length]
    return np.pad(samples, ((0, length - len(samples)), (0, 0)))
