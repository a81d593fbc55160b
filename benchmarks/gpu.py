"""GPU benchmark: how close the network comes to the GPU's peak performance, and its gain over PyTorch's defaults.

    python benchmarks/gpu.py [--gan full] [--batch 16] [--rounds 9]

Weights are random, which does not change the speed. In each round all variants draw the same batch one after another
(A B A B ...); the first round, in which libraries choose their algorithms, is dropped.

- fp32 / shipped: time with PyTorch's defaults over that of `sidgan dub`, and the difference of their images in grey
  levels.
- finest / half: time of all levels over that of the levels up to half the side.
- share of the peak: operations per second of the shipped network over those of a large bf16 matrix product.

For dub / bound and field / dub on the same machine, run `benchmarks/dub.py` there. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping

import torch
from torch.utils.flop_counter import FlopCounterMode

from sidgan.config import MEL_BANDS, MEL_MARGIN, MEL_STEPS, GeneratorConfig
from sidgan.engine.drawing import TorchPainter
from sidgan.nn import Generator

REPEATS = 5  #: calls that are timed together


def seconds(work: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> float:
    """Wall seconds per call, averaged over several; the device is synchronised before and after."""
    torch.zeros(1, device=device).item()
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    torch.zeros(1, device=device).item()
    return (time.perf_counter() - begin) / repeats


def peak(device: torch.device, side: int = 8192) -> float:
    """Operations per second of a product of two square bf16 matrices, the best of five runs."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    work = lambda: a @ a  # noqa: E731
    work()
    return 2 * side**3 / min(seconds(work, device) for _ in range(5))


def operations(config: GeneratorConfig) -> int:
    """Floating-point operations for one face, without encoding the references, counted with meta tensors."""
    with torch.device("meta"):
        net = Generator(config).eval()
        faces = torch.empty(1, 3, config.size, config.size)
        mels = torch.empty(1, 1, MEL_BANDS, MEL_STEPS + 2 * MEL_MARGIN)
        pictures = torch.empty(1, config.dub_references, 3, config.size, config.size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.decode(faces, net.encode_reference(pictures), mels)
    with FlopCounterMode(display=False) as own, torch.no_grad():
        net.encode_reference(pictures)
    return counter.get_total_flops() - own.get_total_flops()  # references are encoded once for a video


def variants(config: GeneratorConfig, batch: int, device: torch.device) -> Mapping[str, Callable[[], torch.Tensor]]:
    """Functions that draw one batch: with PyTorch's defaults, as shipped, and as shipped up to half the side."""
    torch.manual_seed(0)
    net = Generator(config).to(device).eval()
    draw = torch.Generator().manual_seed(0)
    faces = torch.rand(batch, 3, config.size, config.size, generator=draw).to(device)
    pictures = torch.rand(1, config.dub_references, 3, config.size, config.size, generator=draw).to(device)
    mels = torch.randn(batch, 1, MEL_BANDS, MEL_STEPS + 2 * MEL_MARGIN, generator=draw).to(device)
    hidden = torch.zeros(batch, 1, config.size, config.size, dtype=torch.bool, device=device)
    hidden[..., config.size // 2 :, config.size // 6 : -config.size // 6] = True
    exact, shipped = TorchPainter(net, device, exact=True), TorchPainter(net, device)
    known, quick = exact.encode(pictures), shipped.encode(pictures)

    def half() -> torch.Tensor:
        level = config.size // 2
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            return net.decode(faces.masked_fill(hidden, 0), quick, mels, level=level, finest=True)[level]

    return {
        "fp32": lambda: exact.draw(faces, hidden, mels, known, None),
        "shipped": lambda: shipped.draw(faces, hidden, mels, quick, None),
        "half": half,
    }


def measured(config: GeneratorConfig, batch: int, rounds: int, device: torch.device) -> dict[str, object]:
    """Ratios, faces per second, and share of the peak."""
    ways = variants(config, batch, device)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            took = seconds(work, device)
            times[name] += [took] * (turn > 0)
    apart = 255 * (ways["fp32"]().float() - ways["shipped"]().float()).abs()
    shipped = statistics.median(times["shipped"])
    reached, most = operations(config) * batch / shipped, peak(device)

    def ratio(a: str, b: str) -> dict[str, object]:
        found = sorted(x / y for x, y in zip(times[a], times[b], strict=True))
        return {"ratio": round(statistics.median(found), 3), "range": [round(found[0], 3), round(found[-1], 3)]}

    return {
        "fp32 / shipped": ratio("fp32", "shipped"), "finest / half": ratio("shipped", "half"),
        "grey levels apart": {"mean": round(float(apart.mean()), 3), "largest": round(float(apart.max()), 1)},
        "share of the peak": round(reached / most, 3), "tflops": [round(v / 1e12, 1) for v in (reached, most)],
        "faces_per_second": round(batch / shipped, 1),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gan", default="full", help="a configuration's name, or a .toml file")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("this needs a CUDA device, and this computer has none; run benchmarks/bench.py", file=sys.stderr)
        sys.exit(2)
    from sidgan.train.runs import gan_config

    config = gan_config(args.gan, 1, None, []).generator
    device = torch.device("cuda")
    found = measured(config, args.batch, args.rounds, device)
    card = {
        "benchmark": "gpu", "size": config.size, "batch": args.batch, "rounds": args.rounds, **found,
        "peak_vram_mib": torch.cuda.max_memory_allocated() >> 20, "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
    }  # fmt: skip
    print(json.dumps(card))


if __name__ == "__main__":
    main()
