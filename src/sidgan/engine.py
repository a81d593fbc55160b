"""How a generator is run: which device, in what precision, and in batches of one fixed size."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sidgan.config import require
from sidgan.nn import Features, Generator
from sidgan.types import Byte, Float

LARGEST = 512  #: px; a copying generator's output is not enlarged beyond the paper's resolution


class Engine:
    """A generator ready to draw.

    The network always sees ``batch`` faces at a time; the last batch is filled up with copies. Numerical libraries
    choose their algorithm by shape, so this makes a face come out the same, bit for bit, however faces are grouped.

    Args:
        generator: is moved to the device and set to evaluation.
        size: side of the faces in px: the generator's, or for one that copies, that times a power of two.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ...
        batch: faces at a time.

    Raises:
        ConfigError: the device is unknown or absent.
    """

    def __init__(
        self, generator: Generator, device: str = "auto", batch: int = 8, size: int | None = None
    ) -> None:
        require(batch > 0, f"batch must be positive, not {batch}")
        self.device = choose_device(device)
        self.batch = batch
        self.size = generator.config.size if size is None else size
        self.references = generator.config.references  #: pictures of a person that serve it best
        self._generator = generator.to(self.device).eval()

    def fitting(self, side: float) -> Engine:
        """An engine for faces of about ``side`` px: the same generator, its output as large as it can be sharp."""
        own, copies = self._generator.config.size, self._generator.config.rgb == "copying"
        doublings = min(round(math.log2(max(side / own, 1))), int(math.log2(max(LARGEST / own, 1)))) if copies else 0
        return Engine(self._generator, str(self.device), self.batch, own << doublings)

    def encode_reference(self, images: Byte) -> Features:
        """Features of K pictures of a person (K, S, S, 3) uint8 RGB, to be kept for all frames they serve."""
        with torch.inference_mode(), self._precision():
            return self._generator.encode_reference(self._images(images)[None])

    def run(
        self, faces: Byte, masks: Float, mels: Float, reference: Features, placed: Float | None = None
    ) -> Byte:
        """Redraw the hidden part of faces of one person.

        Args:
            faces: (N, S, S, 3) uint8 RGB crops. What the masks hide is blacked out here, before the network.
            masks: (N, S, S), 1 where hidden, 0 elsewhere (see `sidgan.geometry.mask_image`).
            mels: (N, 1, 80, 28) windows of the new voice.
            reference: from `encode_reference`.
            placed: (N, K, 2, 3), where the faces' places lie in the references (`sidgan.geometry.placement`).

        Returns:
            (N, S, S, 3) uint8 RGB: the finest output.
        """
        parts = [slice(i, i + self.batch) for i in range(0, len(faces), self.batch)]
        drawn = [
            self._draw(faces[part], masks[part], mels[part], reference, None if placed is None else placed[part])
            for part in parts
        ]
        return np.concatenate(drawn) if drawn else faces

    def _draw(self, faces: Byte, masks: Float, mels: Float, reference: Features, placed: Float | None) -> Byte:
        count = len(faces)
        fill = np.minimum(np.arange(self.batch), count - 1)

        def given(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(array[fill])).to(self.device)

        where = None if placed is None else given(placed)
        with torch.inference_mode(), self._precision():
            finest = redrawn(self._generator, self._images(faces[fill]), given(masks > 0)[:, None],
                             given(mels.astype(np.float32)), reference, where)  # fmt: skip
            levels = (finest * 255).round().clamp(0, 255).byte()
        return levels.permute(0, 2, 3, 1)[:count].contiguous().cpu().numpy()

    def _images(self, images: Byte) -> Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) in [0, 1] on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return pixels.permute(0, 3, 1, 2).contiguous().float() / 255

    def _precision(self) -> torch.autocast:
        """bf16 where hardware makes it faster; everything in fp32 on a CPU."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


def redrawn(
    generator: Generator, faces: Tensor, hidden: Tensor, mels: Tensor, reference: Features,
    placed: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """A generator's finest picture of faces, at their size.

    Args:
        faces: (N, 3, T, T) in [0, 1], T the generator's size or, for one that copies, a multiple of it.
        hidden: (N, 1, T, T) bool; what it covers is blacked out before the network sees it.
        mels: (N, 1, 80, 28).
        reference: from `Generator.encode_reference`, of pictures of T px.
        placed: (N, K, 2, 3), see `Generator.decode`.

    Returns:
        (N, 3, T, T) float32 in [0, 1].
    """
    own, side = generator.config.size, faces.shape[-1]
    queries = faces.masked_fill(hidden, 0)
    if side == own:
        return generator.decode(queries, reference, mels, placed=placed)[side]
    # A reduced pixel that is hidden in part is hidden: its edge must be as hard as in training.
    covered = F.max_pool2d(hidden.float(), side // own) > 0
    small = F.avg_pool2d(faces, side // own).masked_fill(covered, 0)
    return generator.decode(small, reference, mels, placed=placed, sharp=queries)[side]


def choose_device(name: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    require(kind in ("cpu", "cuda") and (not index or index.isdigit()), f"no device '{name}'; use auto, cpu or cuda")
    if kind == "cuda":
        count = torch.cuda.device_count()
        require(int(index or 0) < count, f"no device '{name}': this computer has {count} CUDA devices; use cpu")
    return torch.device(name)


def choose_precision(device: torch.device) -> str:
    """The mixed precision that makes training faster on a device, by Lightning's name.

    bf16 needs hardware that multiplies it: on CPUs without it, it is emulated and tens of times slower than fp32.
    """
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"
