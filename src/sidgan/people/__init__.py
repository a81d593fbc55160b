"""People in a video: tracks (`tracked`), `views`, references (`references`, `lending`, `opening`), and `cast`."""

from sidgan.people.cast import SAME, Looks, Member, members
from sidgan.people.opening import completed
from sidgan.people.references import References, sharpness
from sidgan.people.tracked import MAX_YAW, MIN_SIDE, TrackedFace, redrawn
from sidgan.people.views import PAIR_FRAMES, REFERENCE_FRAMES, SHUT, View, mixed, stays_still, telling

__all__ = [
    "MAX_YAW", "MIN_SIDE", "PAIR_FRAMES", "REFERENCE_FRAMES", "SAME", "SHUT", "Looks", "Member", "References",
    "TrackedFace", "View", "completed", "members", "mixed", "redrawn", "sharpness", "stays_still", "telling",
]  # fmt: skip
