"""Graphs in ONNX Runtime and OpenVINO, on the CPU. Their packages are imported only here, and only when used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sidgan.engine.drawing import opened
from sidgan.engine.graph import Graph, names
from sidgan.nn import Features, Generator
from sidgan.nn.generator import PICTURE
from sidgan.types import AS_LEARNT, Float, Opening

COLOURS_AND_SHARES = 6  #: largest number of channels of colours, shares or motion; feature maps have more
Given = Mapping[str, np.ndarray[Any, Any]]


class GraphPainter:
    """A `Painter` that runs a graph.

    Args:
        name: see `sidgan.engine.drawing.Painter`.
        inputs: names of the inputs that the engine takes; some engines drop inputs that a graph does not use.
        compute: runs the engine on named inputs and returns ``drawn``.
        generator: encodes the references, for a graph that takes their feature maps; ``None`` for an exported one.
    """

    def __init__(self, name: str, inputs: list[str], compute: Callable[[Given], Float], generator: Generator | None):
        self.name, self._inputs, self._compute, self._generator = name, inputs, compute, generator

    def encode(self, pictures: Tensor, opening: Opening = AS_LEARNT) -> Features:
        """See `sidgan.engine.drawing.Painter.encode`; only the pictures if the graph encodes them itself."""
        if self._generator is None:
            return {PICTURE: pictures}
        with torch.inference_mode():
            return opened(self._generator.encode_reference(pictures), opening)

    def draw(self, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features, placed: Tensor | None) -> Tensor:
        """See `sidgan.engine.drawing.redrawn`."""
        if placed is None:
            placed = torch.eye(2, 3).repeat(len(faces), reference[PICTURE].shape[1], 1, 1)
        given = {"faces": faces, "hidden": hidden, "mels": mels, "placed": placed, **names(reference)}
        return torch.from_numpy(self._compute({name: given[name].contiguous().numpy() for name in self._inputs}))


def onnx_painter(graph: Graph, generator: Generator | None) -> GraphPainter:
    """A graph in ONNX Runtime, in fp32, with as many threads as torch uses."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    inputs = [one.name for one in session.get_inputs()]
    return GraphPainter("onnx fp32", inputs, lambda given: session.run(None, dict(given))[0], generator)


def openvino_painter(graph: Graph, generator: Generator | None) -> GraphPainter:
    """A graph in OpenVINO, in bf16 where the hardware supports it, with as many threads as torch uses."""
    import openvino

    core = openvino.Core()
    model = core.read_model(graph.model)
    # OpenVINO computes in fp32 whatever leads to an output. So sampling positions in the references are made outputs:
    # in bf16 they are up to a quarter of a pixel off, and images differ three times as much. Motion, colours and shares
    # are made outputs before they are enlarged, as bf16 is too coarse for them.
    model.add_outputs([op.input_value(1) for op in model.get_ops() if op.get_type_name() == "GridSample"])
    enlarged = [op.input_value(0) for op in model.get_ops() if op.get_type_name() == "Interpolate"]
    model.add_outputs([given for given in enlarged if given.get_partial_shape()[1].get_length() <= COLOURS_AND_SHARES])
    precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    })  # fmt: skip
    request, alone = compiled.create_infer_request(), Lock()

    def compute(given: Given) -> Float:
        with alone:  # the request reuses its buffer for the next batch, which may be of another thread
            return request.infer(dict(given))[compiled.output(0)].copy()

    inputs = [one.get_any_name() for one in compiled.inputs]
    return GraphPainter(f"openvino {'bf16' if precision == 'bf16' else 'fp32'}", inputs, compute, generator)
