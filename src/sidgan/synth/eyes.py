"""The eyes: lids, lashes, sclera, iris and pupil, drawn per frame in front coordinates (`head`) of the relaxed face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sidgan.synth.head import coverage, smooth, vector
from sidgan.synth.lips import Paint
from sidgan.synth.person import Person, Pose
from sidgan.types import Float

EYE_X, EYE_Y = 3.15, 0.05  #: cm, front coordinates of the centre of an average left eye (on the right in the picture)
HALF = 1.5  #: cm between the middle of an eye and its corners
IRIS = 0.60  #: cm, radius


def lids(person: Person, blink: float, x: Float) -> tuple[Float, Float]:
    """Y in cm of the upper and lower lid edges at ``x`` cm, both relative to the eye's centre; x points outwards."""
    size = person.eye_size
    s = np.clip(x / HALF, -1, 1)
    skew = s + 0.12 * (1 - s * s)
    tilt = -person.eye_tilt * s
    upper = tilt - 0.64 * size * np.maximum(1 - skew * skew, 0) ** 0.75
    lower = tilt + 0.40 * size * np.maximum(1 - (s - 0.1 * (1 - s * s)) ** 2, 0) ** 0.9
    return upper + (lower - 0.02 - upper) * blink, lower


def landmarks(person: Person, blink: float) -> Float:
    """Front coordinates (12, 2) in cm of iBUG points 36 to 47."""
    x = np.array([-HALF, -0.5, 0.5, HALF])  # from the inner corner outwards
    upper, lower = lids(person, blink, x)
    ring = [(x[0], upper[0]), (x[1], upper[1]), (x[2], upper[2]), (x[3], upper[3]), (x[2], lower[2]), (x[1], lower[1])]
    left = np.array(ring)
    right = left[[3, 2, 1, 0, 5, 4]] * (-1, 1)
    middle = np.array([EYE_X * person.eye_gap, EYE_Y])
    return np.concatenate([right + middle * (-1, 1), left + middle]).astype(np.float32)


@dataclass(frozen=True)
class _Eye:
    """One eye at each pixel of a region: arrays of one 2-D shape, in cm.

    Attributes:
        side: -1 or 1, left or right in the picture.
        ex, ey: position relative to the eye's centre, x outwards. dx, dy: relative to the pupil's centre.
        gaze: the pupil's centre relative to the eye's.
        upper, lower: y of the lid edges at ``ex``.
        pixel: side of a pixel.
    """

    side: int
    ex: Float
    ey: Float
    dx: Float
    dy: Float
    gaze: tuple[float, float]
    upper: Float
    lower: Float
    pixel: float

    def edge(self, distance: Float, soft: float = 0.0) -> Float:
        """See `coverage`."""
        return coverage(self.pixel, distance, soft)

    @property
    def inside(self) -> Float:
        """1 between the lids."""
        return self.edge(self.ey - self.upper) * self.edge(self.lower - self.ey) * self.edge(HALF - np.abs(self.ex))


def draw(person: Person, pose: Pose, side: int, x: Float, y: Float, *, pixel: float) -> tuple[Paint, Float]:
    """Paint one eye (``side`` -1 or 1) at front coordinates; also the light (..., 3) reflected by its wet surface."""
    middle = EYE_X * person.eye_gap
    ex, ey = side * x - middle, y - EYE_Y
    blink = float(np.clip(pose.blink, 0, 1))
    upper, lower = lids(person, blink, ex)
    open_upper, _ = lids(person, 0.0, ex)
    gx, gy = 0.55 * pose.gaze_x * side, 0.3 * pose.gaze_y - 0.06
    eye = _Eye(side, ex, ey, ex - gx, ey - gy, (gx, gy), upper, lower, pixel)

    inside, lashes = eye.inside, _lashes(eye)
    skin = np.asarray(person.skin, np.float32)
    dark = np.minimum(np.asarray(person.hair, np.float32) * 0.4, 0.03)
    ball = _eyeball(person, eye)
    waterline = eye.edge(ey - lower + 0.09, 0.01) * inside
    ball = ball + (vector(0.50, 0.26, 0.22) * 0.9 + 0.1 * skin - ball) * (0.55 * waterline)[..., None]
    fold_y = open_upper - 0.27 + 0.12 * blink
    crease = np.exp(-(((ey - fold_y) / 0.07) ** 2)) * smooth((1.62 - np.abs(ex)) / 0.5)
    colour = ball * inside[..., None] + skin * (1 - inside[..., None])
    colour = colour + (dark - colour) * lashes[..., None]
    cover = np.maximum(inside, lashes)
    shade = 1 - (0.42 + 0.2 * person.age) * crease * (1 - cover)
    height = -0.10 * inside - 0.05 * crease
    gloss = np.where(inside > 0.5, 0.25, 0.45)
    return Paint(colour.astype(np.float32), cover, gloss, height, shade), _reflections(person, eye, inside)


def _eyeball(person: Person, eye: _Eye) -> Float:
    """Linear RGB (..., 3) of the eyeball: sclera, iris and pupil."""
    ex, ey, dx, dy = eye.ex, eye.ey, eye.dx, eye.dy
    r = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx)
    white = vector(0.66, 0.61, 0.58) * (1 - 0.30 * smooth((np.abs(ex) - 0.5) / 1.0))[..., None]
    pink = smooth((-ex - HALF + 0.45) / 0.3) * 0.7 + 0.25 * smooth((np.abs(ex) - 0.9) / 0.6)
    white = white + (vector(0.55, 0.26, 0.22) - white) * pink[..., None]
    fibres = 0.5 * np.sin(angle * 23 + 3 * np.sin(angle * 5)) + 0.5 * np.sin(angle * 41 + 9 * r)
    tone = (0.75 + 0.35 * fibres * smooth((r - 0.2) / 0.15)) * (0.8 + 0.9 * smooth((dy + 0.1) / 0.6))
    iris = np.asarray(person.eye, np.float32) * np.maximum(tone, 0.1)[..., None]
    iris *= (1 - 0.75 * smooth((r - 0.47) / 0.12))[..., None]
    iris *= eye.edge(r - 0.23, 0.02)[..., None]
    ball = white + (iris - white) * eye.edge(IRIS - r, 0.03)[..., None]
    ball *= (0.38 + 0.62 * smooth((ey - eye.upper) / 0.42))[..., None]  # the shadow of the upper lid and its lashes
    return np.asarray(ball)


def _lashes(eye: _Eye) -> Float:
    """Opacity of the lashes, 0 to 1."""
    ex, ey = eye.ex, eye.ey
    along = np.clip(ex / HALF, -1, 1)
    flick = 0.06 * (0.6 + 0.4 * np.sin(ex * 38 + 3 * np.sin(ex * 7))) * smooth((ex + 1.2) / 1.4)
    top = eye.edge(ey - eye.upper + 0.05 + flick + 0.05 * smooth(along), 0.02) * eye.edge(eye.upper + 0.035 - ey, 0.01)
    low = 0.45 * eye.edge(ey - eye.lower + 0.015, 0.01) * eye.edge(eye.lower + 0.05 - ey, 0.03)
    low = low * smooth((ex + 1.0) / 1.2)
    return np.asarray(np.maximum(top, low) * eye.edge(HALF + 0.12 - np.abs(ex), 0.06))


def _reflections(person: Person, eye: _Eye, inside: Float) -> Float:
    """Reflections (..., 3) of the key light, of bright surroundings below it, and in the inner corner."""
    ex, ey = eye.ex, eye.ey
    light, (gx, gy) = np.asarray(person.light), eye.gaze
    lx, ly = light[0] * eye.side * 0.42 + gx * 0.8, light[1] * 0.45 + gy * 0.8
    spark = np.exp(-((((ex - lx) / 0.095) ** 2 + ((ey - ly) / 0.11) ** 2) ** 2))
    spark += 0.10 * np.exp(-((eye.dx / 0.5) ** 2) - ((eye.dy - 0.32) / 0.13) ** 2) + 0.25 * np.exp(
        -(((ex + 1.38) / 0.07) ** 2) - (ey / 0.06) ** 2
    )
    return np.asarray((0.75 * spark * inside * eye.edge(ey - eye.upper - 0.1, 0.1))[..., None] * vector(1, 1, 1))
