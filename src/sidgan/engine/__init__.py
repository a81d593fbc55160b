"""How a generator is run: by which engine, on which device, in what precision, and in batches of one fixed size.

::

    Engine ─ batches ─▶ Painter ─┬─ torch: the network as it is, bf16 where hardware has it
                                 ├─ onnx: the network written down once as an ONNX graph, in ONNX Runtime
                                 └─ openvino: the same graph in OpenVINO, bf16 where hardware has it
"""

from sidgan.engine.choice import Kind, check_engine
from sidgan.engine.devices import choose_device, choose_precision, is_device
from sidgan.engine.drawing import redrawn
from sidgan.engine.files import export, load
from sidgan.engine.graph import Graph
from sidgan.engine.run import Engine

__all__ = [
    "Engine", "Graph", "Kind", "check_engine", "choose_device", "choose_precision", "export", "is_device",
    "load", "redrawn",
]  # fmt: skip
