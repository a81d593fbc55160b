"""A video and a voice to a video that speaks with that voice: the only place where the stages are wired together.

::

    video ─ read ─ track ──────────▶ tracks                     analysis    first pass: where is whose face
    voice ─ decode ─ mel ──────────▶ spectrogram, timeline      voice       which frame is shown when
    video ─ play ─┬─ crop ─ hide ─ Engine ─ tone ─ paste ─┐     drawing     second pass: batches of faces,
                  └─ frames without a usable face ────────┴─ write          frames in order
    output ─ read ─ compare ───────▶ report                     proof       third pass: is it what was meant?

What is drawn goes into its frame calmed (`steady`), with the detail it lacks (`detail`), and is looked at (`looks`); a
`page` tells what came of it.

Only landmarks and the spectrogram are kept, so memory does not grow with pictures.
"""

from sidgan.dubbing.dubber import Dubber, check, dub
from sidgan.dubbing.journal import work_folder
from sidgan.dubbing.page import write_page
from sidgan.dubbing.report import DubReport
from sidgan.dubbing.strips import strip

__all__ = ["DubReport", "Dubber", "check", "dub", "strip", "work_folder", "write_page"]
