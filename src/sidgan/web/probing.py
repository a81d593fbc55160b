"""The process that `sidgan.web.prober` starts: it examines uploaded files, any of which may crash it."""

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

SECONDS = 20  #: wall time for one file
MEMORY = 3 << 30  #: bytes of address space; libraries and threads take 1 GB of it before the first file
MIN_SIZE = 64  #: px, width and height of a video or photo


def examine(path: Path, kind: str, pixels: int, photo: int, max_frames: int, seconds: float) -> dict[str, Any]:
    """Facts about a file, see `Prober.look`.

    The file is first renamed to its final name: FFmpeg also goes by names, so it must be examined under that name.

    Args:
        path: the file.
        kind: ``video``, which may also be a photo, or ``voice``.
        pixels, photo, max_frames, seconds: limits of the size of a frame and of a photo, of frame count and length.

    Raises:
        SidganError: the file is not of this kind, or exceeds a limit.
    """
    path = path.rename(path.with_name(f"original{media.stated(path, max_frames).suffix}"))
    found = media.stated(path, max_frames)
    if kind == "video" and not found.frames:
        raise SidganError(f"{path} has no picture; give a video, such as mp4, mov, mkv or webm, or a photo")
    if kind == "voice" and not found.sound:
        raise SidganError(f"{path} has no sound; give a recording of speech, or a video with sound")
    _require_length(path, kind, found, max_frames, seconds)
    _require_size(path, found, photo if found.still else pixels)
    facts = asdict(found) | {"suffix": path.suffix}  # under its name, a JPEG file is of another of FFmpeg's formats
    if kind == "video":
        clip = media.probe(path)
        facts |= {"width": clip.width, "height": clip.height, "rate": round(float(clip.frame_rate), 3)}
        if clip.width * clip.height > pixels or min(clip.width, clip.height) < MIN_SIZE:
            raise SidganError(f"{path} is {clip.width} x {clip.height} px; give one of {MIN_SIZE} px to "
                              f"{pixels / 1e6:.1f} million px")  # fmt: skip
    if kind == "voice":
        facts["seconds"] = found.heard
        next(media.decode_audio(path), None)
    return facts


def _require_size(path: Path, found: media.Stated, most: int) -> None:
    """Refuse frames of more than ``most`` px, or of a size that FFmpeg does not accept."""
    size = found.width * found.height
    if size > most:
        raise SidganError(f"{path} is {found.width} x {found.height} px, which is too large; "
                          f"give at most {most / 1e6:.1f} million px")  # fmt: skip
    if found.still and not size:
        raise SidganError(f"{path} is too large a picture, animated or damaged; give a jpg or png of at most "
                          f"{most / 1e6:.1f} million px")  # fmt: skip
    if found.frames and not size:
        raise SidganError(f"{path} has frames of an impossible size; convert it to mp4")


def _require_length(path: Path, kind: str, found: media.Stated, max_frames: int, seconds: float) -> None:
    """Refuse a file that is too long, or has too many frames, in all or per second."""
    longest, rate = max(found.seconds, found.heard), max_frames / seconds
    if longest > seconds:
        raise SidganError(f"{path} lasts {longest:.0f} s; only {seconds:.0f} s are allowed: give a part of it")
    if found.frames > max_frames:
        raise SidganError(f"{path} has more than the allowed {max_frames} frames; give a part of it")
    if kind == "video" and found.frames > rate * (found.seconds + 1):  # the length of the last frame may be unknown
        raise SidganError(f"{path} has {found.frames} frames in {found.seconds:.1f} s; only {rate:.0f} per second are "
                          "allowed: convert it to fewer")  # fmt: skip


def main() -> None:
    """Examine files until stdin is closed."""
    bound_memory(MEMORY)
    for line in sys.stdin:
        path, *arguments = json.loads(line)
        _set_alarm(SECONDS)
        try:
            answer = examine(Path(path), *arguments)
        except SidganError as error:
            answer = {"error": " ".join(str(error).split())}
        except (MemoryError, ValueError, OSError, ArithmeticError) as error:
            answer = {"error": f"{path} cannot be read ({type(error).__name__}); convert it to mp4"}
        _set_alarm(0)
        print(json.dumps(answer), flush=True)


def _set_alarm(seconds: int) -> None:
    """Let the unhandled SIGALRM end the process in ``seconds``; 0 cancels the alarm."""
    if sys.platform != "win32":
        signal.alarm(seconds)


if __name__ == "__main__":
    main()
