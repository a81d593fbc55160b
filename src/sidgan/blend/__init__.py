"""How a redrawn mouth meets the rest of the picture.

::

    drawn face ─ tone ─ contours ─ border ─ mask ─▶ which of its pixels are used, looking how
                              face at the video's size ─ steady ─ detail ─▶ pasted into the frame

`tone` takes on the colours around it, `contours` makes a mouth as clear as the filmed one, `border` and `mask` say
where the redrawn region ends, `steady` keeps skin from flickering, `detail` gives it the grain of the source. What
remembers earlier frames forgets them after a few (`running`), so a video can be drawn in pieces.
"""

from sidgan.blend import border, contours, steady, tone
from sidgan.blend.border import Border
from sidgan.blend.contours import Contours
from sidgan.blend.mask import mouth_alpha, polygon
from sidgan.blend.steady import STEADY, Steady
from sidgan.blend.tone import ToneMatch

#: Frames of the output that make a difference to one, itself included. Border, contours and calm are running means over
#: faces whose tone was corrected before, by a running mean of its own: so the two add up.
LOOK_BACK = tone.LOOK_BACK + max(border.LOOK_BACK, contours.LOOK_BACK, steady.LOOK_BACK) - 1

__all__ = ["LOOK_BACK", "STEADY", "Border", "Contours", "Steady", "ToneMatch", "mouth_alpha", "polygon"]
