"""Model files: loading weights or exported graphs for an engine, and exporting generators as ONNX files."""

from __future__ import annotations

from pathlib import Path

from sidgan.checkpoint import file_of, load_generator, read_meta
from sidgan.engine.choice import check_engine, difference
from sidgan.engine.graph import Graph, read_graph, traced, write_graph
from sidgan.engine.run import sides
from sidgan.engine.runtimes import onnx_painter
from sidgan.errors import SidganError, counted
from sidgan.files import check_target, digest
from sidgan.nn import Generator
from sidgan.settings import require


def load(model: Path | str = "bundled") -> Generator | Graph:
    """Load a generator from weights (``bundled`` or a file), or a graph from an ``.onnx`` file.

    Raises:
        CheckpointError: the file is missing or is neither of these.
        SidganError: the package that reads ``.onnx`` files is missing.
    """
    return read_graph(Path(model)) if str(model).endswith(".onnx") else load_generator(model)


def export(weights: Path | str, out: Path, *, size: int | None = None, batch: int = 8) -> str:
    """Export a generator as an ONNX file, with its configuration, origin and licence terms as metadata.

    The graph is for one batch and face size. Its inputs are ``faces`` (batch, 3, size, size), ``hidden`` (batch, 1,
    size, size) bool, ``mels`` (batch, 1, 80, 28), ``placed`` (batch, K, 2, 3) and ``pictures`` (1, K, 3, size, size),
    its output is ``drawn`` (batch, 3, size, size). All but ``hidden`` are float32, and pictures are in [0, 1]. See
    `sidgan.engine.drawing.redrawn`.

    Args:
        weights: ``bundled`` or the weights file.
        out: must end in ``.onnx``; appears only when complete.
        size: side of the faces in px, one of `sidgan.engine.run.sides`; the generator's own by default.
        batch: faces in a batch.

    Returns:
        One line about what was written, for the user.

    Raises:
        SidganError: packages are missing, or the graph's output differs from torch's.
        CheckpointError, ConfigError, OutputError: unusable weights, an impossible size, or an unwritable file.
    """
    check_engine("onnx")
    require(out.suffix == ".onnx", f"{out} must end in .onnx")
    require(batch > 0, f"batch must be positive, not {batch}")
    check_target(out)
    generator = load_generator(weights)
    generator.emphasis = generator.lively
    config = generator.config
    side = config.size if size is None else size
    known = sides(config)
    require(side in known, f"this generator draws faces of {', '.join(map(str, known))} px, not {side}")
    file = file_of(weights)
    facts = {"weights": {"name": file.name, "sha256": digest(file)}, "meta": read_meta(file)["meta"]}
    graph = traced(generator, batch, side, config.dub_references, encoded=False, facts=facts)
    mean, most = difference(onnx_painter(graph, None), graph)
    if most > 1:
        raise SidganError(f"this generator cannot be exported: its graph differs from torch by up to {most:.0f} levels")
    write_graph(out, graph)
    return (f"{out}: {batch} faces of {side} px at a time, {counted(config.dub_references, 'reference picture')}; "
            f"differs from torch by {mean:.3f} grey levels, at most {most:.2f}")  # fmt: skip
