"""Open or shut the lips of a reference picture, for faces of which the video shows no such lips.

The network mostly copies mouths from reference pictures. If none of them shows an open one, as in a video of somebody
who listens, the drawn mouth hardly opens; if none shows a shut one, as in a photo of a smile, it does not shut. So such
a picture is made of another. To open lips, lips and chin are moved as those of a synthetic person, whose teeth and
tongue are shown between them. To shut lips, teeth are painted over, and lips are moved together, with the line between
the synthetic person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from sidgan import carry
from sidgan.blend import polygon
from sidgan.carry import Motion, View, brightness, colour_match, destination, redraw
from sidgan.geometry import INNER_LIPS, MOUTH, OUTER_LIPS, mouth_opening
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte, Float

SIDE = 320  #: px of the synthetic person's picture, whose face is about as large as a crop of this side
PERSON = 3  #: number of the synthetic person
REST, VOWEL = Mouth(), Mouth(opening=0.65, teeth=0.5, tongue=0.25)  #: its mouth, shut, and open with bared teeth
NEARLY_SHUT, WIDE = 0.05, 0.1  #: openings, in eye distances, up to and from which a picture is good as it is
UPPER_SHARE = 0.45  #: of the way on which lips come together, the part that the upper one moves down
PAINT = 0.8  #: colour of the paint over teeth, relative to that of the lips
AROUND = 3  #: px around what is painted over from which its colours are taken
RIM, SOFT = 0.008, 0.004  #: relative to the side of the picture: how far paint covers lips, and the blur of its edge
CORNERS = [0, 6, 12, 16]  #: of the 20 mouth landmarks, those that stay where they are


def completed(pictures: Sequence[Byte], points: Float, mute: bool) -> Byte:
    """Reference pictures of which, for a face that does not speak, one shows the lips open and the others shut.

    Args:
        pictures: (S, S, 3) uint8 RGB, with lips closed, open and shut as far as the video shows that; at most three.
        points: (K, 68, 2) their landmarks in unit coordinates.
        mute: whether the mouth never speaks; otherwise nothing is made, as the person's own pictures are the best.

    Returns:
        (K, S, S, 3).
    """
    if mute and len(pictures) > 1:
        pictures = [make(*one) for make, *one in zip((shut, opened, shut), pictures, points, strict=False)]
    return np.stack(pictures)


def uncovered(picture: Byte, cover: Byte) -> Byte:
    """The same face without what lies in front of it: letters, a hand; skin around it goes on there.

    Args:
        picture: (S, S, 3) uint8 RGB crop of a face.
        cover: (C, C) uint8, from 128 on where something is, see `TrackedFace.covers`.
    """
    hidden = cv2.resize(cover, picture.shape[:2], interpolation=cv2.INTER_NEAREST) >= 128
    return np.asarray(cv2.inpaint(picture, hidden.astype(np.uint8), AROUND, cv2.INPAINT_TELEA))


def opened(picture: Byte, points: Float) -> Byte:
    """The same face with its lips open as in a vowel; unchanged if they are open as far.

    Args:
        picture: (S, S, 3) uint8 RGB crop of a face.
        points: (68, 2) its landmarks in unit coordinates.
    """
    if mouth_opening(points[None])[0] >= WIDE:
        return picture
    face = View(picture, _in_px(points, picture))
    return _carried(face, Motion.of(face.points[None]), *_donor(VOWEL))


def shut(picture: Byte, points: Float) -> Byte:
    """The same face with its lips shut; unchanged if they nearly are. See `opened`."""
    size = len(picture)
    mouth, inside = (polygon(size, points[part]) for part in (OUTER_LIPS, INNER_LIPS))
    lips = mouth & ~inside
    if mouth_opening(points[None])[0] <= NEARLY_SHUT or not lips.any():
        return picture
    rim = 2 * round(RIM * size) + 1
    covered = mouth * cv2.dilate(inside.astype(np.float32), np.ones((rim, rim), np.uint8))
    paint = cv2.GaussianBlur(covered, (0, 0), SOFT * size)[..., None]
    image = picture + paint * (PAINT * np.median(picture[lips], axis=0) - picture)
    face = View(image.astype(np.uint8), _in_px(points, picture))
    motion = Motion.of(face.points[None])
    down = np.full((1, 20), 1j * UPPER_SHARE * max(0.0, motion.opening[0] - carry.SHUT))
    down[:, CORNERS] = 0
    return _carried(face, motion, _donor(REST)[0], down)


def _carried(face: View, motion: Motion, donor: View, speech: np.ndarray) -> Byte:
    """The face with its mouth displaced by ``speech``, and the synthetic person's inner mouth."""
    skin, other = (brightness(one.image[None], one.points[None]) for one in (face, donor))
    return redraw(face, face, destination(motion, speech, 1.0)[0], donor, colour_match(skin, other))


def _in_px(points: Float, picture: Byte) -> Float:
    return (points * len(picture) - 0.5).astype(np.float32)


@cache
def _donor(mouth: Mouth) -> tuple[View, np.ndarray]:
    """The synthetic person with this mouth, and its displacement from the shut one (see `Motion.speech`)."""
    portrait = Portrait(Person(PERSON), (SIDE, SIDE), 0.9 * SIDE, (0.5 * SIDE, 0.47 * SIDE))
    points = np.stack([portrait.landmarks(one, Pose()) for one in (REST, mouth)]).astype(np.float32)
    motion = Motion.of(points)
    rest, moved = motion.local[:, MOUTH]
    return View(portrait.render(mouth, Pose()), points[1]), (moved - rest)[None] / motion.width
