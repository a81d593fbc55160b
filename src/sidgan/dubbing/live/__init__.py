"""Dub a live stream of pictures and sound with a short delay; nothing is stored.

::

    pictures ─ framed ─┬─ Watch ─▶ tracks so far, confidence, who is redrawn ─┐   watching   with 1 s of look-ahead
                       └─ frames that are not returned yet ───────────────────┼─ redraw ─▶ pictures          live
    sound ─── Hearing ─▶ spectrogram of the last seconds ─────────────────────┘   hearing

`sidgan.dub` dubs a complete file better: who is redrawn, which reference frames are used and where something covers a
face depends there on the whole video, but here only on the last few seconds.
"""

from sidgan.dubbing.live.hearing import Hearing
from sidgan.dubbing.live.live import LOOK_AHEAD, STEP, Live

__all__ = ["LOOK_AHEAD", "STEP", "Hearing", "Live"]
