"""Whether memory grows with the length of a video: dub a clip, dub the same clip repeated, compare the peaks.

    python benchmarks/memory.py [VIDEO VOICE] [--times 10] [--frames 96] [--rounds 1] [--model bundled]

Without a video, the clip in the package is used: 96 frames, after which queues are full and the allocator is in a
steady state. Each dub runs in a process of its own. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from footage import excerpt, repeat, voice
from timing import machine, spread

from sidgan import media


def peak(video: Path, voice: Path, out: Path, model: str) -> tuple[float, int, int]:
    """Peak memory in MiB, frames, and dubbed frames of one dub."""
    command = [sys.executable, "-m", "sidgan", "dub", video, voice, "-o", out, "--model", model, "--json"]
    report = json.loads(subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout)
    return report["memory"], report["frames"], report["dubbed"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("voice", type=Path, nargs="?", default=voice())
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--frames", type=int, default=96, help="without a video: of the one in the package")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", default="bundled")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = args.video or excerpt(folder / "clip.mp4", args.frames)
        long_video, long_voice = folder / f"long{video.suffix}", folder / "long.mka"
        repeat(video, long_video, args.times, "video")
        repeat(args.voice, long_voice, args.times, "audio")
        clip = media.probe(video)
        peaks = []
        for _ in range(args.rounds):
            short, frames, _ = peak(video, args.voice, folder / "short.mp4", args.model)
            long, more, dubbed = peak(long_video, long_voice, folder / "out.mp4", args.model)
            peaks.append((short, long))
    card = {"benchmark": "memory", "picture": f"{clip.width}x{clip.height}", "times": args.times,
            "frames": [frames, more], "dubbed": dubbed, "peak_mib": peaks,
            **spread([long / short for short, long in peaks]), **machine()}  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
