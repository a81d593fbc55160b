"""Material that several test files share: drawn, never filmed."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from marked import films
from small import save_networks

from sidgan.config import GeneratorConfig, from_dict, read_toml
from sidgan.data.dataset import PackedClip
from sidgan.nn import Generator
from sidgan.web.worker import Means

torch.set_num_threads(1)


def talking_blob(size: int, frames: int, seed: int = 0) -> PackedClip:
    """A packed clip of a coloured disc whose dark mouth opens with the loudness of its sound."""
    rng = np.random.default_rng(seed)
    opening = 0.5 + 0.5 * np.sin(np.cumsum(rng.uniform(0.2, 0.9, frames)))
    y, x = np.mgrid[0:size, 0:size] / size
    skin = rng.uniform(0.4, 0.9, 3)
    images = np.empty((frames, size, size, 3), np.uint8)
    for i, wide in enumerate(opening):
        face = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.2)[..., None] * skin
        mouth = (((x - 0.5) / 0.15) ** 2 + ((y - 0.72) / (0.02 + 0.1 * wide)) ** 2 < 1)[..., None]
        images[i] = 255 * np.where(mouth, 0.1, face)
    mels = np.full((frames, 1, 80, 28), -4.0, np.float16)
    for i, wide in enumerate(opening):
        mels[i] = -3 + 5 * wide + 0.1 * rng.standard_normal((1, 80, 28))
    masks = np.tile(np.array([0.2, 0.55, 0.8, 1.0], np.float32), (frames, 1))
    return PackedClip(
        name=f"blob/{seed}", images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        mels=torch.from_numpy(mels), masks=torch.from_numpy(masks), landmarks=np.zeros((frames, 68, 2), np.float32),
    )  # fmt: skip


@pytest.fixture(scope="module")
def generator() -> Generator:
    """A small one with random weights, the same for all."""
    torch.manual_seed(0)
    return Generator(from_dict(GeneratorConfig, read_toml("nano64")["generator"])).eval()


@pytest.fixture
def blob():
    """Maker of `talking_blob` clips."""
    return talking_blob


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of the real footage; the test is skipped, and says so, where it is not there."""
    default = Path(__file__).parents[2] / "shared" / "clips"
    folder = Path(os.environ.get("SIDGAN_CLIPS", default))
    if not folder.is_dir():
        pytest.skip("no real footage: set SIDGAN_CLIPS")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads of OpenCV do not live on in processes that are forked."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(before)


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small films, and networks small enough to dub them in tests of the service."""
    folder = films(tmp_path_factory.mktemp("material"))
    save_networks(folder, 64)
    return folder


@pytest.fixture(scope="module")
def means(material: Path) -> Means:
    """What a worker of the service works with in tests."""
    return Means(model=str(material / "model.safetensors"), device="cpu")
