"""What a remote worker must have in common with the service: then it can do every kind of job, and produces the same
bytes as a local worker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sidgan.version import __version__

PIECE = 1 << 22  #: bytes of a result that are sent at a time
#: File names of the results of each kind of job; a remote worker can upload no others.
RESULTS = {
    "look": re.compile(r"person-[1-9][0-9]{0,3}\.jpg"), "frame": re.compile(r"(before|after)\.jpg"),
    "preview": re.compile(r"(before|after)\.mp4"), "dub": re.compile(r"dubbed\.mp4|report\.html"),
}  # fmt: skip
ID = re.compile(r"[0-9a-f]{32}")  #: of a file or job


@dataclass(frozen=True)
class Terms:
    """What determines the bytes of a result, apart from the job and the machine.

    Attributes:
        version: of this package.
        weights: name and SHA-256 of the weights file; both are in the mark of every video.
        engine: see `sidgan.dub`.
        separates: whether a tool for separating speech from other sound is installed, which some jobs need.
    """

    version: str
    weights: str
    engine: str
    separates: bool

    @classmethod
    def of(cls, model: str, engine: str) -> Self:
        """The terms of this process.

        Raises:
            CheckpointError: the weights file does not exist.
        """
        from sidgan.checkpoint import file_of
        from sidgan.files import digest, require_weights
        from sidgan.media import separator

        file = file_of(model)
        require_weights(file)
        return cls(__version__, f"{file.stem} {digest(file)}", engine, separator() is not None)

    def other(self, worker: Terms) -> str:
        """One line about how a worker's terms differ from these; empty if they match."""
        if worker.version != self.version:
            return f"this worker is sidgan {worker.version}, and the service {self.version}; install the same on both"
        if worker.weights != self.weights:
            return (f"this worker has the weights {_short(worker.weights)}, and the service {_short(self.weights)}; "
                    "start both with the same file under the same name: --model")  # fmt: skip
        if worker.engine != self.engine:
            return f"this worker has --engine {worker.engine}, and the service {self.engine}; start both with the same"
        if self.separates and not worker.separates:
            return ("this worker has no separation tool, and the service offers what needs one; where the worker is, "
                    "run: pip install 'sidgan[separate]'")  # fmt: skip
        return ""


def _short(weights: str) -> str:
    name, _, digest = weights.rpartition(" ")
    return f"{name}-{digest[:12]}"
