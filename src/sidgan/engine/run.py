"""The engine: a generator or an exported graph that draws any number of faces, in batches of one fixed size."""

from __future__ import annotations

import math
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from sidgan.config import GeneratorConfig
from sidgan.engine.choice import check_engine, painter
from sidgan.engine.drawing import Painter
from sidgan.engine.graph import Graph
from sidgan.nn import Features, Generator
from sidgan.nn.generator import PICTURE
from sidgan.settings import require
from sidgan.types import AS_LEARNT, Byte, Float, Opening

LARGEST = 512  #: px; the output of a copying generator is not enlarged beyond the paper's resolution
#: px; of larger faces, a CPU draws half a batch at a time: the maps of 8 would exceed the memory that is kept for reuse
WHOLE_BATCH = 256
_setting_up = Lock()  #: held while an engine is set up, so that threads that share one set it up once


class Engine:
    """A generator ready to draw.

    The network always sees batches of one fixed number of faces; the last batch is filled up with copies. Numerical
    libraries choose their algorithms by shape, so a face comes out the same, bit for bit, however faces are grouped.

    Engines other than torch are set up when the first references are encoded. This takes some seconds for each size and
    number of references, and is shared with all engines that `fitting` makes from this one.

    Args:
        generator: is moved to the device and set to evaluation mode. Or an exported graph with a fixed batch and size.
        device: ``auto`` (CUDA if available and supported by the engine, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        batch: faces in a batch (see `WHOLE_BATCH` for large ones).
        size: side of the faces in px, one of `sides`; by default the generator's own.
        kind: ``torch``, ``onnx``, ``openvino``, or ``auto`` for the fastest of those that are installed.

    Raises:
        ConfigError: the device or the engine is unknown or not available, or torch is asked to run a graph.
        SidganError: the engine's packages are missing.
    """

    def __init__(
        self, generator: Generator | Graph, device: str = "auto", batch: int = 8, size: int | None = None,
        kind: str = "torch",
    ) -> None:  # fmt: skip
        require(batch > 0, f"batch must be positive, not {batch}")
        self.kind, self.device = kind, check_engine(kind, device)
        self._painters: dict[tuple[int, int], Painter] = {}  # by size and number of references
        self._generator: Generator | Graph
        if isinstance(generator, Graph):
            require(kind != "torch", "an exported model is run by the engines onnx and openvino; choose one or auto")
            self.device = check_engine(kind, "cpu")
            self._generator, self.batch, self.size = generator, generator.batch, generator.size
            self.references = generator.references  #: number of reference pictures of a person
        else:
            self.references = generator.config.dub_references
            self._generator, self.batch = generator.to(self.device).eval(), batch
            self.size = generator.config.size if size is None else size
        halved = self.size > WHOLE_BATCH and self.device.type == "cpu" and not isinstance(generator, Graph)
        self._together = max(1, self.batch // 2) if halved else self.batch  # faces that the network always sees

    def fitting(self, side: float) -> Engine:
        """An engine with the same generator, and the size of `sides` that is nearest to ``side`` px.

        An exported graph has one size only and is returned unchanged.
        """
        if isinstance(self._generator, Graph):
            return self
        config = self._generator.config
        known = sides(config)
        nearest = min(round(math.log2(max(side / known[0], 1))), len(known) - 1)
        fitted = Engine(self._generator, str(self.device), self.batch, known[nearest], self.kind)
        fitted._painters = self._painters
        return fitted

    @property
    def used(self) -> str:
        """Engine and precision used so far for faces of this size, and the reason if it is not the requested engine."""
        return ", ".join(dict.fromkeys(one.name for (size, _), one in self._painters.items() if size == self.size))

    @property
    def opens(self) -> bool:
        """Whether the generator can open mouths further (`sidgan.nn.Generator.opens`); exported ones cannot."""
        return isinstance(self._generator, Generator) and bool(self._generator.opens.any())

    def encode_reference(self, images: Byte, opening: Opening = AS_LEARNT) -> Features:
        """Features of K pictures of a person (K, S, S, 3) uint8 RGB, to be reused for all of the person's frames.

        ``opening`` is how the person's mouth opens in speech, if the generator can open mouths further (`opens`).
        """
        return self._painter(len(images)).encode(self._images(images)[None], opening)

    def run(
        self, faces: Byte, masks: Float, mels: Float, reference: Features, placed: Float | None = None
    ) -> Byte:
        """Redraw the hidden part of faces of one person.

        Args:
            faces: (N, S, S, 3) uint8 RGB crops. Hidden pixels are blacked out here, before the network sees them.
            masks: (N, S, S), 1 where hidden, 0 elsewhere (see `sidgan.geometry.mask_image`).
            mels: (N, 1, 80, 28) mel windows of the new voice.
            reference: from `encode_reference`.
            placed: (N, K, 2, 3) affine maps from the faces to the references (`sidgan.geometry.placement`).

        Returns:
            (N, S, S, 3) uint8 RGB: the finest output.
        """
        parts = [slice(i, i + self._together) for i in range(0, len(faces), self._together)]
        drawn = [
            self._draw(faces[part], masks[part], mels[part], reference, None if placed is None else placed[part])
            for part in parts
        ]
        return np.concatenate(drawn) if drawn else faces

    def _draw(self, faces: Byte, masks: Float, mels: Float, reference: Features, placed: Float | None) -> Byte:
        count = len(faces)
        fill = np.minimum(np.arange(self._together), count - 1)

        def given(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array[fill])).to(self.device)

        where = None if placed is None else given(placed)
        chosen = self._painter(reference[PICTURE].shape[1])
        with torch.inference_mode():
            finest = chosen.draw(self._images(faces[fill]), given(masks > 0)[:, None], given(mels.astype(np.float32)),
                                 reference, where)  # fmt: skip
            levels = (finest * 255).round().clamp(0, 255).byte()
        return levels.permute(0, 2, 3, 1)[:count].contiguous().cpu().numpy()

    def _images(self, images: Byte) -> Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) float32 in [0, 1] on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return pixels.permute(0, 3, 1, 2).contiguous().float() / 255

    def _painter(self, references: int) -> Painter:
        key = self.size, references
        with _setting_up:
            if key not in self._painters:
                self._painters[key] = painter(
                    self.kind, self._generator, self.device, self._together, self.size, references
                )
            return self._painters[key]


def sides(config: GeneratorConfig) -> list[int]:
    """The sizes in px of faces that a generator can draw, each twice the one before.

    The output of a generator that copies pixels from its references can be enlarged beyond its own sizes.
    """
    doublings = int(math.log2(max(LARGEST / config.size, 1))) if config.rgb == "copying" else 0
    return [*config.sizes, *(config.size << n for n in range(1, doublings + 1))]
