"""Fine-tuning the generator on the video that is to be dubbed: its own picture and sound are truth for its people.

::

    video ─ material ─▶ frames of each face ─ sound ─▶ does the sound teach its lips?
                              │                              │
                              └── tuning: steps on most ◀────┘
                                  judging: is it better on the rest, and does the mouth still listen? ─▶ kept or not

The last stretch of each face is never trained on. It judges the result, and the adapted weights are used only where
they draw that stretch better than the weights they started from.
"""

from sidgan.adaptation.kept import adapt_faces_once
from sidgan.adaptation.run import Adapted, AdaptReport, adapt, adapt_faces, networks
from sidgan.adaptation.settings import AdaptConfig

__all__ = ["AdaptConfig", "AdaptReport", "Adapted", "adapt", "adapt_faces", "adapt_faces_once", "networks"]
