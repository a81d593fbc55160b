"""Estimate the cost of a training run: floating-point operations, GPU-hours, disk space, traffic between GPUs.

    python benchmarks/cost.py [--gan full --steps 3900000] [--syncnet syncnet_paper --sync-steps 370000]
                              [--tflops 350] [--data DATA] [--hours 200]

Operations are those of convolutions and matrix products, forward and backward, counted with meta tensors. The speed of
a GPU is an input: give what `benchmarks/train.py` or a profiler measured on yours. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from sidgan.config import SYNC_FRAMES
from sidgan.data.dataset import read_manifest
from sidgan.nn import VGG19, Discriminator, Generator, SyncNet
from sidgan.train.gan import GanTrainConfig
from sidgan.train.runs import gan_config, sync_config
from sidgan.train.syncnet import SyncTrainConfig

#: Cost in forward passes: forward; forward and gradients of the input; forward and gradients of input and weights.
FORWARD, INPUT_ONLY, ALL = 1, 2, 3
WORLDS = (1, 8, 64)  #: numbers of GPUs


def count(work: Callable[[], object]) -> int:
    """Floating-point operations of a forward pass; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops()


def picture(size: int) -> torch.Tensor:
    """An image (1, 3, size, size) as a meta tensor."""
    return torch.empty(1, 3, size, size, device="meta")


def generator_step(config: GanTrainConfig, level: int) -> int:
    """Operations of one training step of generator and critics while ``level`` is the finest output."""
    with torch.device("meta"):
        net, critics = Generator(config.generator).eval(), {r: Discriminator(c) for r, c in config.critics.items()}
    vgg = VGG19().to("meta")
    with torch.device("meta"):
        expert = SyncNet(sync_config("syncnet_paper", 1, None, []).model).eval()
    size, face = config.generator.size, expert.config.face
    mel = torch.empty(1, 1, 80, 16, device="meta")
    queries, mels = picture(size).expand(SYNC_FRAMES, -1, -1, -1), mel.expand(SYNC_FRAMES, -1, -1, -1)
    total = ALL * count(lambda: net(queries, picture(size), mels, level)) // SYNC_FRAMES
    for r in (r for r in config.generator.rgb_levels if r <= level):
        weights, seen = config.weights_at(r), config.recon_frames / SYNC_FRAMES
        if weights.features:
            total += int(seen * (INPUT_ONLY + FORWARD) * count(lambda r=r: vgg(picture(r))))  # type: ignore[misc]
        if r in critics:
            total += int(seen * (INPUT_ONLY + 2 * ALL) * count(lambda r=r: critics[r](picture(r))))  # type: ignore[misc]
        if weights.sync:
            window = torch.empty(1, 15, face // 2, face, device="meta")
            one = INPUT_ONLY * count(lambda w=window: expert.video(w)) + count(lambda: expert.audio(mel))  # type: ignore[misc]
            total += one // SYNC_FRAMES
    return total * config.batch


def expert_step(config: SyncTrainConfig) -> int:
    """Operations of one training step of an expert."""
    with torch.device("meta"):
        net = SyncNet(config.model).eval()
    window = torch.empty(1, 15, config.model.face // 2, config.model.face, device="meta")
    mel = torch.empty(1, 1, 80, 16, device="meta")
    sounds = 1 + config.negatives
    return ALL * config.batch * (count(lambda: net.video(window)) + sounds * count(lambda: net.audio(mel)))


def parameters(config: GanTrainConfig) -> int:
    """Number of parameters, whose gradients are exchanged between GPUs in every step."""
    with torch.device("meta"):
        nets = [Generator(config.generator), *(Discriminator(c) for c in config.critics.values())]
    return sum(p.numel() for net in nets for p in net.parameters())


def bytes_per_hour(data: Path) -> float:
    """Disk space in bytes per hour of prepared footage."""
    kept = [record for record in read_manifest(data) if record["kept"]]
    files = [path for record in kept for path in (data / "clips").glob(f"{record['file']}.*")]
    return sum(path.stat().st_size for path in files) / sum(r["frames"] for r in kept) * 25 * 3600


def main() -> None:
    """Compute the costs and print them."""
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("--gan", default="full")
    parser.add_argument("--steps", type=int, default=3_900_000)
    parser.add_argument("--syncnet", default="syncnet_paper")
    parser.add_argument("--sync-steps", type=int, default=370_000)
    parser.add_argument("--tflops", type=float, default=350.0, help="10^12 operations a second that a GPU sustains")
    parser.add_argument("--data", type=Path, help="prepared folder, whose size per hour is measured")
    parser.add_argument("--hours", type=float, default=200.0, help="of footage")
    args = parser.parse_args()
    config, expert = gan_config(args.gan, args.steps, None, []), sync_config(args.syncnet, args.sync_steps, None, [])
    levels, starts = config.generator.rgb_levels, (0.0, *config.grow, 1.0)
    phases = {
        level: generator_step(config, level) * (until - since) * args.steps
        for level, since, until in zip(levels, starts, starts[1:], strict=False)
    }
    work = {"generator": sum(phases.values()), "expert": float(expert_step(expert) * args.sync_steps)}
    hours = {name: flop / args.tflops / 1e12 / 3600 for name, flop in work.items()}
    gradients = 4 * parameters(config)
    step = generator_step(config, levels[-1]) / args.tflops / 1e12
    card = {
        "benchmark": "cost", "operations": {k: f"{v:.3g}" for k, v in work.items()},
        "operations_of_a_step": {level: f"{generator_step(config, level):.3g}" for level in levels},
        "assumed_tflops": args.tflops, "gpu_hours": {k: round(v) for k, v in hours.items()},
        "wall_hours": {world: round(sum(hours.values()) / world, 1) for world in WORLDS},
        # Data parallelism with ring all-reduce: each process sends every gradient about twice.
        "network_gbit_s": {w: round(8 * 2 * (w - 1) / w * gradients / step / 1e9, 1) for w in WORLDS},
    }  # fmt: skip
    if args.data:
        rate = bytes_per_hour(args.data)
        card |= {"disk_gb_per_hour": round(rate / 1e9, 3), "disk_gb": round(rate * args.hours / 1e9)}
    print(json.dumps(card))


if __name__ == "__main__":
    main()
