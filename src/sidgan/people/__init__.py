"""The people of a video: face tracks to redraw (`tracked`), reference pictures (`references`), identities (`cast`)."""

from sidgan.people.cast import SAME, Looks, Member, members
from sidgan.people.references import References, sharpness
from sidgan.people.tracked import MAX_YAW, MIN_SIDE, PAIR_FRAMES, SHUT, TrackedFace, redrawn, telling

__all__ = [
    "MAX_YAW", "MIN_SIDE", "PAIR_FRAMES", "SAME", "SHUT", "Looks", "Member", "References", "TrackedFace", "members",
    "redrawn", "sharpness", "telling",
]  # fmt: skip
