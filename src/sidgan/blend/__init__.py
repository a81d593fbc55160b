"""How a redrawn mouth is blended into the frame.

::

    frame, references ─ light ─▶ network ─ focus ─▶ drawn face
    drawn face ─ tone ─ contours ─ border ─ mask ─▶ corrected face and its alpha mask
                        face at the video's size ─ steady ─ detail ─▶ pasted into the frame

`light` shows the network frame and references in one light, and puts the frame's own back. `focus` makes a drawn face
as soft as its frame. `tone` matches colours to the skin around the mouth, `contours` sharpens a mouth to match the
filmed one, `border` and `mask` decide where the redrawn region ends, `steady` keeps skin from flickering, `detail` adds
the grain of the source. Whatever is smoothed over time uses a fixed number of past frames (`running`), so a video can
be drawn in segments.
"""

from sidgan.blend import border, contours, steady, tone
from sidgan.blend.border import Border
from sidgan.blend.contours import Contours
from sidgan.blend.mask import mouth_alpha, polygon
from sidgan.blend.steady import STEADY, Steady
from sidgan.blend.tone import ToneMatch

#: Number of output frames that one frame depends on, including itself. Border, contours and steady skin are running
#: means over faces whose tone was corrected before by another running mean, so the lengths of the two add up.
LOOK_BACK = tone.LOOK_BACK + max(border.LOOK_BACK, contours.LOOK_BACK, steady.LOOK_BACK) - 1

__all__ = ["LOOK_BACK", "STEADY", "Border", "Contours", "Steady", "ToneMatch", "mouth_alpha", "polygon"]
