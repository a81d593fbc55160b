"""What a service and its workers elsewhere agree on before the first job, so that any of them gives the same bytes, and
can do whatever the service offers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sidgan.version import __version__

PIECE = 1 << 22  #: bytes of a result that are sent at a time
#: Results of each kind of job, by their names; a worker elsewhere can send nothing else.
RESULTS = {
    "look": re.compile(r"person-[1-9][0-9]{0,3}\.jpg"), "frame": re.compile(r"(before|after)\.jpg"),
    "preview": re.compile(r"(before|after)\.mp4"), "dub": re.compile(r"dubbed\.mp4|report\.html"),
}  # fmt: skip
NUMBER = re.compile(r"[0-9a-f]{32}")  #: of a file or job


@dataclass(frozen=True)
class Terms:
    """What decides the bytes of a result, beside the job and the machine.

    Attributes:
        version: of this package.
        weights: name and SHA-256 of the model's file; both are noted in every video.
        engine: see `sidgan.dub`.
        separates: whether there is a tool that separates speech from other sound, which some jobs need.
    """

    version: str
    weights: str
    engine: str
    separates: bool

    @classmethod
    def of(cls, model: str, engine: str) -> Self:
        """Those of this process.

        Raises:
            CheckpointError: the model's file is not there.
        """
        from sidgan.checkpoint import file_of
        from sidgan.files import digest, require_weights
        from sidgan.media import separator

        file = file_of(model)
        require_weights(file)
        return cls(__version__, f"{file.stem} {digest(file)}", engine, separator() is not None)

    def other(self, worker: Terms) -> str:
        """In one line, what a worker lacks or has that is not the same; nothing where it fits."""
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
