"""The protocol of a result folder, so that figures from different settings are never mixed in one folder.

``protocol.json`` holds name and version of the protocol, all settings, digests of the weights, the sync expert, the
source code of this package and the names of the clips, and the versions of the libraries. Digests of the clips
themselves are in their records.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import sidgan
from sidgan.errors import ConfigError, some
from sidgan.evaluation import measures
from sidgan.files import digest, write_text, writing

PROTOCOL = "sidgan-eval-1"  #: the number is increased with every intended change of the figures
LIBRARIES = ("torch", "numpy", "scipy", "opencv-python-headless", "dlib-bin", "face_recognition_models", "av", "soxr")

#: Messages for fields that hold digests.
DIFFERENT = {
    "model": "the model's weights differ", "expert": "the sync expert differs",
    "code": "the code of sidgan differs", "clips.names": "the clips differ",
    "networks.inception": "FID is measured with another network, or not at all",
    "networks.lag_expert": "LSE is measured with another network, or not at all",
}  # fmt: skip
DIGEST = re.compile("[0-9a-f]{64}")


def text_digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines of text, as hexadecimal digits."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 of the names and digests of all source files of this package."""
    root = Path(sidgan.__file__).parent
    return text_digest(f"{p.relative_to(root).as_posix()} {digest(p)}" for p in sorted(root.rglob("*.py")))


def versions() -> dict[str, str | None]:
    """Versions of Python, this package and the libraries that affect the figures."""
    found: dict[str, str | None] = {"python": sys.version.split()[0], "sidgan": sidgan.__version__}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def describe(
    mode: str, settings: Mapping[str, Any], clips: Mapping[str, Any], networks: Mapping[str, Any],
    **digests: str | None,
) -> dict[str, Any]:  # fmt: skip
    """The content of ``protocol.json``.

    Args:
        mode: ``model``, ``videos`` or ``robustness``.
        settings: all settings.
        clips: how the clips were chosen, their number, and the digest of their names.
        networks: networks behind FID and LSE, see `networks.NetworkFiles.describe`.
        digests: digests by name of what else affects the figures.
    """
    metrics = {"frame": sorted(measures.FRAME), "sets": sorted(measures.SETS)}
    return {"protocol": PROTOCOL, "mode": mode, "settings": dict(settings), "metrics": metrics,
            "clips": dict(clips), "networks": dict(networks), **digests, "code": code_digest(),
            "versions": versions()}  # fmt: skip


def write_or_check(out: Path, protocol: Mapping[str, Any]) -> None:
    """Write ``protocol.json`` into a new result folder; in one that holds figures, check that it is the same.

    Raises:
        ConfigError: the folder holds figures of another protocol; the message names the first differences.
        OutputError: the file cannot be written.
    """
    path = out / "protocol.json"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(protocol, indent=1, sort_keys=True) + "\n"
    if any((out / "records").glob("*.json")):  # otherwise, the last run failed before its first clip
        differ = list(differences(_read(path), json.loads(text)))
        if differ:
            raise ConfigError(f"{out} holds results made with other settings: {some(differ)}; choose another --out, "
                              "or remove this folder to judge again")  # fmt: skip
        return
    write_text(path, text)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); choose another --out") from None


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Describe the fields in which two protocols differ, one phrase each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        phrase = DIFFERENT.get(name.removesuffix(".sha256"))
        if phrase is None and all(isinstance(value, str) and DIGEST.fullmatch(value) for value in (old, new)):
            phrase = f"{name} differs"
        yield phrase or f"{name} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-12:]}"
