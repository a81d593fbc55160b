"""The mouth: lips, teeth, tongue and oral cavity, drawn per frame from four lip contours y(x).

Coordinates are front coordinates (`head`) of the *moved* face in cm; `MOUTH_Y` is the line of the closed lips. The same
contours give the true lip landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from sidgan.synth.head import GAP, MOUTH_Y, coverage, smooth, vector
from sidgan.synth.person import Person
from sidgan.synth.speech import Mouth
from sidgan.types import Float


@dataclass(frozen=True)
class Lips:
    """The shape of a person's mouth at one moment; methods take front x in cm and return front y in cm."""

    half: float  #: half the distance between the corners
    gap: float  #: height of the opening at its middle
    upper: float  #: height of the upper lip
    lower: float  #: height of the lower lip
    bare: float  #: cm by which the upper lip is raised to show the teeth
    smile: float  #: cm by which the corners are raised

    @staticmethod
    def of(person: Person, mouth: Mouth) -> Lips:
        """A person's lips for a state of the mouth."""
        gap = GAP * mouth.opening
        thin = (1 - 0.22 * mouth.opening) * (1 - 0.45 * mouth.press) * (1 - 0.12 * mouth.spread + 0.12 * mouth.round)
        return Lips(
            half=2.5 * person.mouth_width * (1 + 0.16 * mouth.spread - 0.34 * mouth.round - 0.05 * mouth.opening),
            gap=gap,
            upper=0.66 * person.lips * thin,
            lower=0.86 * person.lips * thin,
            bare=0.16 * mouth.teeth * min(1.0, gap / 0.2),
            smile=0.10 * mouth.spread - 0.03,
        )

    def _arch(self, x: Float, power: float = 0.8) -> Float:
        return np.maximum(1 - (x / (0.94 * self.half)) ** 2, 0) ** power

    def _seam(self, x: Float) -> Float:
        s = x / self.half
        wave = 0.07 * np.exp(-((x / 0.45) ** 2)) - 0.05 * np.exp(-(((np.abs(x) - 1.0) / 0.5) ** 2))
        return MOUTH_Y + wave - self.smile * s * s

    def inner_top(self, x: Float) -> Float:
        """Lower edge of the upper lip."""
        return self._seam(x) - (0.13 * self.gap + 0.5 * self.bare) * self._arch(x)

    def inner_bottom(self, x: Float) -> Float:
        """Upper edge of the lower lip."""
        return self._seam(x) + (0.87 * self.gap - 0.5 * self.bare) * self._arch(x, 0.7)

    def outer_top(self, x: Float) -> Float:
        """Upper edge of the upper lip, with the cupid's bow."""
        bow = 1 - 0.20 * np.exp(-((x / 0.30) ** 2)) + 0.10 * np.exp(-(((np.abs(x) - 0.55) / 0.35) ** 2))
        rise = self.upper * bow * np.maximum(1 - np.abs(x / self.half) ** 1.7, 0) ** 0.9
        return self.inner_top(x) - rise

    def outer_bottom(self, x: Float) -> Float:
        """Lower edge of the lower lip."""
        return self.inner_bottom(x) + self.lower * np.maximum(1 - np.abs(x / self.half) ** 2.3, 0) ** 0.8

    def landmarks(self) -> Float:
        """Front coordinates (20, 2) of iBUG points 48 to 67."""
        w = self.half
        top, low = np.array([-0.62, -0.24, 0, 0.24, 0.62]) * w, np.array([0.60, 0.28, 0, -0.28, -0.60]) * w
        corner = float(self._seam(np.array(w)))
        inner_up, inner_down = np.array([-0.36, 0, 0.36]) * w, np.array([0.36, 0, -0.36]) * w
        return np.array([
            (-w, corner),
            *zip(top, self.outer_top(top), strict=True),
            (w, corner),
            *zip(low, self.outer_bottom(low), strict=True),
            (-0.88 * w, corner),
            *zip(inner_up, self.inner_top(inner_up), strict=True),
            (0.88 * w, corner),
            *zip(inner_down, self.inner_bottom(inner_down), strict=True),
        ], np.float32)  # fmt: skip


@dataclass(frozen=True)
class Paint:
    """How a feature changes the surface: arrays of one 2-D shape (colour: (..., 3)).

    Attributes:
        colour: linear RGB albedo.
        cover: opacity of ``colour`` and ``gloss``, 0 to 1.
        gloss: 0 (dull) to 1 (wet).
        height: cm added to the surface.
        shade: factor on all light.
    """

    colour: Float
    cover: Float
    gloss: Float
    height: Float
    shade: Float


def draw(person: Person, mouth: Mouth, x: Float, y: Float, *, lean: tuple[float, float], pixel: float) -> Paint:
    """Paint the mouth at front coordinates (x, y) of the moved face.

    ``lean`` is the parallax (right, down) in cm per cm of depth behind the lips; ``pixel`` the side of a pixel in cm.
    """
    lips = Lips.of(person, mouth)
    top, bottom, up, down = lips.inner_top(x), lips.inner_bottom(x), lips.outer_top(x), lips.outer_bottom(x)

    edge = partial(coverage, pixel)
    inside = edge(y - top) * edge(bottom - y) * edge(0.94 * lips.half - np.abs(x))
    body = edge(y - up, 0.05) * edge(down - y, 0.06) * edge(lips.half - np.abs(x))
    skin = np.asarray(person.skin, np.float32)
    tint = skin * np.asarray(person.lip, np.float32)
    a = np.clip((top - y) / np.maximum(top - up, 0.05), 0, 1)  # upper lip: 0 at the opening, 1 at the outer edge
    b = np.clip((y - bottom) / np.maximum(down - bottom, 0.05), 0, 1)
    upper = y < (top + bottom) / 2
    across = np.where(upper, a, b)
    wrinkles = np.sin(x * 17 + 2.2 * np.sin(x * 5.3)) * np.sin(x * 29 + 1.3) * np.sqrt(across * (1 - across) * 4)
    seam = np.exp(-((np.maximum(np.where(upper, top - y, y - bottom), 0) / 0.07) ** 2))
    brightness = np.where(upper, 0.9, 1.08) * (1 + 0.05 * wrinkles) * (1 - 0.45 * seam)
    colour = tint * brightness[..., None].astype(np.float32)
    plump = np.where(upper, 0.17, 0.26) * (4 * across * (1 - across) + 1e-4) ** 0.62
    height = body * (plump * min(lips.lower / 0.86, 1.2) - 0.10 * seam + 0.006 * wrinkles) * (1 - inside)
    gloss = (0.42 + 0.25 * (1 - across)) * (1 - 0.8 * seam)
    rim = np.exp(-(((y - up) / 0.12) ** 2)) * edge(0.75 * lips.half - np.abs(x), 0.3)
    corner = np.exp(-(((np.abs(x) - lips.half) / 0.28) ** 2) - ((y - lips._seam(x)) / 0.22) ** 2)
    cavity, cavity_gloss = _cavity(person, mouth, x, y, lean=lean, pixel=pixel)
    colour = colour + (cavity - colour) * inside[..., None]
    return Paint(
        colour=colour.astype(np.float32),
        cover=np.maximum(0.92 * body, inside),
        gloss=gloss + (cavity_gloss - gloss) * inside,
        height=height + 0.02 * rim,
        shade=(1 - 0.42 * corner * (1 - inside)),
    )


def _cavity(
    person: Person, mouth: Mouth, x: Float, y: Float, *, lean: tuple[float, float], pixel: float
) -> tuple[Float, Float]:
    """Albedo and gloss of teeth, tongue and throat, darkened because little light gets in."""
    lips = Lips.of(person, mouth)
    jaw = 0.85 * lips.gap

    def behind(cm: float) -> tuple[Float, Float]:
        """Coordinates of what is seen at a depth behind the lips."""
        return x - lean[0] * cm, y - lean[1] * cm

    edge = partial(coverage, pixel)
    top, bottom = lips.inner_top(x), lips.inner_bottom(x)
    throat = vector(0.055, 0.012, 0.010)
    colour = np.broadcast_to(throat, (*x.shape, 3)) * (0.5 + 0.5 * smooth((y - top) / 1.2))[..., None]
    gloss = np.full(x.shape, 0.05)

    tx, ty = behind(1.6)  # the tongue lies on the floor of the mouth and rises towards the upper teeth
    tip = MOUTH_Y + 0.12 + 0.80 * jaw - (0.05 + 0.55 * lips.gap) * mouth.tongue
    dome = tip + 0.16 * tx * tx
    flesh = edge(ty - dome, 0.04) * edge(1.9 - np.abs(tx), 0.15)
    groove = 1 - 0.25 * np.exp(-((tx / 0.16) ** 2))
    tongue = vector(0.25, 0.075, 0.07) * (groove * (0.55 + 0.45 * np.exp(-np.maximum(ty - dome, 0) * 1.1)))[..., None]
    colour = colour + (tongue - colour) * flesh[..., None]
    gloss = gloss + (0.4 - gloss) * flesh

    bite_up = MOUTH_Y + 0.06 + 0.16 * mouth.teeth - 0.3 * mouth.round  # fixed to the skull, behind the upper lip
    bite_down = MOUTH_Y + jaw - 0.12  # moves with the jaw
    for upper, cm, bite in ((True, 0.75, bite_up), (False, 0.85, bite_down)):
        rx, ry = behind(cm)
        enamel, cover = _teeth(person, rx, ry, limit=bite, upper=upper, pixel=pixel)
        colour = colour + (enamel - colour) * cover[..., None]
        gloss = gloss + (0.75 - gloss) * cover
    light = 0.45 + 0.55 * smooth((y - top) / (0.15 + 0.3 * lips.gap))  # shadow of the upper lip
    light *= 0.6 + 0.4 * smooth((bottom - y) / (0.05 + 0.15 * lips.gap))
    light *= 0.35 + 0.65 * np.sqrt(np.maximum(1 - (x / (1.02 * lips.half)) ** 2, 0))
    return colour * light[..., None], gloss * light


def _teeth(person: Person, x: Float, y: Float, *, limit: float, upper: bool, pixel: float) -> tuple[Float, Float]:
    """Albedo and coverage of one row of teeth; ``limit`` is the y of its biting edge in the middle."""
    sizes = (0.84, 0.66, 0.74, 0.66, 0.62, 0.6) if upper else (0.53, 0.57, 0.64, 0.62, 0.62, 0.6)
    along = np.arcsin(np.clip(np.abs(x) / 2.75, 0, 1)) * 2.75  # cm along the dental arch
    borders = np.concatenate([[0], np.cumsum(sizes)])
    which = np.clip(np.searchsorted(borders, along.ravel(), "right") - 1, 0, len(sizes) - 1).reshape(along.shape)
    inside = (along - borders[which]) / np.asarray(sizes)[which]  # 0..1 across a tooth
    from_gap = np.minimum(inside, 1 - inside) * np.asarray(sizes)[which]
    uneven = (
        np.array([0.0, -0.07, 0.02, -0.06, -0.10, -0.12])[which]
        if upper
        else np.array([0, 0, -0.02, 0, 0.03, 0.05])[which]
    )
    bite = limit - 0.03 * x * x + uneven if upper else limit + 0.025 * x * x - uneven
    rounding = 0.06 * np.exp(-((from_gap / 0.09) ** 2))
    depth = (bite - rounding - y) if upper else (y - bite - rounding)  # cm above the biting edge
    cover = coverage(pixel, depth) * smooth((2.7 - np.abs(x)) / 0.3)
    crown = 0.95 if upper else 0.80
    gum = smooth((depth - crown + 0.14 * np.cos((inside - 0.5) * np.pi)) / 0.1)
    bend = np.sqrt(np.maximum(1 - (x / 3.0) ** 2, 0.05))
    tone = person.teeth * (0.60 + 0.4 * bend) * (1 - 0.16 * (2 * inside - 1) ** 2) * (0.90 + 0.10 * smooth(depth / 0.5))
    tone = tone * (1 - 0.55 * np.exp(-((from_gap / np.maximum(0.035, 0.8 * pixel)) ** 2)))
    enamel = vector(0.74, 0.68, 0.57) * (tone * (1.0 if upper else 0.82))[..., None]
    enamel = enamel + (vector(0.45, 0.17, 0.16) - enamel) * gum[..., None]
    return enamel, cover
