"""The light on a face: references and frames are brought into one light before the network sees them.

A network that mostly copies from reference pictures also copies their light. Where a lamp goes on, or a scene fades
in, the mouth would be as dark as in the references. Light multiplies what is seen, so a gain for each channel will do.
It is measured on the part of the face that is never hidden: skin around the eyes, cheeks and nose.

    references ─ levelled ─┐
    frame ─ × gain ─ network ─ ÷ gain ─▶ drawn face in the light of its frame

Small differences are left to the network, which sees the frame's own light: a head that turns changes as much.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sidgan.blend.mask import polygon
from sidgan.geometry import mask_boxes, mask_image
from sidgan.types import Array, Byte, Float

SAME, OTHER = 0.06, 0.16  #: change of a channel, a natural logarithm, up to which light is the same, and from which not
DARK = 2.0  #: levels that are added before lights are compared, as black has no colour


def light_on(face: Byte, points: Float) -> Float:
    """Mean colour (3,) of the part of a face (S, S, 3) that is not hidden; ``points`` (68, 2) in unit coordinates."""
    return np.asarray(cv2.mean(face, in_sight(len(face), points).astype(np.uint8))[:3])


def in_sight(size: int, points: Float) -> Array:
    """(S, S) bool: the part of a face that is never hidden; ``points`` (68, 2) in unit coordinates."""
    return polygon(size, points) & (mask_image(mask_boxes(points[None])[0], size) == 0)


def gain(here: Float, there: Float) -> Float:
    """(3,) what the colours of a face in light ``here`` are multiplied by to look as in light ``there``; 1 if alike."""
    change = np.log((there + DARK) / (here + DARK))
    share = np.clip((np.abs(change).max() - SAME) / (OTHER - SAME), 0, 1)
    return np.asarray(np.exp(share * change))


def lit(face: Byte, by: Float) -> Byte:
    """A face (S, S, 3) with its channels multiplied by (3,); the same one where that changes nothing."""
    if (by == 1).all():
        return face
    levels = np.clip(np.arange(256)[:, None] * by, 0, 255)
    return np.asarray(cv2.LUT(face, np.rint(levels).astype(np.uint8)[None]))


def levelled(faces: Sequence[Byte], points: Float) -> tuple[list[Byte], Float]:
    """Pictures (S, S, 3) of one face, all in the light of the brightest, which is the clearest; and that light (3,).

    Args:
        faces: K pictures.
        points: (K, 68, 2) their landmarks in unit coordinates.
    """
    lights = [light_on(*one) for one in zip(faces, points, strict=True)]
    best = max(lights, key=lambda light: float(light.sum()))
    return [lit(face, gain(light, best)) for face, light in zip(faces, lights, strict=True)], best
