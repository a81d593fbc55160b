"""Dub a video in three lines. Without arguments, it uses the clip and the voice that come with the package.

python examples/dub_in_three_lines.py talk.mp4 german.wav out.mp4
"""

import sys
from importlib import resources
from pathlib import Path

import sidgan


def main() -> None:
    """Name the files, dub, print the result."""
    assets = Path(str(resources.files("sidgan") / "assets"))
    video, voice, out = sys.argv[1:] or (assets / "demo.mp4", assets / "demo_voice.m4a", Path("out.mp4"))
    report = sidgan.dub(Path(video), Path(voice), Path(out))
    print(f"{report.dubbed} of {report.frames} frames dubbed in {report.wall:.0f} s -> {out}")


if __name__ == "__main__":
    main()
