"""Inference: runs a generator in an engine, on a device, in a precision, and in batches of one fixed size.

::

    Engine ─ batches ─▶ Painter ─┬─ torch: the PyTorch network, bf16 where the hardware supports it
                                 ├─ onnx: the network exported as an ONNX graph, in ONNX Runtime
                                 └─ openvino: the same graph in OpenVINO, bf16 where the hardware supports it
"""

from sidgan.engine.choice import Kind, check_engine
from sidgan.engine.devices import choose_device, choose_precision, require_device
from sidgan.engine.drawing import redrawn
from sidgan.engine.files import export, load
from sidgan.engine.graph import Graph
from sidgan.engine.run import Engine

__all__ = [
    "Engine", "Graph", "Kind", "check_engine", "choose_device", "choose_precision", "export", "load",
    "redrawn", "require_device",
]  # fmt: skip
