"""How much faster each engine draws than torch in fp32, and how far its images differ.

    python benchmarks/engines.py [--model bundled] [--size 128] [--rounds 9] [--threads 1]

All engines of a round draw the same batch one after another (A B C A B C ...); the first round is dropped. Ratios are
torch fp32 / engine, computed within each round; the median is given with the interquartile range and the full range.
On a machine with other load, ratios of processor time vary less than those of wall time. Differences are in grey
levels, in the hidden region of the faces: the mean, the 99.9th percentile, and the largest. The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import as_command  # noqa: F401
import numpy as np
import torch

from sidgan.checkpoint import load_generator
from sidgan.config import MEL_BANDS, MEL_MARGIN, MEL_STEPS
from sidgan.engine.choice import Kind, check_engine, painter
from sidgan.engine.drawing import Painter, TorchPainter
from sidgan.errors import SidganError
from sidgan.nn import Generator
from sidgan.synth import Mouth, Person, Portrait, pose

BATCH = 8


def engines(generator: Generator, size: int) -> dict[str, Painter]:
    """Name -> torch in fp32 and every installed engine."""
    found: list[Painter] = [TorchPainter(generator, torch.device("cpu"), exact=True)]
    kinds: tuple[Kind, ...] = ("torch", "onnx", "openvino")
    for kind in kinds:
        try:
            device = check_engine(kind, "cpu")
        except SidganError as error:
            print(f"without {kind}: {error}")
            continue
        found.append(painter(kind, generator, device, BATCH, size, generator.config.dub_references))
    return {one.name: one for one in found}


def material(size: int, references: int) -> tuple[torch.Tensor, ...]:
    """Inputs of one batch: faces of a synthetic person, masks, mel windows, placements, reference pictures."""
    count = BATCH + references
    portrait = Portrait(Person.random(3), (size, size), face_px=0.9 * size)
    heads = pose(3, np.arange(count) / 25)
    faces = np.stack([portrait.render(Mouth(i / count), head) for i, head in enumerate(heads)])
    pixels = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 255
    hidden = torch.zeros(BATCH, 1, size, size, dtype=torch.bool)
    hidden[..., size // 2 :, size // 6 : -size // 6] = True
    draw = torch.Generator().manual_seed(0)
    mels = 2 * torch.randn(BATCH, 1, MEL_BANDS, MEL_STEPS + 2 * MEL_MARGIN, generator=draw)
    moved = 0.01 * torch.randn(BATCH, references, 2, 3, generator=draw)
    return pixels[:BATCH], hidden, mels, torch.eye(2, 3) + moved, pixels[BATCH:][None]


def spread(values: list[float]) -> dict[str, float | list[float]]:
    """Median, interquartile range, and full range."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"ratio": round(middle, 2), "half": [round(low, 2), round(high, 2)],
            "all": [round(min(values), 2), round(max(values), 2)]}  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--size", type=int, help="side of the faces, px (the generator's own if not given)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    generator = load_generator(args.model if args.model == "bundled" else Path(args.model))
    size = args.size or generator.config.size
    made = engines(generator, size)
    faces, hidden, mels, placed, pictures = material(size, generator.config.dub_references)
    known = {name: one.encode(pictures) for name, one in made.items()}
    pictured, walls, cpus = {}, {name: [] for name in made}, {name: [] for name in made}  # type: ignore[var-annotated]
    for turn in range(args.rounds + 1):
        for name, one in made.items():
            wall, cpu = time.perf_counter(), time.process_time()
            pictured[name] = one.draw(faces, hidden, mels, known[name], placed)
            if turn:
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    base, truth = next(iter(made)), next(iter(pictured.values()))
    rows = {}
    for name in made:
        apart = 255 * (pictured[name] - truth).abs()[hidden.expand_as(truth)]
        rows[name] = {
            "wall": spread([a / b for a, b in zip(walls[base], walls[name], strict=True)]),
            "cpu": spread([a / b for a, b in zip(cpus[base], cpus[name], strict=True)]),
            "cpu_ms_per_face": round(1000 * statistics.median(cpus[name]) / BATCH, 1),
            "difference": [round(float(v), 3) for v in (apart.mean(), apart.quantile(0.999), apart.max())],
        }
        print(f"{name}: {rows[name]}", flush=True)
    card = {
        "benchmark": "torch fp32 / engine", "size": size, "batch": BATCH, "threads": args.threads,
        "cores": os.cpu_count(), "engines": rows, "python": platform.python_version(),
        "versions": {p: version(p) for p in ("torch", *(k for k in ("onnxruntime", "openvino") if k[:4] in str(rows)))},
    }  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
