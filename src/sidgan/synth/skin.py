"""Static textures of a head: skin, brows, stubble, beard and hair, painted once per person.

All maps have the projection of the radius map (`sidgan.synth.head`), so the same coordinates (u, v) sample them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sidgan.synth.head import AXES, EXTENT, MOUTH_Y, Solid, Surface, directions, lift, sculpt, smooth, vector
from sidgan.synth.person import Person
from sidgan.types import Float

HAIR_THICKNESS = {"bald": 0.0, "buzz": 0.12, "short": 0.75, "parted": 1.05, "long": 0.95}  #: cm
_LINE_Z = (-9.0, -4.0, -1.0, 1.0, 2.5, 4.5, 6.3, 8.5)  # cm; z of points on the hairline, from the nape to the forehead
_LINE_Y = (7.0, 6.0, 2.4, 0.6, -1.6, -4.4, -6.1, -6.6)  # cm; their y
_LONG_Y = (12.0, 11.0, 8.5, 4.5, -0.4, -4.2, -6.0, -6.6)  # cm; their y for long hair


@dataclass(frozen=True)
class Coat:
    """The textures and surfaces of a head.

    Attributes:
        colour: (rows, columns, 4) linear RGB albedo, and gloss (0 dull .. 1 wet).
        relief: (rows, columns) cm of fine height (pores, folds, strands), for shading only.
        surface: the head with hair, which is rendered.
        bare: the head without hair, on which landmarks lie.
    """

    colour: Float
    relief: Float
    surface: Surface
    bare: Surface


def paint(person: Person, scale: float) -> Coat:
    """Paint a person for pictures of about ``scale`` px per cm."""
    rng = np.random.default_rng([person.seed, 2])
    bare = sculpt(person)
    n = directions(float(np.clip(1.1 / scale, 0.04, 0.14)))
    rows, columns = n.shape[:2]
    radius = cv2.resize(bare.map[..., 0], (columns, rows), interpolation=cv2.INTER_CUBIC)
    x, y, z = (n[..., i] * AXES[i] * radius for i in range(3))
    noise = _Noise(rng, rows, columns, rows / (2 * EXTENT * float(AXES[1])))
    colour = _skin(person, noise, x, y, z)
    gloss = (
        0.30 + 0.04 * noise(0.3) + 0.12 * _spot(x, y, (0, 1.2), (1.3, 3.4)) + 0.08 * _spot(x, y, (0, -5), (3.5, 1.6))
    )
    relief = 0.0022 * noise(0.05) + 0.003 * noise(0.11) + (0.002 + 0.004 * person.age) * noise(0.25)
    relief -= _folds(person, x, y, z)
    bristles, raised = _face_hair(person, bare, noise, (x, y, z))
    dark = np.asarray(person.hair, np.float32) * 0.75 + 0.12 * np.asarray(person.skin, np.float32)
    colour, relief = colour + (dark - colour) * bristles[..., None], relief + raised
    hair, strands, inside = _hair(person, noise, n, (x, y, z))
    tint = np.asarray(person.hair, np.float32) * (1 + 0.26 * strands + 0.12 * noise(0.5))[..., None]
    colour = colour + (np.maximum(tint, 0.003) - colour) * hair[..., None]
    gloss = gloss + (0.24 + 0.08 * strands - gloss) * hair
    relief = relief * (1 - hair) + hair**2 * 0.018 * strands
    # Hair has thickness only well inside the hairline; else its steep rim would show, which is painted as skin.
    thick = HAIR_THICKNESS[person.style] * hair * smooth(inside / 1.8) * (1 + 0.10 * noise(1.6) + 0.04 * strands)
    small = cv2.resize(thick.astype(np.float32), bare.map.shape[1::-1], interpolation=cv2.INTER_AREA)
    surface = Surface.of(bare.map[..., 0] + small / 8.5)
    coat = np.dstack([np.clip(colour, 0.002, 0.95), np.clip(gloss, 0, 1)]).astype(np.float32)
    return Coat(coat, relief.astype(np.float32), surface, bare)


class _Noise:
    """Random textures (rows, columns): white noise blurred to a grain size in cm, unit variance, new on every call."""

    def __init__(self, rng: np.random.Generator, rows: int, columns: int, density: float) -> None:
        self.rng, self.rows, self.columns, self.density = rng, rows, columns, density

    def __call__(self, grain: float) -> Float:
        sigma = max(grain * self.density, 0.35)
        shrink = max(1, int(sigma / 1.5))
        shape = (self.rows // shrink + 2, self.columns // shrink + 2)
        soft = cv2.GaussianBlur(self.rng.standard_normal(shape, np.float32), (0, 0), sigma / shrink)
        return cv2.resize(soft / soft.std(), (self.columns, self.rows), interpolation=cv2.INTER_CUBIC)


def _spot(x: Float, y: Float, centre: tuple[float, float], radii: tuple[float, float]) -> Float:
    return np.exp(-(((x - centre[0]) / radii[0]) ** 2) - ((y - centre[1]) / radii[1]) ** 2)


def _skin(person: Person, noise: _Noise, x: Float, y: Float, z: Float) -> Float:
    """Linear RGB of the bare skin: redness of cheeks, nose and ears, dark eye sockets, blotches, freckles, nostrils."""
    side = np.abs(x)
    front = smooth(z / 3)
    blood = 0.55 * _spot(side, y, (4.2, 3.2), (1.9, 1.7)) + 0.5 * _spot(side, y, (0, 3.3), (1.5, 0.9))
    blood = front * (blood + 0.35 * _spot(side, y, (0, 9.4), (1.8, 1.0))) + 0.6 * _spot(side, y, (7.6, 0.9), (1.2, 2.6))
    pale = front * _spot(side, y, (0, -4.8), (4, 2))
    eye_x = 3.15 * person.eye_gap
    shade = front * (0.5 + 0.5 * person.age) * _spot(side, y, (eye_x - 0.3, 1.15), (1.5, 0.42))
    shade += front * 0.7 * _spot(side, y, (eye_x, -0.75), (1.5, 0.5))
    dark = 1 - 0.05 * noise(1.8) - 0.035 * noise(0.4) - 0.03 * noise(0.08)
    red = 1 + 0.05 * noise(0.9) + 0.03 * noise(0.2)
    base = np.asarray(person.skin, np.float32) * dark[..., None]
    base *= np.stack([red, np.ones_like(red), np.ones_like(red)], -1) ** 0.6
    base *= 1 - blood[..., None] * vector(0.03, 0.26, 0.22)
    base *= 1 + pale[..., None] * vector(0.03, 0.05, 0.05)
    base *= 1 - shade[..., None] * vector(0.30, 0.36, 0.30)
    if person.freckles > 0:
        specks = smooth((noise(0.07) - 1.35) / 0.5) * smooth((noise(0.8) + 1.2) / 2)
        where = front * (_spot(side, y, (2.6, 2.0), (3.2, 1.8)) + 0.25)
        base *= 1 - np.minimum(person.freckles, 1) * (specks * where)[..., None] * vector(0.30, 0.45, 0.55)
    nostrils = front * _spot(side, y, (0.62 * person.nose_width, 3.98), (0.36 * person.nose_width, 0.17))
    concha = _spot(y, z, (0.6, -0.6), (1.2, 0.7)) * smooth((side - 6.8) / 0.6)
    return np.asarray(base * (1 - np.minimum(0.93 * nostrils * 1.25, 0.93) - 0.45 * concha)[..., None])


def _folds(person: Person, x: Float, y: Float, z: Float) -> Float:
    """Depth in cm of nasolabial folds, bags under the eyes, forehead lines, philtrum and chin crease."""
    side, front = np.abs(x), smooth(z / 3)
    age = person.age
    t = np.clip((y - 3.4) / 3.4, 0, 1)
    nasal = np.exp(-(((side - 1.7 * person.nose_width - 1.5 * t**1.3) / 0.26) ** 2)) * smooth((y - 3.2) / 0.8)
    nasal = nasal * smooth((7.3 - y) / 1.4) * (0.03 + 0.09 * age)
    bags = np.exp(-(((y - 1.12 - 0.05 * (side - 3.1) ** 2 * -1.0) / 0.13) ** 2)) * _spot(
        side, y, (3.0, 1.1), (1.4, 1.0)
    )
    lines = np.exp(-((np.sin(2.6 * (y + 0.05 * x * x / 2) + 0.7) - 1) ** 2) / 0.05) * _spot(x, y, (0, -4.6), (3.6, 1.3))
    philtrum = 0.05 * _spot(x, y, (0, MOUTH_Y - 1.45), (0.32, 0.6))
    chin = 0.10 * _spot(x, y, (0, MOUTH_Y + 1.75), (1.8, 0.38))
    return np.asarray(front * (nasal + 0.05 * age * bags + 0.03 * age**2 * lines + philtrum + chin))


def _face_hair(person: Person, bare: Surface, noise: _Noise, at: Solid) -> tuple[Float, Float]:
    """Brows as single strokes, beard and moustache as soft noise: coverage 0..1, relief in cm."""
    x, y, z = at
    rng = noise.rng
    side, front = np.abs(x), smooth(z / 2)
    ink = np.zeros(x.shape, np.float32)
    soft = np.zeros(x.shape, np.float32)
    starts, ends = [], []
    brow_x = 3.15 * person.eye_gap - 0.05
    for sign in (-1, 1):
        s = rng.beta(1.1, 1.2, 230)
        root_x = brow_x + (s - 0.42) * 4.3
        root_y = brow_y(person, s) + rng.normal(0, 1, s.size) * 0.19 * (1.1 - s)
        lean = np.deg2rad(-70 + 95 * s + rng.normal(0, 9, s.size))
        size = rng.uniform(0.35, 0.75, s.size)
        starts.append(np.stack([sign * root_x, root_y], -1))
        ends.append(np.stack([sign * (root_x + size * np.cos(lean)), root_y + size * np.sin(lean) * 0.55], -1))
    beard = smooth((y - _beard_line(side)) / 1.2) * smooth((z + 3.0) / 3) * front
    beard *= 1 - 0.9 * smooth(1.6 - np.hypot(x / 2.9, (y - MOUTH_Y - 0.1) / 1.15) * 1.5)
    lip = _spot(x, y, (0, MOUTH_Y - 1.30), (2.3, 0.42)) * smooth((y - 4.2) / 0.4) * front
    soft += np.clip(0.9 * person.beard * beard + 0.85 * person.moustache * lip, 0, 0.92).astype(np.float32)
    bristle = smooth((noise(0.045) + 0.55 * noise(0.13)) * 0.7 + 0.1)
    soft *= 0.45 + 0.75 * bristle
    points = lift(bare, np.concatenate(starts + ends))
    half = len(points) // 2
    pixels = _to_map(points, x.shape)
    for a, b in zip(pixels[:half], pixels[half:], strict=True):
        cv2.line(ink, _fixed(a), _fixed(b), float(rng.uniform(0.45, 0.95)), 1, cv2.LINE_AA, 4)
    ink = np.maximum(cv2.GaussianBlur(ink, (0, 0), 0.6), 0.75 * cv2.GaussianBlur(ink, (0, 0), 2.0))
    return np.clip(np.maximum(1.15 * ink, soft), 0, 0.92), 0.03 * ink + 0.03 * soft * bristle


def brow_y(person: Person, s: Float) -> Float:
    """Front y in cm of a brow's middle line, from its inner (s = 0) to its outer end (s = 1)."""
    return np.asarray(-1.95 - 0.95 * np.sin(np.pi * (0.10 + 0.72 * s)) + 0.6 * s**2 - 2.2 * person.eye_tilt * (s - 0.4))


def _beard_line(side: Float) -> Float:
    return np.interp(side, (0, 2.0, 3.4, 5.0, 6.6, 8.0), (5.3, 5.5, 7.0, 5.9, 1.5, 0.5))


def _hair(person: Person, noise: _Noise, n: Float, at: Solid) -> tuple[Float, Float, Float]:
    """Head hair: coverage 0..1, strand texture, and distance in cm inside the hairline.

    Strands run outwards from the crown; their texture has zero mean and about unit variance.
    """
    x, y, z = at
    crown = np.array([0.18 if person.style == "parted" else 0.0, -0.93, 0.25 if person.style == "parted" else -0.35])
    crown /= np.linalg.norm(crown)
    aside = np.cross(crown, [0.0, 0.0, 1.0])
    ahead = np.cross(aside, crown)
    angle = np.arctan2(n @ aside, n @ ahead)
    away = np.arccos(np.clip(n @ crown, -1, 1))
    table = noise.rng.standard_normal((40, 1400), dtype=np.float32)
    table = cv2.GaussianBlur(table, (0, 0), sigmaX=1.2, sigmaY=2.0) * 2.6 + cv2.GaussianBlur(table, (0, 0), 5) * 6
    curl = 0.05 * noise(1.2)
    columns_at = ((angle + curl + np.pi) / (2 * np.pi) * 1398).astype(np.float32)
    strands = cv2.remap(table, columns_at, (away * 12).astype(np.float32), cv2.INTER_LINEAR)
    strands = np.clip(strands / strands.std(), -2.2, 2.2)
    if person.style == "bald":
        return np.zeros_like(strands), strands, np.zeros_like(strands)
    line = np.interp(z, _LINE_Z, _LONG_Y if person.style == "long" else _LINE_Y)
    line = line - (0.9 + noise.rng.uniform(-0.6, 0.9)) * smooth((z - 3) / 3)  # a higher or lower forehead
    ragged = 0.18 * noise(0.5) + 0.10 * strands
    edge = 1.6 if person.style == "buzz" else 0.7
    inside = line - y + 0.3
    cover = smooth((inside + ragged) / edge)
    ear = smooth((np.abs(x) - 7.2 * person.width) / 0.3) * smooth((y + 2.2) / 0.5) * smooth((z + 2.6) / 0.8)
    if person.style == "long":  # hair falls beside the face, not under the chin
        cover *= 1 - smooth((y - 0.5) / 1.5) * smooth((6.1 * person.width - np.abs(x)) / 0.5)
    else:
        cover *= (0.8 if person.style == "buzz" else 1.0) * (1 - ear)
    return cover, strands, inside - edge / 2


def _to_map(points: Float, shape: tuple[int, ...]) -> Float:
    """Positions (N, 2) in map px of surface points (N, 3)."""
    q = points / AXES
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    uv = q[:, :2] * np.sqrt(2 / (1 + q[:, 2:]))
    size = np.array([shape[1], shape[0]])
    return np.asarray((uv / (2 * EXTENT) + 0.5) * size - 0.5)


def _fixed(point: Float) -> tuple[int, int]:
    """A position in sixteenths of a px, for OpenCV with shift 4."""
    return round(float(point[0]) * 16), round(float(point[1]) * 16)
