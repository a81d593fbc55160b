"""What each metric costs per frame, on images in memory: frames per second, and CPU milliseconds per frame.

    python benchmarks/metrics.py [--size 256] [--frames 64] [--rounds 3] [--inception FILE] [--slow]

All metrics of a round run one after another (A B A B ...); the first round is dropped, and the median of the others is
given. Landmarks, boxes and embeddings are inputs, so their computation is not included. The SyncNet of LSE-D and LSE-C
has random weights, which does not change the speed; it is measured on fewer frames, and only with ``--slow``. Inception
needs its published file. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sidgan import checkpoint, metrics
from sidgan.config import MEL_BANDS, MEL_STEPS
from sidgan.nn import SyncNet2016

FEW = 16  #: frames for the large networks
EMBEDDING, INCEPTION = 128, 2048  #: values of a face embedding, and of an Inception feature
Part = tuple[int, Callable[[], object]]  #: number of frames that a call processes, and the call


def parts(size: int, frames: int) -> dict[str, Part]:
    """Every metric that does not need a third-party file."""
    rng = np.random.default_rng(0)
    truth = torch.from_numpy(rng.integers(0, 256, (frames, 3, size, size), np.uint8))
    images = torch.from_numpy(rng.integers(0, 256, (frames, 3, size, size), np.uint8))
    mask = torch.zeros(frames, 1, size, size)
    mask[:, :, size // 2 :, size // 4 : -size // 4] = 1
    points, true_points = rng.uniform(0, 256, (2, frames, 68, 2)).astype(np.float32)
    opening, true_opening = rng.uniform(0, 1, (2, frames))
    faces, true_faces = rng.normal(0, 0.1, (2, frames, EMBEDDING))
    features = torch.from_numpy(rng.uniform(0, 2, (frames, INCEPTION)).astype(np.float32))
    samples = rng.uniform(-0.5, 0.5, frames * 640)
    seen, heard = torch.randn(2, frames, 1024)
    mels = torch.zeros(frames, 1, MEL_BANDS, MEL_STEPS)
    expert = checkpoint.load_syncnet()
    face_moments, moments = metrics.FeatureMoments(), metrics.FeatureMoments()

    def sync() -> object:
        meter = metrics.MouthSync(expert)
        meter.update(truth, mels)
        return meter.compute()

    work: dict[str, Callable[[], object]] = {
        "psnr": lambda: metrics.psnr(images, truth),
        "psnr, masked": lambda: metrics.psnr(images, truth, mask),
        "l1, masked": lambda: metrics.l1(images, truth, mask),
        "ssim": lambda: metrics.ssim(images, truth),
        "ssim, masked": lambda: metrics.ssim(images, truth, mask),
        "lmd": lambda: metrics.lmd(points, true_points),
        "lmd_centred": lambda: metrics.lmd_centred(points, true_points),
        "lmd_normalised": lambda: metrics.lmd_normalised(points, true_points),
        "identity_distance": lambda: metrics.identity_distance(faces, true_faces),
        "opening_match": lambda: metrics.opening_match(opening, true_opening),
        "jitter": lambda: metrics.jitter(points, true_points),
        "leak": lambda: metrics.leak(opening, true_opening),
        "sync, own expert": sync,
        "moments of embeddings": lambda: face_moments.update(faces),
        "moments of Inception features": lambda: moments.update(features),
        "mfcc": lambda: metrics.mfcc(samples),
        "direct_crops": lambda: metrics.direct_crops(truth),
        "lag_match": lambda: metrics.lag_match(seen, heard),
    }
    return {name: (frames, call) for name, call in work.items()}


def slow_parts() -> dict[str, Part]:
    """The published SyncNet, of LSE-D and LSE-C."""
    judge = SyncNet2016()
    faces = torch.randint(0, 256, (FEW, 3, 224, 224), dtype=torch.uint8)

    def lag() -> object:
        meter = metrics.MouthLag(judge, np.zeros(640 * FEW))
        meter.update(faces)
        return meter.compute()

    return {"lag, embedded and matched": (FEW - 4, lag)}  # the number of windows, which is one per frame in long clips


def inception_part(file: Path, size: int) -> dict[str, Part]:
    """The network behind FID."""
    network = metrics.load_inception(file)
    images = torch.randint(0, 256, (FEW, 3, size, size), dtype=torch.uint8)
    return {"inception": (FEW, lambda: network(images))}


def once(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, px")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slow", action="store_true", help="also the judge of synchronisation")
    parser.add_argument("--inception", type=Path, help="the published file")
    args = parser.parse_args()
    work = parts(args.size, args.frames)
    work |= slow_parts() if args.slow else {}
    work |= inception_part(args.inception, args.size) if args.inception else {}
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    for turn in range(args.rounds + 1):
        for name, (_, call) in work.items():
            spent = once(call)
            if turn:
                rows[name].append(spent)
    card = {}
    for name, (frames, _) in work.items():
        wall, cpu = (statistics.median(column) for column in zip(*rows[name], strict=True))
        card[name] = {"frames_per_second": float(f"{frames / wall:.3g}"),
                      "cpu_ms_per_frame": float(f"{1000 * cpu / frames:.3g}")}  # fmt: skip
        print(f"{name:32} {frames / wall:10.0f} frames/s  {1000 * cpu / frames:9.4f} CPU-ms/frame", flush=True)
    wall, cpu = once(lambda: gaussian_distance(INCEPTION))
    print(f"{'distance of two 2048-d Gaussians':32} {wall:10.1f} s once")
    print(json.dumps({
        "benchmark": "metrics", "size": args.size, "metrics": card,
        "frechet_2048_once": {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2)},
        "threads": torch.get_num_threads(), "cores": os.cpu_count(), "torch": torch.__version__,
        "python": platform.python_version(),
    }))  # fmt: skip


def gaussian_distance(size: int) -> float:
    """Fréchet distance of two Gaussians, each estimated from ``size`` random vectors of ``size`` dimensions."""
    rng = np.random.default_rng(0)
    (mean_a, a), (mean_b, b) = ((rows.mean(0), np.cov(rows.T)) for rows in rng.normal(0, 1, (2, size, size)))
    return metrics.frechet_distance(mean_a, a, mean_b, b)


if __name__ == "__main__":
    main()
