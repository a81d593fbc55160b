"""The single checks: packages, extras, weights, published files, encoders, disk space; each with its remedy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

State = Literal["ok", "missing", "broken"]
MARKS = {"ok": "ok", "missing": "--", "broken": "!!"}
SPACE = 1.0  #: GiB of free disk space, below which a dub of some minutes may not fit

STATES: dict[str, State] = {"present": "ok", "absent": "missing", "wrong": "broken"}  #: of published files
#: Kind of each bundled network -> its purpose.
NETWORKS = {
    "generator": "redraws mouths", "critics": "sharpen mouths in adaptation", "syncnet": "sync expert, for training",
    "occlusion": "detects hands and objects in front of faces",
}  # fmt: skip
#: Packages that dubbing needs: module -> distribution.
NEEDED = {
    "torch": "torch", "numpy": "numpy", "scipy": "scipy", "av": "av", "cv2": "opencv-python-headless",
    "dlib": "dlib-bin", "soxr": "soxr", "safetensors": "safetensors",
}  # fmt: skip
#: Extra -> its modules, and its purpose.
EXTRAS = {
    "train": (("lightning",), "training and adaptation"),
    "paper": (("matplotlib",), "figures of the paper"),
    "openvino": (("onnx", "onnxscript", "openvino"), "the engine openvino, an alternative on CPUs"),
    "onnx": (("onnx", "onnxscript", "onnxruntime"), "the engine onnx, and sidgan export"),
    "speech": (("pocketsphinx",), "sidgan label"),
    "c2pa": (("c2pa", "cryptography"), "signing of results (dub --sign)"),
    "serve": (("fastapi", "uvicorn", "psutil"), "the service (sidgan serve)"),
    "queue": (("redis",), "service workers on other machines (serve --queue)"),
    "ray": (("ray",), "work on several machines (--ray)"),
}


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: ``ok``, ``missing``, or ``broken`` (installed but not working).
        detail: its version, its purpose, or its error.
        needed: whether dubbing needs it.
        remedy: the command that adds or repairs it; empty if there is nothing to do.
    """

    name: str
    state: State
    detail: str
    needed: bool = False
    remedy: str = ""

    def lines(self, width: int = 0) -> list[str]:
        """The result as lines of text, with the name in a column of ``width`` characters."""
        text = [f"  {MARKS[self.state]}  {self.name:<{width}}  {self.detail}"]
        return text + ([f"      {'':<{width}}  to add or fix it: {self.remedy}"] if self.remedy else [])


def packages() -> Iterator[Finding]:
    """Check every package that dubbing needs by importing it."""
    for module, distribution in NEEDED.items():
        yield _imported(distribution, (module,), _version(distribution), f"pip install {distribution}", needed=True)
    spec = find_spec("face_recognition_models")  # not imported, as that needs `pkg_resources`, gone from setuptools
    found = spec is not None
    version = _version("face_recognition_models")
    detail = "installed, version unknown" if found and version == NOT_INSTALLED else version  # a folder on the path
    yield Finding("face models", "ok" if found else "missing", detail, True,
                  "" if found else "pip install face_recognition_models")  # fmt: skip


def extras() -> Iterator[Finding]:
    """Check every extra by importing its modules, and the separate tool for source separation."""
    for extra, (modules, purpose) in EXTRAS.items():
        yield _imported(extra, modules, purpose, f"pip install 'sidgan[{extra}]'")
    from sidgan.media.separation import INSTALL, TOOL, separator

    installed = separator() is not None
    yield Finding("separate", "ok" if installed else "missing", f"dub --background original, with {TOOL}", False,
                  "" if installed else INSTALL)  # fmt: skip


def conflicts() -> Iterator[Finding]:
    """Check for installed packages that break others."""
    try:
        version("torchvision")
    except PackageNotFoundError:
        pass
    else:
        yield _imported("torchvision", ("torchvision",), "not needed, but fits this torch", "pip uninstall torchvision")
    for distribution in ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"):
        if _version(distribution) != NOT_INSTALLED:
            yield Finding(distribution, "broken", "overwrites files of opencv-python-headless", False,
                          f"pip uninstall {distribution} && pip install --force-reinstall opencv-python-headless")


def weights() -> Iterator[Finding]:
    """Check the bundled networks by reading the metadata of their files."""
    from sidgan import checkpoint
    from sidgan.errors import CheckpointError

    for kind, purpose in NETWORKS.items():
        needed, remedy = kind not in ("syncnet", "critics"), "pip install --force-reinstall --no-deps sidgan"
        path = checkpoint.bundled(kind)
        try:
            checkpoint.read_meta(path)
        except CheckpointError as error:
            state: State = "broken" if path.is_file() else "missing"
            yield Finding(kind, state, str(error), needed, remedy)
        else:
            yield Finding(kind, "ok", f"{purpose}; {path.stat().st_size / 1e6:.1f} MB", needed)


def downloads() -> Iterator[Finding]:
    """Check which third-party files are in the cache; nothing is downloaded."""
    from sidgan.downloads import survey

    for one in survey():
        file, detail = one.download.file, f"{one.download.purpose}; {one.download.megabytes:g} MB"
        remedy = "" if one.state == "present" else f"sidgan info --fetch {file}"
        if one.state == "wrong":
            detail = f"{one.path} is not the published file; remove it first"
        yield Finding(file, STATES[one.state], detail, False, remedy)


def encoders() -> Finding:
    """Check which encoders work here; x264 is needed."""
    from sidgan.media.encoders import working

    names = working()
    found = "x264" in names
    return Finding("encoders", "ok" if found else "missing", ", ".join(names), True,
                   "" if found else "pip install --force-reinstall av")  # fmt: skip


def space(folder: Path) -> Finding:
    """Check the free disk space in a folder."""
    free = shutil.disk_usage(folder).free / (1 << 30)
    enough = free >= SPACE
    return Finding("disk", "ok" if enough else "missing", f"{free:.1f} GiB free in {folder}", False,
                   "" if enough else "free space, or work in another folder")  # fmt: skip


NOT_INSTALLED = "not installed"


def _imported(name: str, modules: tuple[str, ...], detail: str, remedy: str, *, needed: bool = False) -> Finding:
    if any(find_spec(module) is None for module in modules):
        return Finding(name, "missing", detail, needed, remedy)
    try:
        for module in modules:
            import_module(module)
    except Exception as error:  # a broken package may raise any error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return Finding(name, "broken", f"cannot be imported: {reason[0][:100]}", needed, remedy)
    return Finding(name, "ok", detail, needed)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return NOT_INSTALLED
