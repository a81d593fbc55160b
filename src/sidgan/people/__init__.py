"""People in a video: face tracks to redraw (`tracked`), references (`references`, `opening`), identities (`cast`)."""

from sidgan.people.cast import SAME, Looks, Member, members
from sidgan.people.opening import opened
from sidgan.people.references import References, sharpness
from sidgan.people.tracked import (
    MAX_YAW,
    MIN_SIDE,
    OPEN,
    PAIR_FRAMES,
    SHUT,
    TrackedFace,
    hardly_opens,
    redrawn,
    telling,
)  # fmt: skip

__all__ = [
    "MAX_YAW",
    "MIN_SIDE",
    "OPEN",
    "PAIR_FRAMES",
    "SAME",
    "SHUT",
    "Looks",
    "Member",
    "References",
    "TrackedFace",
    "hardly_opens",
    "members",
    "opened",
    "redrawn",
    "sharpness",
    "telling",
]  # fmt: skip
