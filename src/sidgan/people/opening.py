"""Open or shut the lips of a reference picture, for faces that do not speak in the video.

The network mostly copies mouths from reference pictures. If none of them shows an open one, as in a video of somebody
who listens, the drawn mouth hardly opens; if none shows a shut one, as in a photo of a smile, it does not shut. So such
a picture is made of another: lips and chin are moved as those of a synthetic person, whose teeth and tongue are shown
between the lips.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from sidgan.carry import Motion, View, brightness, colour_match, destination, redraw
from sidgan.geometry import MOUTH, mouth_opening
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte, Float

SIDE = 320  #: px of the synthetic person's picture, whose face is about as large as a crop of this side
PERSON = 3  #: number of the synthetic person
SHUT, OPEN = Mouth(), Mouth(opening=0.65, teeth=0.5, tongue=0.25)  #: open as in a vowel, with the upper teeth bared
NEARLY_SHUT, WIDE = 0.035, 0.1  #: openings, in eye distances, up to and from which a picture is good as it is


def completed(pictures: Sequence[Byte], points: Float, mute: bool) -> Byte:
    """Reference pictures of which, for a face that does not speak, one shows the lips open and the others shut.

    Args:
        pictures: (S, S, 3) uint8 RGB, with lips closed, open and shut as far as the video shows that; at most three.
        points: (K, 68, 2) their landmarks in unit coordinates.
        mute: whether the mouth never speaks; otherwise nothing is made, as the person's own pictures are the best.

    Returns:
        (K, S, S, 3).
    """
    if len(pictures) > 1 and mute:
        pictures = [remade(*one) for one in zip(pictures, points, (SHUT, OPEN, SHUT), strict=False)]
    return np.stack(pictures)


def remade(picture: Byte, points: Float, mouth: Mouth) -> Byte:
    """The same face with its mouth `SHUT` or `OPEN`; unchanged if it nearly is.

    Args:
        picture: (S, S, 3) uint8 RGB crop of a face.
        points: (68, 2) its landmarks in unit coordinates.
    """
    opening = float(mouth_opening(points[None])[0])
    if opening >= WIDE if mouth == OPEN else opening <= NEARLY_SHUT:
        return picture
    donor, speech = _donor(mouth)
    face = View(picture, (points * len(picture) - 0.5).astype(np.float32))
    aim = destination(Motion.of(face.points[None]), speech, 1.0)[0]
    skin, other = (brightness(one.image[None], one.points[None]) for one in (face, donor))
    return redraw(face, face, aim, donor, colour_match(skin, other))


@cache
def _donor(mouth: Mouth) -> tuple[View, np.ndarray]:
    """A synthetic person with this mouth, and its displacement from the shut one (see `Motion.speech`)."""
    portrait = Portrait(Person(PERSON), (SIDE, SIDE), 0.9 * SIDE, (0.5 * SIDE, 0.47 * SIDE))
    points = np.stack([portrait.landmarks(one, Pose()) for one in (SHUT, mouth)]).astype(np.float32)
    motion = Motion.of(points)
    shut, moved = motion.local[:, MOUTH]
    return View(portrait.render(mouth, Pose()), points[1]), (moved - shut)[None] / motion.width
