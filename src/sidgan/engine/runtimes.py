"""Graphs in other engines, on the CPU. Their packages are imported only here, and only when they are used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sidgan.engine.graph import Graph, names
from sidgan.nn import Features, Generator
from sidgan.nn.generator import PICTURE
from sidgan.types import Float

COLOURS_AND_SHARES = 6  #: channels; motion has fewer, features more
Given = Mapping[str, np.ndarray[Any, Any]]


class GraphPainter:
    """A graph in an engine.

    Args:
        name: see `sidgan.engine.drawing.Painter`.
        inputs: names of what the engine wants to be given; some drop what a graph does not use.
        compute: the engine.
        generator: makes the references' maps, for a graph that takes them.
    """

    def __init__(self, name: str, inputs: list[str], compute: Callable[[Given], Float], generator: Generator | None):
        self.name, self._inputs, self._compute, self._generator = name, inputs, compute, generator

    def encode(self, pictures: Tensor) -> Features:
        """Features of pictures (1, K, 3, T, T) in [0, 1]; the pictures alone where the graph makes its own."""
        if self._generator is None:
            return {PICTURE: pictures}
        with torch.inference_mode():
            return self._generator.encode_reference(pictures)

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """See `sidgan.engine.drawing.redrawn`."""
        if placed is None:
            placed = torch.eye(2, 3).repeat(len(faces), reference[PICTURE].shape[1], 1, 1)
        given = {"faces": faces, "hidden": hidden, "mels": mels, "placed": placed, **names(reference)}
        return torch.from_numpy(self._compute({name: given[name].contiguous().numpy() for name in self._inputs}))


def onnx_painter(graph: Graph, generator: Generator | None) -> GraphPainter:
    """A graph in ONNX Runtime, fp32, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    inputs = [one.name for one in session.get_inputs()]
    return GraphPainter("onnx fp32", inputs, lambda given: session.run(None, dict(given))[0], generator)


def openvino_painter(graph: Graph, generator: Generator | None) -> GraphPainter:
    """A graph in OpenVINO, bf16 where hardware has it, with as many threads as torch has."""
    import openvino

    core = openvino.Core()
    model = core.read_model(graph.model)
    # OpenVINO computes in fp32 what leads to an output. Places in references must be among that: as bf16 they are up to
    # a quarter of a pixel off, and pictures differ three times as much. So must motion, colours and shares be, before
    # they are enlarged: what matters in them is less than bf16 can tell.
    model.add_outputs([op.input_value(1) for op in model.get_ops() if op.get_type_name() == "GridSample"])
    enlarged = [op.input_value(0) for op in model.get_ops() if op.get_type_name() == "Interpolate"]
    model.add_outputs([given for given in enlarged if given.get_partial_shape()[1].get_length() <= COLOURS_AND_SHARES])
    precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    })  # fmt: skip
    request = compiled.create_infer_request()

    def compute(given: Given) -> Float:
        return request.infer(dict(given))[compiled.output(0)].copy()  # the request keeps its own for the next batch

    inputs = [one.get_any_name() for one in compiled.inputs]
    return GraphPainter(f"openvino {'bf16' if precision == 'bf16' else 'fp32'}", inputs, compute, generator)
