"""The process that `sidgan.web.prober` starts: it looks at files, and may be ended by any of them."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidgan import media
from sidgan.errors import SidganError
from sidgan.portable import bound_memory

SECONDS = 20  #: for one file, by the clock
MEMORY = 3 << 30  #: bytes of address space; libraries and threads take 1 GB of it before the first file
SMALLEST = 64  #: px


def judged(path: Path, kind: str, pixels: int, most: int, seconds: float) -> dict[str, Any]:
    """Facts about a file, which gets its name for good: FFmpeg goes by names too, so it is looked at under that one.

    Raises:
        SidganError: it is not of its kind, or exceeds a limit.
    """
    path = path.rename(path.with_name(f"original{media.stated(path, most).suffix}"))
    found = media.stated(path, most)
    if kind == "video" and not found.frames:
        raise SidganError(f"{path} has no moving picture; give a video, such as mp4, mov, mkv or webm")
    if kind == "voice" and not found.sound:
        raise SidganError(f"{path} has no sound; give a recording of speech, or a video with sound")
    if found.seconds > seconds:
        raise SidganError(f"{path} lasts {found.seconds:.0f} s; only {seconds:.0f} s are allowed: give a part of it")
    if found.frames > most:
        raise SidganError(f"{path} has more than the allowed {most} frames; give a part of it")
    if found.frames and not found.width * found.height:
        raise SidganError(f"{path} has frames of an impossible size; convert it to mp4")
    if found.width * found.height > pixels:
        raise SidganError(f"{path} is {found.width} x {found.height} px, which is too large; "
                          f"give at most {pixels / 1e6:.1f} million px")  # fmt: skip
    facts = asdict(found)
    if kind == "video":
        clip = media.probe(path)
        facts |= {"width": clip.width, "height": clip.height, "rate": round(float(clip.frame_rate), 3)}
        if clip.width * clip.height > pixels or min(clip.width, clip.height) < SMALLEST:
            raise SidganError(f"{path} is {clip.width} x {clip.height} px; give a video of {SMALLEST} px to "
                              f"{pixels / 1e6:.1f} million px")  # fmt: skip
    if kind == "voice":
        next(media.decode_audio(path), None)
    return facts


def main() -> None:
    """Answer until nobody asks."""
    bound_memory(MEMORY)
    for line in sys.stdin:
        path, *how = json.loads(line)
        _wake(SECONDS)
        try:
            told = judged(Path(path), *how)
        except SidganError as error:
            told = {"error": " ".join(str(error).split())}
        except (MemoryError, ValueError, OSError, ArithmeticError) as error:
            told = {"error": f"{path} cannot be read ({type(error).__name__}); convert it to mp4"}
        _wake(0)
        print(json.dumps(told), flush=True)


def _wake(seconds: int) -> None:
    """End the process in so many seconds, whatever it is in the middle of: nobody handles the signal; never with 0."""
    if sys.platform != "win32":
        signal.alarm(seconds)


if __name__ == "__main__":
    main()
