"""A stand-in for Demucs: the same command line, and for its networks arithmetic with a known result."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

#: What is "no speech" is half of the sound. The command line is that of demucs 4.1.0: other options are an error there.
SCRIPT = """#!{python}
import argparse, sys, wave
from pathlib import Path
import numpy as np

given = argparse.ArgumentParser()
given.add_argument("-n", "--name", required=True)
given.add_argument("--two-stems", dest="stem", choices=["vocals"], required=True)
given.add_argument("--shifts", type=int, choices=[0], required=True)
given.add_argument("--clip-mode", choices=["rescale", "clamp", "none"])
given.add_argument("-d", "--device")
given.add_argument("-o", "--out", type=Path, default=Path("separated"))
given.add_argument("tracks", nargs="+", type=Path)
how = given.parse_args()
with Path({calls!r}).open("a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
{before}
for track in how.tracks:
    with wave.open(str(track)) as file:
        form, data = file.getparams(), file.readframes(file.getnframes())
    sound = (np.frombuffer(data, "<i2").reshape(-1, 2) // 2).astype("<i2")
    {change}
    for stem in ("vocals", "no_vocals"):
        path = how.out / how.name / track.stem / (stem + ".wav")
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams(form)
            file.writeframes(sound.tobytes())
"""


def put_on_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, before: str = "", change: str = "pass"
) -> Path:
    """Let the stand-in be the tool that is found.

    Args:
        folder: for it.
        before: what it does first, and change: with each ``sound``, in Python.

    Returns:
        The file in which it writes a line for each call.
    """
    calls, tool = folder / "calls.txt", folder / "demucs"
    tool.write_text(SCRIPT.format(python=sys.executable, calls=str(calls), before=before, change=change))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return calls


def none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were no tool."""
    monkeypatch.setattr("sidgan.media.separation.shutil.which", lambda name: None)
    monkeypatch.setattr("sidgan.media.separation.find_spec", lambda name: None)
