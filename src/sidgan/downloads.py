"""Third-party files that this package can use but does not contain: their addresses, downloads and verification.

They are cached in one folder (``SIDGAN_CACHE``, or ``~/.cache/sidgan``) under their published names. Without a network,
put the file there by hand. A file with the wrong SHA-256 is never used.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sidgan.errors import CheckpointError, ConfigError, DownloadError
from sidgan.files import digest, finished, writing

TIMEOUT = 30.0  #: seconds without data after which a download fails
BLOCK = 1 << 20  #: bytes read at a time


@dataclass(frozen=True)
class Download:
    """A published file.

    Attributes:
        file: its name, also in the cache.
        url: where it is published.
        sha256: its digest, or the first digits of it if no more are published.
        megabytes: size.
        licence: of its contents.
        purpose: what the package uses it for.
        stated_by: who published the digest.
    """

    file: str
    url: str
    sha256: str
    megabytes: float
    licence: str
    purpose: str
    stated_by: str = "the publisher"


USERS = "independent projects that use the file; its publisher states none"

VGG19 = Download(
    file="vgg19-dcbb9e9d.pth", url="https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", sha256="dcbb9e9d",
    megabytes=548, licence="BSD-3-Clause; trained on ImageNet, whose pictures are for research",
    purpose="contextual and perceptual loss (training)",
)  # fmt: skip

VGG19_NORMALISED = Download(
    file="vgg_normalised.pth", sha256="804ca2835ecf7539f0cd2a7ac3c18ce81e6f8468969ae7117ac0c148d286bb4a",
    url="https://github.com/naoto0804/pytorch-AdaIN/releases/download/v0.0.0/vgg_normalised.pth",
    megabytes=80, licence="MIT around it; VGG19 of the Visual Geometry Group (CC BY 4.0), trained on ImageNet, whose "
        "pictures are for research",
    purpose="the same losses with vgg=normalised",
    stated_by=USERS,
)  # fmt: skip

YUNET = Download(
    file="face_detection_yunet_2023mar.onnx", sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/"
        "face_detection_yunet_2023mar.onnx",
    megabytes=0.2, licence="MIT; trained on WIDER FACE, whose pictures are for research",
    purpose="detector of small and turned faces",
)  # fmt: skip

INCEPTION = Download(
    file="inception-2015-12-05.pt", sha256="f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4",
    url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt",
    megabytes=96, licence="not stated with the file; translated from TensorFlow's network (Apache-2.0), trained on "
        "ImageNet, whose pictures are for research",
    purpose="FID (evaluation)", stated_by=USERS,
)  # fmt: skip

SYNCNET_V2 = Download(
    file="syncnet_v2.model", sha256="961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    url="http://www.robots.ox.ac.uk/~vgg/software/lipsync/data/syncnet_v2.model",
    megabytes=55, licence="not stated with the file (the program around it is MIT); trained on BBC broadcasts, as "
        "its paper says",
    purpose="LSE-D and LSE-C (evaluation)", stated_by=USERS,
)  # fmt: skip

FAN = Download(
    file="2DFAN4-cd938726ad.zip", url="https://www.adrianbulat.com/downloads/python-fan/2DFAN4-cd938726ad.zip",
    sha256="cd938726ad", megabytes=96, licence="not stated with the file (the program around it is BSD-3-Clause)",
    purpose="landmarks of turned, dark or partly covered faces",
)  # fmt: skip

#: Weights of VGG19 by the name in settings.
VGGS = {"published": VGG19, "normalised": VGG19_NORMALISED}
KNOWN = (VGG19, VGG19_NORMALISED, YUNET, INCEPTION, SYNCNET_V2, FAN)


def named(file: str) -> Download:
    """The published file of this name.

    Raises:
        ConfigError: it is not in `KNOWN`.
    """
    for one in KNOWN:
        if one.file == file:
            return one
    raise ConfigError(f"no published file '{file}'; the files are {', '.join(one.file for one in KNOWN)}")


def require_vgg(source: Path | str) -> None:
    """Raise a `CheckpointError` if ``source`` (see `checkpoint.load_vgg`) is a file that does not exist."""
    if source != "random" and str(source) not in VGGS and not Path(source).is_file():
        names = ", ".join(f"'{name}'" for name in VGGS)
        raise CheckpointError(f"no weights file {source} for VGG19; give a file, or one of {names} and 'random'")


def folder() -> Path:
    """The cache folder."""
    return Path(os.environ.get("SIDGAN_CACHE") or Path.home() / ".cache" / "sidgan")


def fetch(download: Download, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """The path of the file in the cache; it is downloaded if it is not there.

    Args:
        download: one of `KNOWN`.
        progress: called with the bytes received and the bytes expected (0 if unknown).

    Raises:
        DownloadError: it cannot be downloaded, or the file received or cached is not the published one.
        OutputError: the cache cannot be written.
    """
    path = folder() / download.file
    if not path.is_file():
        with writing(path):
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
                with writing(part):
                    target.write(block)
                    target.flush()
                done += len(block)
                progress(done, total)
    except (OSError, HTTPException) as error:  # network errors; `writing` turns disk errors into an `OutputError`
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise DownloadError(
            f"cannot download {download.url} ({reason}); download it on another computer and put it into {folder()}"
        ) from error
    if done < total:
        raise DownloadError(f"{download.url} ended after {done} of {total} bytes; try again")


@dataclass(frozen=True)
class Presence:
    """Whether a published file is in the cache: ``state`` is absent, present, or wrong (the digest does not match)."""

    download: Download
    path: Path
    state: str

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON-able values."""
        return asdict(self.download) | {"path": str(self.path), "state": self.state}

    def lines(self) -> list[str]:
        """The same as lines of text."""
        d = self.download
        digits = d.sha256 if len(d.sha256) == 64 else f"{d.sha256}... (only the first digits are stated)"
        there = {"absent": f"no; by hand, save it as {self.path}", "present": f"yes, {self.path}",
                 "wrong": f"no, {self.path} is another file: remove it"}  # fmt: skip
        return [
            f"{d.file}, {d.megabytes:g} MB: {d.purpose}", f"  address  {d.url}", f"  SHA-256  {digits}",
            f"           as stated by {d.stated_by}", f"  licence  {d.licence}", f"  present  {there[self.state]}",
        ]  # fmt: skip


def survey() -> list[Presence]:
    """Every file of `KNOWN`, and whether it is in the cache. Nothing is downloaded."""
    found = []
    for download in KNOWN:
        path = folder() / download.file
        valid = path.is_file() and digest(path).startswith(download.sha256)
        found.append(Presence(download, path, "present" if valid else "wrong" if path.exists() else "absent"))
    return found


def _check(download: Download, path: Path, what: str) -> None:
    found = digest(path)
    if not found.startswith(download.sha256):
        raise DownloadError(
            f"{what} is not the published {download.file} (SHA-256 {found[:16]}... instead of "
            f"{download.sha256[:16]}...); remove it and fetch it again"
        )
