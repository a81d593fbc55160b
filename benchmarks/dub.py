"""How close a dub comes to its bound: the network alone, or decode + track + encode shared out over the cores.

    python benchmarks/dub.py VIDEO VOICE [--rounds 5]

All parts of a round run one after another on the same file (A B A B ...); the first round is dropped. The last line is
one JSON object. Absolute times depend on the machine and its load; the ratio is what to quote.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sidgan import checkpoint, faces, media
from sidgan.config import MEL_MARGIN, MEL_STEPS
from sidgan.dubbing import Dubber
from sidgan.engine import Engine


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Wall seconds, CPU seconds and result of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def network_alone(engine: Engine, size: int, frames: int) -> None:
    """As many frames through the generator as the video has, from memory."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, size, size, 3), np.uint8)
    masks, mels = np.zeros((8, size, size), np.float32), np.zeros((8, 1, 80, MEL_STEPS + 2 * MEL_MARGIN), np.float32)
    reference = engine.encode_reference(images[: engine.references])
    for _ in range(-(-frames // 8)):
        engine.run(images, masks, mels, reference)


def pixels_alone(video: Path, out: Path) -> None:
    """Decode, follow the faces, encode; nothing is drawn."""
    clip = media.probe(video)
    tracker = faces.Tracker()
    with media.Writer(out, clip) as writer:
        for frame in media.read_frames(clip):
            tracker.add(frame)
            writer.write(frame)
    tracker.finish()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path)
    parser.add_argument("voice", type=Path)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    generator = checkpoint.load_generator(args.model)
    dubber, engine = Dubber(generator=generator), Engine(generator)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds + 1):
            wall, cpu, report = timed(lambda: dubber.dub(args.video, args.voice, Path(folder) / "dub.mp4"))
            frames = report.dubbed  # type: ignore[attr-defined]
            network, _, _ = timed(lambda n=frames: network_alone(engine, generator.config.size, n))
            _, pixels, _ = timed(lambda: pixels_alone(args.video, Path(folder) / "same.mp4"))
            bound = max(network, pixels / (os.cpu_count() or 1))
            row = {"wall": wall, "cpu": cpu, "network_wall": network, "pixels_cpu": pixels, "ratio": wall / bound}
            print(f"round {turn}{' (dropped)' if turn == 0 else ''}: "
                  + "  ".join(f"{k} {v:.2f}" for k, v in row.items()), flush=True)  # fmt: skip
            if turn:
                rows.append(row)
    ratios = [row["ratio"] for row in rows]
    card = {
        "benchmark": "dub / bound", "ratio": round(statistics.median(ratios), 3),
        "ratio_min_max": [round(min(ratios), 3), round(max(ratios), 3)],
        "cpu_ms_per_frame": round(1000 * statistics.median(r["cpu"] for r in rows) / report.frames, 1),  # type: ignore[attr-defined]
        "stages": report.seconds, "frames": report.frames, "peak_mib": report.memory,  # type: ignore[attr-defined]
        "cores": os.cpu_count(), "torch": torch.__version__, "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
