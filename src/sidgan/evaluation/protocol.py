"""What a result folder says about how it came to be, and why figures of another way are not mixed into it.

``protocol.json`` holds the protocol's name and version, every setting, and digests of all that decides the figures:
weights, expert, the source of this package, versions of the libraries, and the names of the clips. Digests of the
clips themselves are in their records.
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
from sidgan.errors import ConfigError
from sidgan.evaluation import measures
from sidgan.files import digest, write_text, writing

PROTOCOL = "sidgan-eval-1"  #: counts up whenever the same clips and weights would get other figures by intention
LIBRARIES = ("torch", "numpy", "scipy", "opencv-python-headless", "dlib-bin", "face_recognition_models", "av", "soxr")

#: What is said of a field that differs and is known by its digest.
OTHERS = {
    "model": "the model's weights are others", "expert": "the sync expert is another",
    "code": "the code of sidgan is another version", "clips.names": "the clips are others",
    "networks.inception": "FID is measured by another network, or not at all",
    "networks.lag_expert": "LSE is measured by another network, or not at all",
}  # fmt: skip
DIGEST = re.compile("[0-9a-f]{64}")
MOST = 3  #: differences that a message names


def text_digest(lines: Iterable[str]) -> str:
    """SHA-256 of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 over names and digests of this package's source files."""
    root = Path(sidgan.__file__).parent
    return text_digest(f"{p.relative_to(root).as_posix()} {digest(p)}" for p in sorted(root.rglob("*.py")))


def versions() -> dict[str, str | None]:
    """Of Python, this package and the libraries that compute."""
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
        settings: everything that was chosen.
        clips: where the clips came from, how many there are, the digest of their names.
        networks: published or custom networks that judge, see `networks.NetworkFiles.describe`.
        digests: by name, of what else decides the figures.
    """
    metrics = {"frame": sorted(measures.FRAME), "sets": sorted(measures.SETS)}
    return {"protocol": PROTOCOL, "mode": mode, "settings": dict(settings), "metrics": metrics,
            "clips": dict(clips), "networks": dict(networks), **digests, "code": code_digest(),
            "versions": versions()}  # fmt: skip


def settle(out: Path, protocol: Mapping[str, Any]) -> None:
    """Write ``protocol.json`` into a new result folder, or see that one that holds figures has the same.

    Raises:
        ConfigError: the folder holds figures that were made in another way; the message names the first differences.
        OutputError: it cannot be written.
    """
    path = out / "protocol.json"
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(protocol, indent=1, sort_keys=True) + "\n"
    if any((out / "records").glob("*.json")):  # else a run failed before it came to a figure
        differ = list(differences(_read(path), json.loads(text)))
        if differ:
            more = [f"and {len(differ) - MOST} more"] if len(differ) > MOST else []
            raise ConfigError(f"{out} holds results made with other settings: {', '.join(differ[:MOST] + more)}; "
                              "choose another --out, or remove this folder to judge again")  # fmt: skip
        return
    write_text(path, text)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); choose another --out") from None


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """Fields in which two ways to judge differ, a phrase for each."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    elif old != new:
        known = OTHERS.get(name.removesuffix(".sha256"))
        if known is None and all(isinstance(value, str) and DIGEST.fullmatch(value) for value in (old, new)):
            known = f"{name} is another"
        yield known or f"{name} was {_short(old)} and is {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}...{text[-12:]}"
