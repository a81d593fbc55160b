"""People in a video: face tracks to redraw (`tracked`), references (`references`, `opening`), identities (`cast`)."""

from sidgan.people.cast import SAME, Looks, Member, members
from sidgan.people.opening import completed
from sidgan.people.references import References, sharpness
from sidgan.people.tracked import (
    MAX_YAW,
    MIN_SIDE,
    PAIR_FRAMES,
    REFERENCE_FRAMES,
    SHUT,
    TrackedFace,
    redrawn,
    stays_still,
    telling,
)

__all__ = [
    "MAX_YAW", "MIN_SIDE", "PAIR_FRAMES", "REFERENCE_FRAMES", "SAME", "SHUT", "Looks", "Member", "References",
    "TrackedFace", "completed", "members", "redrawn", "sharpness", "stays_still", "telling",
]  # fmt: skip
