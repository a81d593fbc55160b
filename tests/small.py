"""Networks as small as they get, for tests that need files of weights."""

from pathlib import Path
from unittest import mock

import torch

from sidgan import checkpoint
from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.nn import VGG19, Generator, SyncNet, vgg


def save_networks(folder: Path, size: int) -> tuple[Path, Path]:
    """Files of a generator of this size and of an expert, always the same."""
    torch.manual_seed(0)
    small = GeneratorConfig(size=size, base=2, cmax=4, rgb_levels=(size,), audio_levels=(16,), audio_width=1)
    checkpoint.save(folder / "model.safetensors", Generator(small))
    checkpoint.save(folder / "expert.safetensors", SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)))
    return folder / "model.safetensors", folder / "expert.safetensors"


def small_vgg() -> VGG19:
    """As `VGG19()`, with an eighth of its channels."""
    with mock.patch.object(vgg, "LAYERS", tuple(channels // 8 for channels in vgg.LAYERS)):
        return VGG19()
