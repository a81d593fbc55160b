"""Load a model once, and receive every frame before and after it is drawn: to display, check or forward it.

python examples/watch_frames.py talk.mp4 german.wav
"""

import sys
from importlib import resources
from pathlib import Path

import numpy as np

from sidgan import Dubber
from sidgan.types import Frame


def main() -> None:
    """Print for each frame which share of its luma changed, and the largest change."""
    assets = Path(str(resources.files("sidgan") / "assets"))
    video, voice, *_ = sys.argv[1:] or (assets / "demo.mp4", assets / "demo_voice.m4a")

    def watch(before: Frame, after: Frame) -> None:  # planes are those of the output: read only, do not write
        change = np.abs(before.planes[0].astype(int) - after.planes[0].astype(int))
        print(f"{float(after.time):6.2f} s  {(change > 0).mean():6.1%} of the picture, at most {change.max()} levels")

    dubber = Dubber(device="auto")  # loads the weights once, for as many videos as you like
    report = dubber.dub(Path(video), Path(voice), Path("watched.mp4"), on_frame=watch)
    print(f"drawn by {report.model} with {report.engine}, peak memory {report.memory:.0f} MiB")


if __name__ == "__main__":
    main()
