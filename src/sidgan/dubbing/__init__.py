"""Dub a video with a new voice: the package that connects all stages, from reading the inputs to checking the output.

::

    video ─ decode ─ track faces ──▶ tracks, people, confidence analysis    first pass: whose face is where
    option ─ number, photo, sound ─▶ who is redrawn             analysis.choice
    trial ─ redraw, compare ───────▶ reference frames           analysis.rehearsal
    voice ─ decode ─ mel ──────────▶ spectrogram, timeline      voice, plan: which frame is shown when
    video ─ decode ─┬─ crop ─ mask ─ Engine ─ tone ─ paste ─┐   drawing     second pass: batches of faces,
                    └─ frames without a usable face ────────┴─ encode       frames in order
    output ─ decode ─ compare ─────▶ report, page               review      third pass: verify the output

`sidgan.blend` blends the drawn faces into their frames, behind objects that cover them (`analysis.covering`). `review`
measures image quality and writes a page that says what to check first. `dubber` has the entry points, `passes` runs the
three passes in order, and `preparation` and `conclusion` hold the steps before and after them. Settings are in
`settings`. `journal` saves finished work, so that a dub can be resumed. `excerpt` dubs a few frames for a preview, and
`live` dubs streams of pictures, both with the same building blocks.

What happens to each frame is decided before the first one is drawn (`plan`). Full pictures are not kept between the
passes, only landmarks, skin tones and spectrograms, so memory use hardly grows with the length of the video. The small
face crops of the first pass go to a temporary file when there are many.
"""

from sidgan.dubbing.analysis.census import Presence, faces
from sidgan.dubbing.conclusion import reduced
from sidgan.dubbing.dubber import Dubber, dub
from sidgan.dubbing.excerpt import Excerpt
from sidgan.dubbing.journal import work_folder
from sidgan.dubbing.kept import is_made
from sidgan.dubbing.preparation import check
from sidgan.dubbing.report import DubReport, Shot
from sidgan.dubbing.review.page import write_page
from sidgan.dubbing.review.strips import strip

__all__ = [
    "DubReport", "Dubber", "Excerpt", "Presence", "Shot", "check", "dub", "faces", "is_made", "reduced", "strip",
    "work_folder", "write_page",
]  # fmt: skip
