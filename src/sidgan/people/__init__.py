"""People in a video: tracks (`tracked`), `views`, references, and who is who (`cast`).

References are chosen and read by `references`, borrowed by `lending`, made by `opening`, and held by `likeness`.
"""

from sidgan.people.cast import SAME, Looks, Member, members
from sidgan.people.likeness import Likeness
from sidgan.people.references import References, sharpness
from sidgan.people.tracked import MAX_ROLL, MAX_YAW, MIN_SIDE, TrackedFace, redrawn
from sidgan.people.views import PAIR_FRAMES, REFERENCE_FRAMES, SHUT, View, mixed, stays_still, telling

__all__ = [
    "MAX_ROLL", "MAX_YAW", "MIN_SIDE", "PAIR_FRAMES", "REFERENCE_FRAMES", "SAME", "SHUT", "Likeness", "Looks", "Member",
    "References", "TrackedFace", "View", "members", "mixed", "redrawn", "sharpness", "stays_still", "telling",
]  # fmt: skip
