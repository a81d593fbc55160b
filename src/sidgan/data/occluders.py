"""Synthetic occluders: no footage says where a hand is, so hands and objects are drawn onto unoccluded faces.

A hand is a palm, an arm and some fingers, each a rounded limb that is darker at its edges. Its colour is sampled from
skin of the face itself or of another face, its texture from other skin. Objects are microphones, discs and corners of
any colour, or with another person's picture on them. All of them may have defocus and motion blur.

With each face comes its usual look, a mean of frames in which the head is posed alike. Some of these frames may have
something in front of the face too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from sidgan.types import Byte, Float

SIDE = 96  #: px, side of the face crops
TONES = [*range(1, 5), *range(12, 16), *range(27, 31)]  #: landmarks on skin: cheeks, bridge of the nose

UNKNOWN = 0.1  #: share of faces whose usual look is not known (black), as in short shots
OFTEN = 0.35  #: probability that something covers a part of the frames that the usual look is the mean of
AT_EDGE = 0.3  #: share of faces that are cut off by the lower edge of the frame


class Face(NamedTuple):
    """A face without occluders.

    Attributes:
        picture: (SIDE, SIDE, 3) in [0, 255].
        points: (68, 2) landmarks in unit coordinates.
        usual: (SIDE, SIDE, 3) in [0, 255], see `sidgan.nn.OcclusionNet`.
    """

    picture: Float
    points: Float
    usual: Float


class Example(NamedTuple):
    """A face, perhaps with occluders.

    Attributes:
        picture, usual: (SIDE, SIDE, 3) uint8.
        hidden: (SIDE, SIDE) in [0, 1], the occlusion mask.
    """

    picture: Byte
    usual: Byte
    hidden: Float


Faces = Callable[[np.random.Generator], Face]  #: returns a random face


@dataclass(frozen=True)
class Layer:
    """An occluder: colours (SIDE, SIDE, 3) in [0, 255], and opacity (SIDE, SIDE) in [0, 1]."""

    colours: Float
    alpha: Float


def occluded(rng: np.random.Generator, faces: Faces, share: float) -> Example:
    """A random face, perhaps with occluders, under random augmentation.

    Args:
        rng: decides everything.
        faces: returns random unoccluded faces.
        share: probability of an occluder.
    """
    face = faces(rng)
    picture, usual, hidden = face.picture, face.usual, np.zeros((SIDE, SIDE), np.float32)
    if rng.random() < share:
        for _ in range(1 + (rng.random() < 0.2)):
            layer = _occluder(rng, face, faces)
            picture = _behind(picture, layer, layer.alpha)
            hidden = np.maximum(hidden, layer.alpha)
    if rng.random() < OFTEN:
        layer = _occluder(rng, face, faces)
        usual = _behind(usual, layer, rng.uniform(0, 0.4) * layer.alpha)
    if rng.random() < UNKNOWN:
        usual = np.zeros_like(usual)
    return _augmented(rng, picture, usual, hidden)


def _occluder(rng: np.random.Generator, face: Face, faces: Faces) -> Layer:
    return _blurred(rng, _hand(rng, face, faces) if rng.random() < 0.75 else _object(rng, faces))


def _behind(picture: Float, layer: Layer, alpha: Float) -> Float:
    """A picture with an occluder in front of it."""
    share = alpha[..., None]
    return np.asarray(picture * (1 - share) + np.clip(layer.colours, 0, 255) * share, np.float32)


def _hand(rng: np.random.Generator, face: Face, faces: Faces) -> Layer:
    """A random hand with its arm."""
    alpha, shade = np.zeros((SIDE, SIDE), np.float32), np.ones((SIDE, SIDE), np.float32)
    for limb in _limbs(rng):
        depth = cv2.distanceTransform((limb > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
        edge = rng.uniform(0.6, 0.9)  # brightness at the limb's edge, relative to its middle
        shade = np.where(limb > 0.5, edge + (1 - edge) * np.sqrt(depth / max(float(depth.max()), 1.0)), shade)
        alpha = np.maximum(alpha, limb)
    slope = np.linspace(-0.25, 0.25, SIDE)
    light = (1 + rng.normal() * slope[:, None] + rng.normal() * slope) * shade
    tone = _tone(rng, face if rng.random() < 0.75 else faces(rng)) * rng.uniform(0.75, 1.7)  # palms are light
    tone = tone * np.array([1, rng.uniform(0.92, 1.05), rng.uniform(0.85, 1.08)])
    other = _texture(rng, faces)
    grain = (other - cv2.GaussianBlur(other, (0, 0), 6)) * rng.uniform(0.2, 1)
    return Layer(np.asarray(tone * light[..., None] + grain, np.float32), alpha)


def _limbs(rng: np.random.Generator) -> Iterator[Float]:
    """Masks (SIDE, SIDE) in [0, 1] of the arm, the palm and the visible fingers of one hand."""
    size = rng.uniform(0.35, 0.75) * SIDE
    palm = 0.24 * size
    angle = rng.uniform(-np.pi, np.pi) if rng.random() < 0.3 else rng.uniform(-0.9 * np.pi, -0.1 * np.pi)
    middle = np.array([rng.uniform(0.1, 0.9), rng.uniform(0.5, 1.1)]) * SIDE

    def at(along: float, across: float) -> Float:
        cos, sin = np.cos(angle), np.sin(angle)
        return np.asarray(middle + np.array([cos * along - sin * across, sin * along + cos * across]))

    yield _limb(at(-0.8 * palm, 0), at(-1.6 * size, rng.uniform(-0.4, 0.4) * size), 0.75 * palm)
    oval = np.zeros((SIDE, SIDE), np.float32)
    cv2.ellipse(oval, _px(middle), (int(1.05 * palm), int(rng.uniform(0.7, 1.0) * palm)), float(np.degrees(angle)),
                0, 360, 1.0, -1, cv2.LINE_AA)  # fmt: skip
    yield oval
    folded, spread = rng.uniform(0.3, 1.0), rng.uniform(0.05, 0.35)
    visible = rng.permutation(5)[: rng.choice([1, 2, 4, 5, 5, 5])]
    for finger in visible.tolist():
        if finger == 0:  # the thumb
            base, turned, length = at(-0.1 * palm, -0.8 * palm), -rng.uniform(0.5, 1.2), 0.3
        else:
            base, turned, length = at(0.7 * palm, 0.42 * (finger - 2) * palm), (finger - 2) * spread, 0.42
        turned += angle + 0.08 * rng.normal()
        reach = length * folded * size * rng.uniform(0.8, 1.1)
        yield _limb(base, base + reach * np.array([np.cos(turned), np.sin(turned)]), size * rng.uniform(0.05, 0.075))


def _object(rng: np.random.Generator, faces: Faces) -> Layer:
    """A random microphone, disc or corner of something larger."""
    alpha = np.zeros((SIDE, SIDE), np.float32)
    middle = np.array([rng.uniform(0.15, 0.85), rng.uniform(0.55, 1.05)]) * SIDE
    kind = rng.choice(["microphone", "disc", "corner"])
    if kind == "microphone":
        head, angle = rng.uniform(0.06, 0.16) * SIDE, rng.uniform(0, np.pi)
        alpha = _limb(middle, middle + SIDE * np.array([np.cos(angle), np.sin(angle)]), head * rng.uniform(0.3, 0.7))
        cv2.circle(alpha, _px(middle), int(head), 1.0, -1, cv2.LINE_AA)
    elif kind == "disc":
        axes = (int(rng.uniform(0.08, 0.35) * SIDE), int(rng.uniform(0.08, 0.35) * SIDE))
        cv2.ellipse(alpha, _px(middle), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1, cv2.LINE_AA)
    else:
        around = middle + rng.normal(size=(6, 2)) * 0.2 * SIDE
        cv2.fillConvexPoly(alpha, cv2.convexHull(around.astype(np.float32)).astype(np.int32), 1.0, cv2.LINE_AA)
    if rng.random() < 0.4:
        return Layer(_texture(rng, faces), alpha)
    colour = rng.uniform(0, 255, 3) if rng.random() < 0.5 else rng.uniform(0, 90) * np.ones(3)
    noise = rng.normal(size=(SIDE, SIDE, 1)) * rng.uniform(0, 12)
    return Layer(np.asarray(colour + noise, np.float32), alpha)


def _limb(begin: Float, end: Float, radius: float) -> Float:
    """Mask (SIDE, SIDE) in [0, 1] of a line with round ends; positions and radius in px."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    thick = max(1, round(2 * radius))
    cv2.line(mask, _px(8 * begin), _px(8 * end), 1.0, thick, cv2.LINE_AA, 3)  # in eighths of a pixel
    return mask


def _px(at: Float) -> tuple[int, int]:
    return round(float(at[0])), round(float(at[1]))


def _tone(rng: np.random.Generator, face: Face) -> Float:
    """Mean RGB (3,) of a small patch of skin."""
    picture, points, _ = face
    x, y = (points[rng.choice(TONES)] * SIDE).astype(int).clip(2, SIDE - 3)
    return np.asarray(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0))


def _texture(rng: np.random.Generator, faces: Faces) -> Float:
    """A random part of a random face, enlarged to (SIDE, SIDE, 3): skin texture, or a picture on an object."""
    top, left = rng.integers(0, 40, 2)
    return np.asarray(cv2.resize(np.asarray(faces(rng).picture[top:, left:], np.float32), (SIDE, SIDE)))


def _blurred(rng: np.random.Generator, layer: Layer) -> Layer:
    """The layer with a defocused edge and, with a probability of 0.4, motion blur."""
    alpha = cv2.GaussianBlur(layer.alpha, (0, 0), rng.uniform(0.3, 2.2))
    if rng.random() < 0.6:
        return Layer(layer.colours, alpha)
    length, angle = int(rng.integers(3, 13)), rng.uniform(0, np.pi)
    step, middle = length / 2 * np.array([np.cos(angle), np.sin(angle)]), np.full(2, length / 2)
    streak = np.zeros((length, length), np.float32)
    cv2.line(streak, _px(middle - step), _px(middle + step), 1.0, 1)
    kernel = streak / np.float32(max(float(streak.sum()), 1e-6))
    return Layer(cv2.filter2D(layer.colours, -1, kernel), cv2.filter2D(alpha, -1, kernel))


def _augmented(rng: np.random.Generator, picture: Float, usual: Float, hidden: Float) -> Example:
    """Augmentation as of another camera: flip, rotation, shift, frame edge, exposure, colour, blur, noise.

    The usual look is moved and coloured along, but never quite the same.
    """
    flip = rng.random() < 0.5
    move: Float = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), 6 * rng.normal(), rng.uniform(0.92, 1.1))
    move[:, 2] += 3 * rng.normal(size=2)
    nearly = np.array(move)
    nearly[:, 2] += 0.7 * rng.normal(size=2)
    picture, usual, hidden = (
        _moved(array, matrix, flip) for array, matrix in ((picture, move), (usual, nearly), (hidden, move))
    )
    if rng.random() < AT_EDGE:
        row = int(rng.uniform(0.7, 1) * SIDE)
        there = int(np.clip(row + 3 * rng.normal(), SIDE // 2, SIDE - 1))
        picture[row:], usual[there:], hidden[row:] = picture[row - 1], usual[there - 1], 0
    gamma, gain = np.exp(0.5 * rng.normal()), np.exp(0.2 * rng.normal() + 0.12 * rng.normal(size=3))
    lift, grey, blur = 8 * rng.normal(), rng.random() < 0.1, rng.uniform(0.3, 2) if rng.random() < 0.4 else 0.0
    noise, other = rng.uniform(0, 5), np.exp(0.04 * rng.normal())

    def seen(image: Float, gain: Float, noise: float) -> Byte:
        image = 255 * np.clip(image / 255, 0, 1) ** gamma * gain + lift
        if grey:
            image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
        if blur:
            image = cv2.GaussianBlur(image, (0, 0), blur)
        return np.asarray(np.clip(image + noise * rng.normal(size=image.shape), 0, 255).astype(np.uint8))

    usually = seen(usual, gain * other, noise / 4) if usual.any() else usual.astype(np.uint8)
    return Example(seen(picture, gain, noise), usually, hidden)


def _moved(array: Float, move: Float, flip: bool) -> Float:
    """A picture or mask, mirrored if ``flip``, and moved."""
    edge = cv2.BORDER_REPLICATE if array.ndim == 3 else cv2.BORDER_CONSTANT
    turned = np.ascontiguousarray(array[:, ::-1] if flip else array, np.float32)
    return np.array(cv2.warpAffine(turned, move, (SIDE, SIDE), borderMode=edge), np.float32)
