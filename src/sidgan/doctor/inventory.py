"""What is installed: the bundled weights, and the files of others that are here or can be fetched."""

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
    """What is there.

    Attributes:
        weights: kind of network -> what its file says about itself, with ``path``, ``bytes`` and ``sha256``; ``None``
            where it is not bundled.
        published: every file that others publish, and whether it arrived.
        device: ``cuda`` or ``cpu``, whichever a dub would use.
    """

    weights: dict[str, dict[str, Any] | None]
    published: tuple[downloads.Presence, ...]
    device: str

    def lines(self) -> list[str]:
        """To read."""
        told = [f"sidgan {__version__}, Python {sys.version.split()[0]}, torch {torch.__version__}, {self.device}",
                "Bundled weights:"]  # fmt: skip
        width = max(map(len, self.weights))
        for kind, facts in self.weights.items():
            if facts is None:
                told.append(f"  {MARKS['missing']}  {kind:<{width}}  not bundled")
                continue
            told += [f"  {MARKS['ok']}  {kind:<{width}}  version {facts['meta'].get('version', 'not stated')}, "
                     f"{facts['bytes'] / 1e6:.1f} MB; {NETWORKS[kind]}",
                     f"      SHA-256 {facts['sha256']}", f"      {facts['path']}"]  # fmt: skip
        told.append(f"Files that others publish, kept in {downloads.folder()}:")
        width = max((len(one.download.file) for one in self.published), default=0)
        for one in self.published:
            file = one.download
            told.append(f"  {MARKS[STATES[one.state]]}  {file.file:<{width}}  {file.megabytes:g} MB; {file.purpose}"
                        + ("; this file is not the published one: remove it" if one.state == "wrong" else ""))
        return [*told, "To download one: sidgan info --fetch FILE. For addresses, digests and licences: sidgan "
                       "info --downloads"]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All that is known, as plain values for JSON."""
        found = {kind: "not bundled" if facts is None else facts for kind, facts in self.weights.items()}
        return {"sidgan": __version__, "python": sys.version.split()[0], "torch": torch.__version__,
                "device": self.device, **found, "downloads": [one.to_dict() for one in self.published]}  # fmt: skip


def take() -> Inventory:
    """Look at the bundled weights and into the cache. Nothing is fetched.

    Raises:
        CheckpointError: bundled weights are damaged.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Inventory({kind: _weights(checkpoint.bundled(kind)) for kind in NETWORKS}, tuple(downloads.survey()), device)


def _weights(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest(path), **checkpoint.read_meta(path)}
