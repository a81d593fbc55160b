"""Chooses the engine for a generator, by name or as the fastest one here, and compares its output with torch's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import torch
import torch.nn.functional as F

from sidgan.engine.devices import choose_device
from sidgan.engine.drawing import Painter, TorchPainter
from sidgan.engine.graph import Graph, example, traced
from sidgan.engine.runtimes import GraphPainter, onnx_painter, openvino_painter
from sidgan.errors import SidganError
from sidgan.nn import Generator
from sidgan.settings import require

Kind = Literal["torch", "onnx", "openvino", "auto"]
MEAN, MOST = 0.35, 8.0  #: largest mean and maximum difference of hidden pixels from torch in fp32, in grey levels
ROUNDS = 3  #: batches that each engine draws, in turns, to find the fastest


@dataclass(frozen=True)
class _Runtime:
    """An engine other than torch: its name for users, the modules it needs, and a function that makes its painter."""

    title: str
    modules: tuple[str, ...]
    make: Callable[[Graph, Generator | None], GraphPainter]

    def missing(self) -> bool:
        """Whether any of its modules is not installed."""
        return any(find_spec(module) is None for module in self.modules)


_RUNTIMES = {
    "onnx": _Runtime("ONNX Runtime", ("onnxruntime", "onnx", "onnxscript"), onnx_painter),
    "openvino": _Runtime("OpenVINO", ("openvino", "onnx", "onnxscript"), openvino_painter),
}


def check_engine(kind: str, device: str = "auto") -> torch.device:
    """The device that an engine uses: any for torch and auto, the CPU for the others.

    Raises:
        ConfigError: there is no such engine or device, or the engine does not run on the device.
        SidganError: the engine's packages are missing.
    """
    require(kind in get_args(Kind), f"no engine '{kind}'; use {', '.join(get_args(Kind)[:-1])} or auto")
    chosen = choose_device(device)
    if kind not in _RUNTIMES:
        return chosen  # auto uses only engines that are installed
    runtime = _RUNTIMES[kind]
    if runtime.missing():
        raise SidganError(f"the engine {kind} needs {runtime.title}; run: pip install 'sidgan[{kind}]'")
    require(device == "auto" or chosen.type == "cpu", f"the engine {kind} runs on cpu, not on {device}; use torch")
    return torch.device("cpu")


def painter(
    kind: str, source: Generator | Graph, device: torch.device, batch: int, size: int, references: int
) -> Painter:
    """A painter for a generator or an exported graph, in the engine of this name or in the fastest one installed.

    If an engine cannot be set up for a generator, or its output differs from torch's, torch is used, and the painter's
    name says why.

    Args:
        kind: one of `Kind`.
        source: a generator on its device, or a graph for this batch and size.
        device: from `check_engine`.
        batch: faces in a batch.
        size: their side in px.
        references: number of reference pictures of a person.

    Raises:
        SidganError: the output of an exported graph, which torch cannot run instead, differs from torch's, or no
            engine that could run it is installed.
        ConfigError: it was exported for another number of reference pictures.
    """
    if isinstance(source, Graph):
        require(references == source.references,
                f"this model was exported for {source.references} reference pictures, not {references}")  # fmt: skip
        names = _selected(kind)
        if not names:
            raise SidganError("an exported model needs ONNX Runtime or OpenVINO; run: pip install 'sidgan[onnx]'")
        return _fastest([_checked(name, source, None) for name in names], source)
    own = TorchPainter(source, device)
    if kind == "torch" or device.type != "cpu":
        return own
    try:
        graph = traced(source, batch, size, references)
        others = [_checked(name, graph, source) for name in _selected(kind)]
    except SidganError as error:
        own.name += f" ({error})"
        return own
    return _fastest([own, *others] if kind == "auto" else others, graph)


def _selected(kind: str) -> list[str]:
    """The runtime of this name; for ``auto``, all that are installed."""
    return [name for name, one in _RUNTIMES.items() if name == kind or (kind == "auto" and not one.missing())]


def _checked(name: str, graph: Graph, generator: Generator | None) -> Painter:
    """The painter of a runtime, after comparing its output with torch's."""
    made = _RUNTIMES[name].make(graph, generator)
    mean, most = difference(made, graph)
    if not (mean <= MEAN and most <= MOST):
        raise SidganError(f"{name} differs from torch by {mean:.2f} grey levels on average, and up to {most:.0f}")
    return made


def difference(made: Painter, graph: Graph) -> tuple[float, float]:
    """The mean and maximum difference of a painter's output from torch's in fp32 on `example`, in grey levels.

    Only hidden pixels are compared: a dub uses no others.
    """
    faces, hidden, mels, placed, pictures = example(graph.batch, graph.size, graph.references)
    drawn = made.draw(faces, hidden, mels, made.encode(pictures), placed).float()
    side = graph.expected.shape[-1]
    compared = F.adaptive_avg_pool2d(hidden.float(), side) == 1
    error = 255 * (F.adaptive_avg_pool2d(drawn, side) - graph.expected).abs()[compared.expand_as(graph.expected)]
    return float(error.mean()), float(error.max())


def _fastest(painters: Sequence[Painter], graph: Graph) -> Painter:
    """The painter with the shortest time for a batch, the best of `ROUNDS`."""
    if len(painters) == 1:
        return painters[0]
    faces, hidden, mels, placed, pictures = example(graph.batch, graph.size, graph.references)
    features = [one.encode(pictures) for one in painters]
    seconds = [float("inf")] * len(painters)
    for _ in range(ROUNDS):
        for i, one in enumerate(painters):
            start = time.perf_counter()
            one.draw(faces, hidden, mels, features[i], placed)
            seconds[i] = min(seconds[i], time.perf_counter() - start)
    return painters[seconds.index(min(seconds))]
