"""A video and a voice to a video that speaks with that voice: the only place where the stages are wired together.

::

    video ─ read ─ track ─ glimpse ▶ tracks, people, doubts     analysis    first pass: where is whose face, how sure
    ask   ─ number, photo, sound ──▶ who is redrawn             analysis.choice
    try   ─ redraw, compare ───────▶ after which pictures       analysis.rehearsal
    voice ─ decode ─ mel ──────────▶ spectrogram, timeline      voice       which frame is shown when
    video ─ play ─┬─ crop ─ hide ─ Engine ─ tone ─ paste ─┐     drawing     second pass: batches of faces,
                  └─ frames without a usable face ────────┴─ write          frames in order
    output ─ read ─ compare ───────▶ report, page               review      third pass: is it what was meant?

What is drawn goes into its frame by `sidgan.blend`, behind what lies before the face (`analysis.covering`). A page
says how it looks and what to check first (`review`). Settings are in `settings`; what comes before and after these
passes is in `preparation` and `conclusion`. What is done so far is kept by `journal`, so that a dub can be resumed.
Pictures that are still arriving go another way (`live`), by the same stages.

What becomes of each frame is decided before the first is drawn (`plan`). Only landmarks, tones of skin and spectrograms
are kept, so memory does not grow with pictures: small ones of the faces go to a file when they are many.
"""

from sidgan.dubbing.analysis.census import Presence, faces
from sidgan.dubbing.dubber import Dubber, dub
from sidgan.dubbing.journal import work_folder
from sidgan.dubbing.preparation import check
from sidgan.dubbing.report import DubReport, Shot
from sidgan.dubbing.review.page import write_page
from sidgan.dubbing.review.strips import strip

__all__ = [
    "DubReport", "Dubber", "Presence", "Shot", "check", "dub", "faces", "strip", "work_folder", "write_page",
]  # fmt: skip
