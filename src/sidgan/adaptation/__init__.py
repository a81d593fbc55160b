"""Fine-tune the generator on the video to be dubbed, whose pictures and sound are the ground truth for its people.

::

    video ─ material ─▶ crops of each face ─ sound ─▶ does the sound belong to the face?
                              │                              │
                              └── tuning: train on most ◀────┘
                                  judging: better on held-out frames, and does the mouth still follow sound? ─▶ kept?

The last part of each face is held out. The adapted weights are used only if they draw it better than the weights they
started from.
"""

from sidgan.adaptation.kept import adapt_faces_once
from sidgan.adaptation.run import Adapted, AdaptReport, adapt, adapt_faces, networks
from sidgan.adaptation.settings import AdaptConfig

__all__ = ["AdaptConfig", "AdaptReport", "Adapted", "adapt", "adapt_faces", "adapt_faces_once", "networks"]
