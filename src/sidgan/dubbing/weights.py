"""Which weights a dub is drawn with, for marks, journals, reports and worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from sidgan import checkpoint, provenance
from sidgan.nn import Generator


@dataclass(frozen=True)
class Weights:
    """The weights of a dub.

    Attributes:
        source: what they are loaded from: ``bundled``, a file, or a network in memory.
        name: name of the file without its suffix; ``given`` for a network.
        digest: SHA-256 of the file, or `sidgan.checkpoint.digest` of the network.
        label: how reports name them.
    """

    source: Path | str | Generator
    name: str
    digest: str
    label: str

    @classmethod
    def of(cls, source: Path | str | Generator) -> Weights:
        """Identify the weights of a file or network."""
        if isinstance(source, str | PathLike):
            file = checkpoint.file_of(source)
            digest = provenance.digest_of(file)
            return cls(source, file.stem, digest, f"{file.stem}-{digest[:12]}")
        return cls(source, "given", checkpoint.digest(source.state_dict()), "given")
