"""The published Inception network, whose features FID compares (`sidgan.metrics.Frechet`).

It is loaded as the TorchScript file that NVIDIA published with StyleGAN2-ADA, a translation of the original TensorFlow
network that resizes pictures in the original way; the project holds no copy of the network.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from sidgan import downloads
from sidgan.errors import CheckpointError
from sidgan.files import digest
from sidgan.metrics.checks import require, shape

FEATURES = 2048
BATCH = 16  #: pictures looked at together


class Inception:
    """Pictures -> features.

    Attributes:
        published: it is the published file, as its digest says. Only then may a distance be called FID.
        sha256: of the file.
    """

    def __init__(self, network: torch.jit.ScriptModule, sha256: str) -> None:
        self._network = network
        self.sha256, self.published = sha256, sha256 == downloads.INCEPTION.sha256

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map pictures (n, 3, S, S) uint8 RGB of any size to (n, 2048) float32 on the CPU.

        Raises:
            MetricError: other pictures.
            CheckpointError: the network gives something else.
        """
        require(images.ndim == 4 and images.shape[1] == 3 and images.dtype == torch.uint8,
                f"pictures must be (n, 3, S, S) uint8, not {shape(images)} {images.dtype}")  # fmt: skip
        device = next((p.device for p in self._network.parameters()), torch.device("cpu"))
        parts = [torch.empty(0, FEATURES)]
        for some in torch.split(images, BATCH) if len(images) else ():
            try:
                features = self._network(some.to(device), return_features=True)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise CheckpointError(f"the network does not accept the input of Inception ({reason})") from None
            if shape(features) != (len(some), FEATURES):
                raise CheckpointError(f"the network gives {shape(features)}, not ({len(some)}, {FEATURES})")
            parts.append(features.float().cpu())
        return torch.cat(parts)


def require_script(file: Path) -> None:
    """Raise a `CheckpointError` where a file is no TorchScript, as its table of contents tells; none of it is run."""
    try:
        with zipfile.ZipFile(file) as held:
            if any("/code/" in name for name in held.namelist()):
                return
    except (OSError, zipfile.BadZipFile):
        pass
    raise CheckpointError(f"{file} is not a TorchScript file; give the file as it was published")


def load_inception(path: Path | None = None, device: str | torch.device = "cpu") -> Inception:
    """The published network, in eval mode.

    Args:
        path: its file; without one it is downloaded. A TorchScript file is a program, so give only one you trust.
        device: where it runs.

    Raises:
        DownloadError: it cannot be downloaded.
        CheckpointError: no such file, or not TorchScript.
    """
    file = downloads.fetch(downloads.INCEPTION) if path is None else path
    if not file.is_file():
        raise CheckpointError(f"no weights file {file}; check the name")
    sha256 = digest(file)
    try:
        network = torch.jit.load(str(file), map_location=device)
    except RuntimeError:
        raise CheckpointError(f"{file} is not a TorchScript file; give the file as it was published") from None
    return Inception(network.eval(), sha256)
