"""Open the lips of a face that no frame shows with its lips open.

The network mostly copies mouths from reference pictures. If none of them shows an open one, as in a video of somebody
who listens, the drawn mouth hardly opens. So a picture with shut lips is opened: lips and chin are moved as those of a
synthetic person who opens the mouth, whose teeth and tongue are shown between them.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from sidgan.carry import Motion, View, brightness, colour_match, destination, redraw
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte, Float

SIDE = 320  #: px of the synthetic person's picture, whose face is about as large as a crop of this side
PERSON = 3  #: number of the synthetic person
OPEN = Mouth(opening=0.65, teeth=0.5, tongue=0.25)  #: as in a vowel; teeth are what a shut mouth hides most


def opened(picture: Byte, points: Float) -> Byte:
    """The same face with its lips open.

    Args:
        picture: (S, S, 3) uint8 RGB crop of a face whose lips are shut or nearly shut.
        points: (68, 2) its landmarks in unit coordinates.
    """
    donor, speech = _donor()
    face = View(picture, (points * len(picture) - 0.5).astype(np.float32))
    aim = destination(Motion.of(face.points[None]), speech, 1.0)[0]
    skin, other = (brightness(one.image[None], one.points[None]) for one in (face, donor))
    return redraw(face, face, aim, donor, colour_match(skin, other))


@cache
def _donor() -> tuple[View, np.ndarray]:
    """A synthetic person with the mouth open, and its mouth's displacement from the shut one (see `Motion.speech`)."""
    portrait = Portrait(Person(PERSON), (SIDE, SIDE), 0.9 * SIDE, (0.5 * SIDE, 0.47 * SIDE))
    points = np.stack([portrait.landmarks(mouth, Pose()) for mouth in (Mouth(), OPEN)]).astype(np.float32)
    motion = Motion.of(points)
    shut, moved = motion.local[:, -20:]
    return View(portrait.render(OPEN, Pose()), points[1]), (moved - shut)[None] / motion.width
