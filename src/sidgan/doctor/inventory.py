"""What is installed: the bundled weights, and the third-party files that are cached or can be downloaded."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sidgan import checkpoint, downloads
from sidgan.doctor.findings import MARKS, NETWORKS, STATES
from sidgan.files import digest
from sidgan.version import __version__


@dataclass(frozen=True)
class Inventory:
    """What is installed.

    Attributes:
        weights: kind of network -> metadata of its file, with ``path``, ``bytes`` and ``sha256``; ``None`` if it is
            not bundled.
        published: every third-party file, and whether it is in the cache.
        device: ``cuda`` or ``cpu``, the device that a dub would use.
    """

    weights: dict[str, dict[str, Any] | None]
    published: tuple[downloads.Presence, ...]
    device: str

    def lines(self) -> list[str]:
        """The inventory as lines of text."""
        text = [f"sidgan {__version__}, Python {sys.version.split()[0]}, torch {torch.__version__}, {self.device}",
                "Bundled weights:"]  # fmt: skip
        width = max(map(len, self.weights))
        for kind, facts in self.weights.items():
            if facts is None:
                text.append(f"  {MARKS['missing']}  {kind:<{width}}  not bundled")
                continue
            text += [f"  {MARKS['ok']}  {kind:<{width}}  version {facts['meta'].get('version', 'not stated')}, "
                     f"{facts['bytes'] / 1e6:.1f} MB; {NETWORKS[kind]}",
                     f"      SHA-256 {facts['sha256']}", f"      {facts['path']}"]  # fmt: skip
        text.append(f"Files that others publish, kept in {downloads.folder()}:")
        width = max((len(one.download.file) for one in self.published), default=0)
        for one in self.published:
            file = one.download
            text.append(f"  {MARKS[STATES[one.state]]}  {file.file:<{width}}  {file.megabytes:g} MB; {file.purpose}"
                        + ("; this file is not the published one: remove it" if one.state == "wrong" else ""))
        return [*text, "To download one: sidgan info --fetch FILE. For addresses, digests and licences: sidgan "
                       "info --downloads"]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The inventory as JSON-able values."""
        found = {kind: "not bundled" if facts is None else facts for kind, facts in self.weights.items()}
        return {"sidgan": __version__, "python": sys.version.split()[0], "torch": torch.__version__,
                "device": self.device, **found, "downloads": [one.to_dict() for one in self.published]}  # fmt: skip


def take() -> Inventory:
    """Take the inventory of bundled weights and cache. Nothing is downloaded.

    Raises:
        CheckpointError: bundled weights are damaged.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Inventory({kind: _weights(checkpoint.bundled(kind)) for kind in NETWORKS}, tuple(downloads.survey()), device)


def _weights(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest(path), **checkpoint.read_meta(path)}
