"""A generator as an ONNX graph for batches of one shape, to run it in other engines or to export it as a file.

The graph contains all of `redrawn`, including the masking of the mouth. Inside an engine, it takes the feature maps of
the references, which are computed once for a person. An exported file takes the reference pictures instead, so that it
needs nothing else.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import MEL_BANDS, MEL_MARGIN, MEL_STEPS, GeneratorConfig
from sidgan.engine.drawing import OPENING, opened, redrawn
from sidgan.errors import CheckpointError, ConfigError, SidganError
from sidgan.files import finished, require_weights, writing
from sidgan.nn import Features, Generator
from sidgan.nn.generator import PICTURE
from sidgan.settings import from_dict, to_dict
from sidgan.types import AS_LEARNT

OPSET = 18  #: ONNX operator set; GridSample needs 16
FORMAT = "sidgan-onnx-1"
_exporting = Lock()  #: the exporter changes settings of the whole process; two at once fail and leave them changed
KEPT = 16  #: px, side to which the expected output is reduced in a file
CONSENT = "Only for footage of people who agreed to it; tell the audience that the result is altered."
LICENCE = "The weights keep the terms of what they were trained on; those bundled with sidgan: see its MODEL_CARD.md."


@dataclass(frozen=True)
class Graph:
    """A graph and what must be known to run it.

    Attributes:
        config: the generator's configuration.
        batch: faces in a batch.
        size: their side in px.
        references: K, the number of reference pictures of a person.
        encoded: whether its inputs include the feature maps of the references, or only their pictures.
        model: the bytes of the ONNX file.
        expected: (batch, 3, R, R) in [0, 1], torch's output for `example`, reduced to R px.
    """

    config: GeneratorConfig
    batch: int
    size: int
    references: int
    encoded: bool
    model: bytes
    expected: Tensor


def example(batch: int, size: int, references: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A fixed test input: faces, hidden, mels, placed and pictures, as `redrawn` and `Painter.encode` take them.

    The images have soft and hard edges, and the placements lie between pixels.
    """

    def waves(count: int, phase: float) -> Tensor:
        n, c = torch.arange(count).view(-1, 1, 1, 1), torch.arange(3).view(1, -1, 1, 1)
        y, x = torch.linspace(-1, 1, size).view(1, 1, -1, 1), torch.linspace(-1, 1, size).view(1, 1, 1, -1)
        bent = torch.sin(7 * x + 3 * y + n + phase) * torch.cos(6 * y - 2 * x * y + c + 0.7 * n)
        return 0.5 + 0.4 * torch.tanh((1 + 2 * c) * bent)

    hidden = torch.zeros(batch, 1, size, size, dtype=torch.bool)
    hidden[:, :, size // 2 :, size // 6 : -size // 6] = True
    n, k = torch.arange(batch).view(-1, 1), torch.arange(references).view(1, -1)
    placed = torch.eye(2, 3).repeat(batch, references, 1, 1)
    placed[..., 0, 1], placed[..., 1, 2] = 0.03 * torch.sin(1.0 + n + k), 0.05 * torch.cos(n + 2.0 * k)
    band, step = torch.linspace(0, 5, MEL_BANDS).view(-1, 1), torch.linspace(0, 5, MEL_STEPS + 2 * MEL_MARGIN)
    mels = 3 * torch.sin(band + step + torch.arange(batch).view(-1, 1, 1, 1))
    return waves(batch, 0.0), hidden, mels, placed, waves(references, 0.5)[None]


def names(reference: Features) -> dict[str, Tensor]:
    """The features of references, with the names of the graph's inputs as keys."""
    own = {PICTURE: "pictures", OPENING: "opening"}
    return {own.get(level, f"map_{level}"): maps for level, maps in reference.items()}


class _Drawing(nn.Module):
    """`redrawn` with a flat list of inputs: faces, hidden, mels, placed, then pictures alone or all feature maps."""

    def __init__(self, generator: Generator, levels: list[int]) -> None:
        super().__init__()
        self._generator, self._levels = generator, levels

    def forward(self, faces: Tensor, hidden: Tensor, mels: Tensor, placed: Tensor, *maps: Tensor) -> Tensor:
        reference = dict(zip(self._levels, maps, strict=True))
        if len(maps) == 1:
            reference = self._generator.encode_reference(maps[0])
        return redrawn(self._generator, faces, hidden, mels, reference, placed)


def traced(
    generator: Generator, batch: int, size: int, references: int, *, encoded: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> Graph:  # fmt: skip
    """Convert a generator to a graph; takes some seconds.

    Args:
        generator: in evaluation mode, fp32, on the CPU.
        batch, size, references, encoded: see `Graph`.
        facts: further values for the graph's metadata, stored as JSON.

    Raises:
        SidganError: this generator cannot be exported, or a package is missing.
    """
    faces, hidden, mels, placed, pictures = example(batch, size, references)
    with torch.no_grad():
        reference = opened(generator.encode_reference(pictures), AS_LEARNT)
        expected = redrawn(generator, faces, hidden, mels, reference, placed)
    given = reference if encoded else {PICTURE: pictures}
    inputs = (faces, hidden, mels, placed, *given.values())
    with _exporting, _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                _Drawing(generator, list(given)).eval(), inputs, dynamo=True, opset_version=OPSET, verbose=False,
                input_names=["faces", "hidden", "mels", "placed", *names(given)], output_names=["drawn"],
            )  # fmt: skip
        except ImportError:
            raise SidganError("writing a generator as ONNX needs onnx and onnxscript; run: pip install 'sidgan[onnx]'"
                              ) from None  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise SidganError(f"this generator cannot be written as ONNX ({reason}); use the engine torch") from error
    assert program is not None
    proto = program.model_proto
    graph = Graph(generator.config, batch, size, references, encoded, b"", expected)
    for key, value in (_header(graph) | {k: json.dumps(v) for k, v in (facts or {}).items()}).items():
        proto.metadata_props.add(key=key, value=value)
    return replace(graph, model=proto.SerializeToString())


def _header(graph: Graph) -> dict[str, str]:
    """The metadata of a graph that `read_graph` needs, and the terms of use."""
    kept = F.adaptive_avg_pool2d(graph.expected, KEPT)
    return {
        "format": FORMAT, "config": json.dumps(to_dict(graph.config)), "batch": str(graph.batch),
        "size": str(graph.size), "references": str(graph.references), "encoded": json.dumps(graph.encoded),
        "expected": json.dumps([round(v, 5) for v in kept.flatten().tolist()]), "licence": LICENCE, "consent": CONSENT,
    }  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's warnings and log lines about its own dependencies."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def write_graph(path: Path, graph: Graph) -> None:
    """Write a graph as an ONNX file, which appears only when complete.

    Raises:
        OutputError: it cannot be written.
    """
    with finished(path) as part, writing(path):
        part.write_bytes(graph.model)


def read_graph(path: Path) -> Graph:
    """Read a graph from a file written by `write_graph`.

    Raises:
        CheckpointError: the file is missing, or was not written by this package.
        SidganError: the package onnx is missing.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise SidganError(f"reading {path} needs onnx; run: pip install 'sidgan[onnx]'") from None
    require_weights(path)
    model = path.read_bytes()
    try:
        header = {p.key: p.value for p in onnx.load_model_from_string(model).metadata_props}
    except DecodeError:
        raise CheckpointError(f"{path} is not an ONNX file, or is damaged") from None
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} was not written by sidgan; give a file from 'sidgan export'")
    try:
        config = from_dict(GeneratorConfig, json.loads(header["config"]))
    except ConfigError as error:
        raise CheckpointError(f"{path} does not fit this version of sidgan ({error})") from None
    batch = int(header["batch"])
    return Graph(
        config, batch, int(header["size"]), int(header["references"]), json.loads(header["encoded"]), model,
        torch.tensor(json.loads(header["expected"])).view(batch, 3, KEPT, KEPT),
    )  # fmt: skip
