"""Dub the pictures of a camera or another program live: raw RGB from stdin, raw RGB to stdout.

ffmpeg -i camera -f rawvideo -pix_fmt rgb24 -s 640x480 -r 25 - | python examples/stream.py 640x480 25 voice.wav \
    | ffplay -f rawvideo -pixel_format rgb24 -video_size 640x480 -framerate 25 -

Without arguments, the clip that comes with the package replaces the camera, and only the delay is printed.
"""

import sys
from collections.abc import Iterator
from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np

from sidgan import Dubber, media
from sidgan.types import Byte

ASSETS = Path(str(resources.files("sidgan") / "assets"))


def pipe(size: str, rate: str, voice: str) -> None:
    """Dub raw RGB pictures from stdin to stdout."""
    width, height = map(int, size.split("x"))

    def camera() -> Iterator[Byte]:
        while len(raw := sys.stdin.buffer.read(width * height * 3)) == width * height * 3:
            yield np.frombuffer(raw, np.uint8).reshape(height, width, 3)

    for picture in Dubber().stream(camera(), media.decode_audio(Path(voice)), rate=float(rate)):
        sys.stdout.buffer.write(picture.tobytes())


def rehearse(pictures: int = 40) -> None:
    """Dub the bundled clip as if it were live, and print the delay in pictures."""
    clip, taken = media.probe(ASSETS / "demo.mp4"), 0

    def camera() -> Iterator[Byte]:
        nonlocal taken
        for _, picture in islice(media.read_rgb(clip.path), pictures):
            taken += 1
            yield picture

    voice = media.decode_audio(ASSETS / "demo_voice.m4a")
    behind = [taken - given for given, _ in enumerate(Dubber().stream(camera(), voice, rate=clip.frame_rate), 1)]
    print(f"{len(behind)} pictures dubbed, each with at most {max(behind)} more taken after it")


if __name__ == "__main__":
    pipe(*sys.argv[1:]) if len(sys.argv) == 4 else rehearse()
