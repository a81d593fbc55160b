"""Material that several test files share: drawn, never filmed."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from drawn import talking_blob
from known import remember
from marked import films
from small import save_networks

from sidgan.config import GeneratorConfig
from sidgan.nn import Generator
from sidgan.settings import from_dict, read_toml
from sidgan.web.settings import Means

torch.set_num_threads(1)
gc.disable()  # all that is imported and collected stays: looking through it again and again takes seconds


def pytest_collection_finish() -> None:
    """From here on there is something to find, and what is there by now need not be looked at."""
    gc.freeze()
    gc.enable()


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
def known_faces() -> Iterator[None]:
    """For tests that dub the same small film many times: faces in a picture that were found twice are known."""
    with pytest.MonkeyPatch.context() as patch:
        remember(patch)
        yield


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
