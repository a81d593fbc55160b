"""Whether memory grows with length: dub a clip, dub the same clip repeated, compare the peaks.

    python benchmarks/memory.py VIDEO VOICE [--times 10]

Each dub runs in a process of its own. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av


def repeat(source: Path, out: Path, times: int, kind: str) -> None:
    """Copy the packets of the first video or audio stream ``times`` times in a row, without decoding them."""
    with av.open(str(out), "w") as target:
        stream = None
        offset = 0
        for _ in range(times):
            with av.open(str(source)) as file:
                template = file.streams.video[0] if kind == "video" else file.streams.audio[0]
                stream = stream or target.add_stream_from_template(template)
                packets = [p for p in file.demux(template) if p.pts is not None and p.dts is not None]
                length = packets[0].duration or int(1 / (template.average_rate * template.time_base))
                begin = packets[0].dts
                span = max(p.pts for p in packets) + length - min(p.pts for p in packets)
                for packet in packets:
                    packet.pts, packet.dts = packet.pts - begin + offset, packet.dts - begin + offset
                    packet.stream = stream
                    target.mux(packet)
                offset += span


def peak(video: Path, voice: Path, out: Path, model: str) -> tuple[float, int, int]:
    """Peak memory in MiB, frames, and dubbed frames of one dub."""
    command = [sys.executable, "-m", "sidgan", "dub", video, voice, "-o", out, "--model", model, "--json"]
    report = json.loads(subprocess.run([*map(str, command)], check=True, capture_output=True, text=True).stdout)
    return report["memory"], report["frames"], report["dubbed"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("voice", type=Path)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--model", default="bundled")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long_video, long_voice = folder / f"long{args.video.suffix}", folder / "long.mka"
        repeat(args.video, long_video, args.times, "video")
        repeat(args.voice, long_voice, args.times, "audio")
        short, frames, _ = peak(args.video, args.voice, folder / "short.mp4", args.model)
        long, more, dubbed = peak(long_video, long_voice, folder / "out.mp4", args.model)
    card = {"benchmark": "memory", "times": args.times, "frames": [frames, more], "dubbed": dubbed,
            "peak_mib": [short, long], "ratio": round(long / short, 3)}  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
