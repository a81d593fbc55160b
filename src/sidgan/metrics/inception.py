"""The published Inception network, whose features FID compares (`sidgan.metrics.FeatureMoments`).

It is loaded from the TorchScript file that NVIDIA published with StyleGAN2-ADA: a port of the original TensorFlow
network, including its way of resizing images. This project does not distribute the network.
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

FEATURES = 2048  #: dimensions of a feature
BATCH = 16  #: images per forward pass


class Inception:
    """Maps images to features.

    Attributes:
        published: whether the digest is that of the published file. Only then may a distance be called FID.
        sha256: digest of the file.
    """

    def __init__(self, network: torch.jit.ScriptModule, sha256: str) -> None:
        self._network = network
        self.sha256, self.published = sha256, sha256 == downloads.INCEPTION.sha256

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (n, 3, S, S) uint8 RGB of any size to features (n, 2048) float32 on the CPU.

        Raises:
            MetricError: the images have another shape or type.
            CheckpointError: the network does not accept the images, or its output has another shape.
        """
        require(images.ndim == 4 and images.shape[1] == 3 and images.dtype == torch.uint8,
                f"images must be (n, 3, S, S) uint8, not {shape(images)} {images.dtype}")  # fmt: skip
        device = next((p.device for p in self._network.parameters()), torch.device("cpu"))
        parts = [torch.empty(0, FEATURES)]
        for batch in torch.split(images, BATCH) if len(images) else ():
            try:
                features = self._network(batch.to(device), return_features=True)
            except RuntimeError as error:
                reason = str(error).strip().splitlines()[-1]
                raise CheckpointError(f"the network does not accept the input of Inception ({reason})") from None
            if shape(features) != (len(batch), FEATURES):
                raise CheckpointError(f"the network returns {shape(features)}, not ({len(batch)}, {FEATURES})")
            parts.append(features.float().cpu())
        return torch.cat(parts)


def require_script(file: Path) -> None:
    """Raise `CheckpointError` unless the directory of a zip file looks like TorchScript; no code of it is run."""
    try:
        with zipfile.ZipFile(file) as archive:
            if any("/code/" in name for name in archive.namelist()):
                return
    except (OSError, zipfile.BadZipFile):
        pass
    raise CheckpointError(f"{file} is not a TorchScript file; give the file as it was published")


def load_inception(path: Path | None = None, device: str | torch.device = "cpu") -> Inception:
    """Load the published network in eval mode.

    Args:
        path: TorchScript file; by default the published one, downloaded if necessary. TorchScript is executable code,
            so load only files that you trust.
        device: where the network runs.

    Raises:
        DownloadError: the file cannot be downloaded.
        CheckpointError: the file does not exist, or is not TorchScript.
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
