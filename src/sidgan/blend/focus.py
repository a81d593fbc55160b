"""The softness of a face: a mouth is drawn as soft as the face around it is filmed, out of focus or in motion.

A network that mostly copies from reference pictures also copies their sharpness. Where a camera loses focus for a
while, the mouth would stay sharp, and look pasted. So the contrast of fine detail on the part of the face that is never
hidden (brows, nose, cheeks) is compared with that in the references, and the drawn part gets the blur that would make
the references as soft.

Detail is compared along both axes. A lens blurs along both, so the lesser blur counts for either. What is more along
one may come from a frown, or from a head that turned; it counts only as far as the face moves along that axis while the
shutter is open. Nothing is sharpened, and small differences are ignored. Eyes are left out, as they close. Each frame
is judged alone, so nothing has to be remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from sidgan.blend.detail import around, brightness
from sidgan.blend.light import DARK, in_sight
from sidgan.blend.mask import polygon
from sidgan.geometry import EYES, mask_image
from sidgan.types import Array, Byte, Float

# Lengths as fractions of the crop's side.
BLURS = np.array([0.0, 0.5, 0.7, 0.9, 1.1, 1.4, 1.7, 2.1, 2.6, 3.2, 4.0]) / 256  #: the blurs that are told apart
BAND = 0.75 / 256, 1.5 / 256  #: blurs whose difference is the fine detail; anything finer is often grain
ACROSS = 2 / 256  #: blur across the direction in which detail is compared
REACH = 6 / 256  #: distance of the pixels that are looked at, too, for these blurs
LIDS = 0.04  #: width of the rim around the eyes that is left out
EDGE = 0.01  #: the same along the outline of the face
LEAST = 0.01  #: levels that are added to a contrast, as a flat picture has none
FEWEST = 64  #: least number of pixels from which softness can be estimated

SHUTTER = 12**-0.5  #: standard deviation of the blur of a shutter that never closes, relative to the way it is open for
SAME, OTHER = 0.2, 0.35  #: loss of contrast, a natural logarithm, up to which focus is the same, and from which not


def clarity(faces: Iterable[Byte], points: Float) -> Float:
    """Mean contrast of fine detail in pictures of a face after each of `BLURS`, (B, 2) along x and y; 0 if unseen.

    Args:
        faces: K pictures (S, S, 3).
        points: (K, 68, 2) their landmarks in unit coordinates.
    """
    found = [_contrasts(face, one, BLURS) for face, one in zip(faces, points, strict=True)]
    return np.mean([one for one in found if one.any()] or found, axis=0)


def softness(face: Byte, points: Float, clear: Float, speed: Float) -> Float:
    """The blur that makes the references as soft as a face: (2,) standard deviations along x and y; 0 if alike.

    Args:
        face: (S, S, 3).
        points: (68, 2) its landmarks in unit coordinates.
        clear: (B, 2) `clarity` of the references.
        speed: (2,) how far the face moves along x and y from one frame to the next. This and the result are fractions
            of the side.
    """
    if not clear.any():  # no reference shows enough
        return np.zeros(2)
    lost = clear[0] - _contrasts(face, points, BLURS[:1])[0]
    share = np.clip((lost - SAME) / (OTHER - SAME), 0, 1)
    losses = np.maximum.accumulate(clear[0] - clear)
    blurs = share * [np.interp(one, table, BLURS) for one, table in zip(lost, losses.T, strict=True)]
    return np.maximum(blurs.min(), np.minimum(blurs, SHUTTER * speed))


def softened(drawn: Byte, box: Float, blur: Float) -> Byte:
    """A drawn face (S, S, 3), blurred by `softness` within the hidden ``box``; the same one if that is 0."""
    if not blur.any():
        return drawn
    hidden = mask_image(box, len(drawn))[..., None] > 0
    return np.asarray(np.where(hidden, _blurred(drawn, blur * len(drawn)), drawn))


def _seen(size: int, points: Float) -> Array:
    """(S, S) bool: the part of a face that is neither hidden nor moves much."""
    face = in_sight(size, points)
    eyes = np.logical_or.reduce([polygon(size, one) for one in np.split(points[EYES], 2)])
    edge, lids = (np.ones((2 * round(width * size) + 1,) * 2, np.uint8) for width in (EDGE, LIDS))
    return np.asarray(cv2.erode(face.astype(np.uint8), edge) > cv2.dilate(eyes.astype(np.uint8), lids))


def _contrasts(face: Byte, points: Float, blurs: Float) -> Float:
    """RMS of fine detail on a face after each of B blurs, relative to its light: (B, 2) along x and y, logarithms.

    All are 0 if too little of the face is in the picture. Detail along x is seen in a picture that is blurred along y,
    and the reverse, so that blur in one direction is not taken for blur in the other.
    """
    size, found = len(face), list[float]()
    seen = _seen(size, points)
    if seen.sum() < FEWEST:
        return np.zeros((len(blurs), 2))
    near = around(seen, round(REACH * size))
    seen, grey = seen[near], brightness(face[near])
    light = grey[seen].mean() + DARK
    for axis in np.eye(2):
        smooth = _blurred(grey, ACROSS * size * (1 - axis))
        for blur in blurs:
            fine, coarse = (_blurred(smooth, float(np.hypot(one, blur)) * size * axis) for one in BAND)
            found.append(np.sqrt(np.square((fine - coarse)[seen]).mean()) + LEAST)
    return np.log(np.reshape(found, (2, -1)).T / light)


def _blurred(picture: Float | Byte, deviations: Float) -> Float:
    """A picture after a Gaussian blur of (2,) px along x and y; no blur along an axis where that is 0."""
    x, y = np.maximum(deviations, 1e-3).tolist()  # for OpenCV, 0 along y means: as along x
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigmaX=x, sigmaY=y))
