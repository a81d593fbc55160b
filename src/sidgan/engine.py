"""How a generator is run: which device, in what precision, and in batches of one fixed size."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sidgan.config import require
from sidgan.nn import Features, Generator
from sidgan.types import Byte, Float


class Engine:
    """A generator ready to draw.

    The network always sees ``batch`` faces at a time; the last batch is filled up with copies. Numerical libraries
    choose their algorithm by shape, so this makes a face come out the same, bit for bit, however faces are grouped.

    Args:
        generator: is moved to the device and set to evaluation.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda``, ``cuda:1``, ...
        batch: faces at a time.

    Raises:
        ConfigError: the device is unknown or absent.
    """

    def __init__(self, generator: Generator, device: str = "auto", batch: int = 8) -> None:
        require(batch > 0, f"batch must be positive, not {batch}")
        self.device = choose_device(device)
        self.batch = batch
        self.size = generator.config.size
        self.references = 2 if generator.config.warp_levels else 1  #: pictures of a person that serve it best
        self._generator = generator.to(self.device).eval()

    def encode_reference(self, images: Byte) -> Features:
        """Features of K pictures of a person (K, S, S, 3) uint8 RGB, to be kept for all frames they serve."""
        with torch.inference_mode(), self._precision():
            return self._generator.encode_reference(self._images(images)[None])

    def run(self, faces: Byte, masks: Float, mels: Float, reference: Features) -> Byte:
        """Redraw the hidden part of faces of one person.

        Args:
            faces: (N, S, S, 3) uint8 RGB crops. What the masks hide is blacked out here, before the network.
            masks: (N, S, S), 1 where hidden, 0 elsewhere (see `sidgan.geometry.mask_image`).
            mels: (N, 1, 80, 16) windows of the new voice.
            reference: from `encode_reference`.

        Returns:
            (N, S, S, 3) uint8 RGB: the finest output.
        """
        queries = np.where(masks[..., None] > 0, np.uint8(0), faces)
        drawn = [
            self._draw(queries[i : i + self.batch], mels[i : i + self.batch], reference)
            for i in range(0, len(queries), self.batch)
        ]
        return np.concatenate(drawn) if drawn else queries

    def _draw(self, queries: Byte, mels: Float, reference: Features) -> Byte:
        count = len(queries)
        fill = np.minimum(np.arange(self.batch), count - 1)
        mel = torch.from_numpy(np.ascontiguousarray(mels[fill], np.float32)).to(self.device)
        with torch.inference_mode(), self._precision():
            images = self._generator.decode(self._images(queries[fill]), reference, mel)
            finest = (images[self.size] * 255).round().clamp(0, 255).byte()
        return finest.permute(0, 2, 3, 1)[:count].contiguous().cpu().numpy()

    def _images(self, images: Byte) -> Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) in [0, 1] on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device)
        return pixels.permute(0, 3, 1, 2).contiguous().float() / 255

    def _precision(self) -> torch.autocast:
        """bf16 where hardware makes it faster; everything in fp32 on a CPU."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda")


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
