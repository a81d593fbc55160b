"""How close the time of a dub is to its lower bound, and how it compares with the way other systems work (`field`).

    python benchmarks/dub.py [VIDEO VOICE] [--hd] [--frames 48] [--rounds 3]

Without a video, the clip in the package is used, with ``--hd`` padded to 1920 x 1080. In each round all parts run one
after another on the same file (A B C A B C ...); the first round is dropped. Ratios are computed within each round; the
median is given with the range of all rounds.

- dub / bound: in wall time, the bound is the longer of the network alone, and decode + track + encode divided by the
  number of cores. In processor time, it is the sum of both.
- field / dub: the other systems' time over ours, for the whole dub, and without the network, which both share.
- field / bound: what field / dub would be for a dub at its bound.

The last line is one JSON object. Absolute times depend on the machine and its load, so quote the ratios; on a machine
with other load, those of processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import as_command  # noqa: F401
import field
import numpy as np
from footage import FULL_HD, excerpt, voice
from timing import Spent, machine, spent, spread

from sidgan import checkpoint, faces, media
from sidgan.config import MEL_MARGIN, MEL_STEPS
from sidgan.dubbing import Dubber, DubReport
from sidgan.engine import Engine


def network_alone(engine: Engine, frames: int) -> None:
    """Run the generator on as many faces as the video has frames, from memory."""
    rng, size = np.random.default_rng(0), engine.size
    images = rng.integers(0, 256, (engine.batch, size, size, 3), np.uint8)
    masks = np.zeros((engine.batch, size, size), np.float32)
    mels = np.zeros((engine.batch, 1, 80, MEL_STEPS + 2 * MEL_MARGIN), np.float32)
    reference = engine.encode_reference(images[: engine.references])
    for _ in range(-(-frames // engine.batch)):
        engine.run(images, masks, mels, reference)


def pixels_alone(video: Path, out: Path) -> None:
    """Decode, track the faces, encode; nothing is drawn."""
    clip = media.probe(video)
    tracker = faces.Tracker()
    with media.Writer(out, clip) as writer:
        for frame in media.read_frames(clip):
            tracker.add(frame)
            writer.write(frame)
    tracker.finish()


def one_round(dubber: Dubber, video: Path, said: Path, folder: Path) -> tuple[DubReport, dict[str, Spent]]:
    """Time a dub, its parts alone, and the dub of `field`."""
    whole, report = spent(lambda: dubber.dub(video, said, folder / "dub.mp4"))
    engine = dubber.engine.fitting(report.face_side)
    network, _ = spent(lambda: network_alone(engine, report.dubbed))
    pixels, _ = spent(lambda: pixels_alone(video, folder / "same.mp4"))
    theirs, inside = spent(lambda: field.dub(video, said, folder / "field.mp4", engine))
    return report, {"dub": whole, "network": network, "pixels": pixels, "field": theirs, "field_network": inside}


def ratios(rows: list[dict[str, Spent]]) -> dict[str, dict[str, float | list[float]]]:
    """The ratios to quote, from the times of each round."""
    cores = os.cpu_count() or 1
    return {
        "dub / bound, wall": spread([r["dub"].wall / max(r["network"].wall, r["pixels"].cpu / cores) for r in rows]),
        "dub / bound, cpu": spread([r["dub"].cpu / (r["network"].cpu + r["pixels"].cpu) for r in rows]),
        "field / dub, wall": spread([r["field"].wall / r["dub"].wall for r in rows]),
        "field / dub, cpu": spread([r["field"].cpu / r["dub"].cpu for r in rows]),
        "field / dub but for the network, cpu": spread([
            (r["field"].cpu - r["field_network"].cpu) / (r["dub"].cpu - r["network"].cpu) for r in rows
        ]),
        "field / bound, cpu": spread([r["field"].cpu / (r["network"].cpu + r["pixels"].cpu) for r in rows]),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("voice", type=Path, nargs="?", default=voice())
    parser.add_argument("--hd", action="store_true", help="without a video: in the middle of 1920 x 1080")
    parser.add_argument("--frames", type=int, default=48, help="without a video: of the one in the package")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    dubber = Dubber(generator=checkpoint.load_generator(args.model))
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = args.video or excerpt(folder / "clip.mp4", args.frames, FULL_HD if args.hd else None)
        for turn in range(args.rounds + 1):
            report, row = one_round(dubber, video, args.voice, folder)
            told = "  ".join(f"{k} {v.wall:.2f} s wall {v.cpu:.2f} s cpu" for k, v in row.items())
            print(f"round {turn}{' (dropped)' if turn == 0 else ''}: {told}", flush=True)
            rows += [row] * (turn > 0)
        clip = media.probe(video)
    per_frame = {k: round(1000 * float(np.median([r[k].cpu for r in rows])) / report.frames, 1) for k in rows[0]}
    card = {
        "benchmark": "dub", "picture": f"{clip.width}x{clip.height}", "frames": report.frames,
        "face": [report.face_side, dubber.engine.fitting(report.face_side).size], "rounds": args.rounds,
        "ratios": ratios(rows), "cpu_ms_per_frame": per_frame, "stages_wall": report.seconds,
        "peak_mib": report.memory, "engine": report.engine, **machine(),
    }  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
