"""Files that others publish and this package can use but does not contain: where they are, and whether they arrived.

Each is kept in one folder (``SIDGAN_CACHE``, or ``~/.cache/sidgan``) under its published name. Without a network, put
the file there by hand. A file whose SHA-256 is wrong is never used.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sidgan.errors import DownloadError
from sidgan.files import finished

TIMEOUT = 30.0  #: seconds without a byte
BLOCK = 1 << 20


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        file: its name, also in the cache.
        url: where it is published.
        sha256: its digest, or as many first digits of it as the publisher states.
        megabytes: size.
        licence: of its contents.
        purpose: what it is for.
    """

    file: str
    url: str
    sha256: str
    megabytes: int
    licence: str
    purpose: str


VGG19 = Download(
    file="vgg19-dcbb9e9d.pth", url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", sha256="dcbb9e9d",
    megabytes=548, licence="BSD-3-Clause; trained on ImageNet, whose pictures are for research",
    purpose="contextual and perceptual loss",
)  # fmt: skip

YUNET = Download(
    file="face_detection_yunet_2023mar.onnx", sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
    megabytes=1, licence="MIT; trained on WIDER FACE, whose pictures are for research",
    purpose="a face detector that finds small and turned faces",
)  # fmt: skip

KNOWN = (VGG19, YUNET)


def folder() -> Path:
    """Where downloads are kept."""
    return Path(os.environ.get("SIDGAN_CACHE") or Path.home() / ".cache" / "sidgan")


def fetch(download: Download, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The file in the cache, downloaded if it is not there.

    Args:
        download: one of `KNOWN`.
        progress: called with the bytes that arrived and the bytes expected.

    Raises:
        DownloadError: it cannot be had, or what is there is not the published file.
        OutputError: the cache cannot be written.
    """
    path = folder() / download.file
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with finished(path) as part:
            _receive(download, part, progress)
            _check(download, part, f"what {download.url} sent")
        return path
    _check(download, path, str(path))
    return path


def _receive(download: Download, part: Path, progress: Callable[[int, int], None]) -> None:
    done = 0
    try:
        with urllib.request.urlopen(download.url, timeout=TIMEOUT) as source, part.open("wb") as target:
            total = int(source.headers.get("Content-Length") or 0)
            while block := source.read(BLOCK):
                target.write(block)
                done += len(block)
                progress(done, total)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DownloadError(
            f"cannot download {download.url} ({reason}); fetch it elsewhere and put it into {folder()}"
        ) from error
    if done < total:
        raise DownloadError(f"{download.url} ended after {done} of {total} bytes; try again")


def _check(download: Download, path: Path, what: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    if not digest.hexdigest().startswith(download.sha256):
        raise DownloadError(
            f"{what} is not the published {download.file} (SHA-256 {digest.hexdigest()[:16]}... instead of "
            f"{download.sha256[:16]}...); remove it and fetch it again"
        )
