"""Make a training set of synthetic people, each speaking a random line.

    python tools/make_synth_set.py OUT --people 40 --seconds 4 --size 320

writes ``OUT/person_0000.mp4``, ``person_0001.mp4``, ... with sound. Person k and the line depend only on k and
``--first``, so a set can be extended later or made in parts.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from sidgan.media import write_clip
from sidgan.synth import Person, Scene, random_line

RATE = 16_000


def draw(path: Path, seed: int, seconds: float, size: int, fps: Fraction) -> None:
    """Write the clip of one person; position, size and head motion vary with the seed."""
    cv2.setNumThreads(1)  # the processes already use every core
    rng = np.random.default_rng([seed, 9])
    scene = Scene(
        Person.random(seed),
        random_line(rng, seconds),
        rate=fps,
        size=(size, size),
        face_px=size * float(rng.uniform(0.68, 0.84)),
        centre=(size * float(rng.uniform(0.46, 0.54)), size * float(rng.uniform(0.44, 0.50))),
        motion=float(rng.uniform(0.4, 1.3)),
    )
    images = (shot.image for shot in scene)
    write_clip(path, images, fps, scene.audio(RATE), RATE, crf=14, preset="veryfast")


def main() -> None:
    """Draw all clips in parallel."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the clips, made if missing")
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first person")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--size", type=int, default=320, help="side of the square pictures, px")
    parser.add_argument("--fps", type=Fraction, default=Fraction(25))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(args.workers) as pool:
        jobs = {
            pool.submit(draw, args.out / f"person_{k:04d}.mp4", args.first + k, args.seconds, args.size, args.fps): k
            for k in range(args.people)
        }
        for job, k in jobs.items():
            job.result()
            print(f"person {k + 1} of {args.people}", flush=True)


if __name__ == "__main__":
    main()
