"""Separates background sound from speech with Demucs, a source separation tool that runs as a program of its own.

It needs several times the memory of the sound it works on, so the sound is divided into overlapping pieces of about two
minutes, which are cross-faded afterwards.
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
RATE = 44_100  #: Hz, sample rate of the tool's networks, so that the tool does not resample
PIECE, OVERLAP = 120 * RATE, 4 * RATE  #: samples
SLACK = RATE // 100  #: samples by which the length of a result may differ from that of its input
LOOK = 0.2  #: seconds between checks of the tool's progress
Show = Callable[[str, int, int], None]


def separator() -> list[str] | None:
    """The command that runs the tool: from PATH, or its Python package; ``None`` if neither is installed."""
    found = shutil.which(TOOL)
    if found is not None:
        return [found]
    return [sys.executable, "-m", TOOL] if find_spec(TOOL) is not None else None


def require_separator() -> list[str]:
    """The command that runs the tool.

    Raises:
        ConfigError: it is not installed.
    """
    command = separator()
    if command is None:
        raise ConfigError(f"{TOOL}, which separates speech from the rest, is not installed; run: {INSTALL}")
    return command


def write_rest(path: Path, source: Path, *, device: str = "auto", progress: Show | None = None) -> None:
    """Write the sound of a file without speech: 16-bit stereo at 44.1 kHz, from time 0 on, as long as its sound.

    Args:
        path: a ``.wav`` file; temporary files of four times its size are kept beside it meanwhile.
        source: a sound or video file.
        device: device of the dub; ``auto`` leaves the choice to the tool.
        progress: called with the stage ``separate``, the number of pieces done, and their total number.

    Raises:
        ConfigError: the tool is not installed.
        InputError: the source has no sound, or cannot be read.
        OutputError: ``path`` cannot be written.
        SidganError: the tool failed, or its result has another length or format than its input.
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
    """The sound of a file as (n, 2) pieces of `PIECE` + `OVERLAP` samples, one every `PIECE`; the last is shorter."""
    held, first = np.zeros((0, 2), np.float32), True
    for samples in samples_from(source, RATE, "stereo"):
        held = np.concatenate([held, samples.T])
        while len(held) >= PIECE + OVERLAP:
            yield held[: PIECE + OVERLAP]
            held, first = held[PIECE:], False
    if first or len(held) > OVERLAP:
        yield held


def _joined(pieces: Iterator[Float]) -> Iterator[Float]:
    """The inverse of `_pieces`: overlapping pieces are joined by a linear cross-fade."""
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
    """Run the tool on all pieces; it is killed if this function is interrupted by any exception."""
    names = [f"{k:04}.wav" for k in range(count)]
    with (folder / "log").open("wb") as log:
        try:
            tool = subprocess.Popen([*command, *names], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            raise SidganError(f"{TOOL} cannot be started: {error}; install it again: {INSTALL}") from error
        try:
            progress("separate", 0, count)  # also for a tool that ends before the first check
            while tool.poll() is None:
                progress("separate", len(list(folder.glob(_stem("*")))), count)
                time.sleep(LOOK)
        finally:
            tool.kill()
            tool.wait()
    if tool.returncode or len(list(folder.glob(_stem("*")))) < count:
        lines = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        messages = [line.strip() for line in lines if line.strip() and "%|" not in line]  # without progress bars
        reason = messages[-1] if messages else f"it ended with code {tool.returncode} without a message"
        raise SidganError(f"{TOOL} did not separate the sound: {reason} (its first run needs the internet, to download "
                          "its weights)")  # fmt: skip


def _stem(name: str) -> str:
    return f"separated/*/{name}/no_vocals.wav"


def _rest(folder: Path, number: int, length: int) -> Float:
    """The tool's result for a piece: (length, 2) float32 samples with the values of 16-bit PCM.

    Raises:
        SidganError: it has another length, rate or format than the piece.
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
