"""Pictures and sound that are still arriving: dubbed a little later, and never stored.

::

    pictures ─ framed ─┬─ Watch ─▶ faces so far, doubts, who is redrawn ─┐   watching   decided a second later
                       └──────────────────────────┐                      ├─ redraw ─▶ pictures    live
    sound ─── Hearing ─▶ spectrogram of the last seconds ────────────────┘   hearing

A video in a file is better dubbed as a whole (`sidgan.dub`): what is decided here by the last seconds, who is redrawn,
which pictures a face is drawn after, where something covers it, is decided there by all of it.
"""

from sidgan.dubbing.live.hearing import Hearing
from sidgan.dubbing.live.live import LOOK_AHEAD, STEP, Live

__all__ = ["LOOK_AHEAD", "STEP", "Hearing", "Live"]
