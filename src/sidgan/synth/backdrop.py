"""What is behind and below the head: a blurred room, neck, shoulders and shirt, and the back of long hair."""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.synth.head import smooth, vector
from sidgan.synth.person import Person, Pose
from sidgan.types import Float


class Stage:
    """The layers behind the head, painted once in linear RGB; `behind` composites them for a pose."""

    def __init__(self, person: Person, size: tuple[int, int], scale: float, centre: tuple[float, float]) -> None:
        rng = np.random.default_rng([person.seed, 3])
        self.scale, self.centre, self.size = scale, centre, size
        y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
        fx, fy = (x - centre[0]) / scale, (y - centre[1]) / scale
        room = _room(person, rng, size)
        if person.style == "long":
            room = _long_hair(person, rng, room, fx, fy)
        self.room = room
        self.body = _body(person, rng, fx, fy)

    def behind(self, pose: Pose) -> Float:
        """The picture (H, W, 3) without the head, in linear RGB: the neck's top follows the head, the chest stays."""
        k = self.scale
        lean = (pose.x + 0.06 * pose.roll * -1.0 * 0.4) * k
        top, low = self.centre[1] + 9 * k, self.centre[1] + 19 * k
        slope = -lean / (low - top)  # source x minus picture x, falling from -lean at the chin to 0 at the chest
        warp = np.array([[1, -slope, slope * low], [0, 1, -0.5 * pose.y * k]], np.float32)
        body = cv2.warpAffine(
            self.body, warp, self.size[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        alpha = body[..., 3:]
        return np.asarray(self.room * (1 - alpha) + body[..., :3])


def _room(person: Person, rng: np.random.Generator, size: tuple[int, int]) -> Float:
    """An out-of-focus wall with large soft shapes and a vignette, (H, W, 3) linear RGB."""
    small = np.ones((48, 48, 3), np.float32) * np.asarray(person.backdrop, np.float32)
    for _ in range(9):
        corner, extent = rng.integers(-8, 46, 2), rng.integers(4, 26, 2)
        tint = np.exp(rng.normal(0, 0.45)) * rng.uniform(0.8, 1.2, 3)
        small[max(corner[0], 0) : corner[0] + extent[0], max(corner[1], 0) : corner[1] + extent[1]] *= tint
    room = cv2.resize(cv2.GaussianBlur(small, (0, 0), 2.2), size[::-1], interpolation=cv2.INTER_CUBIC)
    v, u = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    room *= (1.1 - 0.28 * (u * u + v * v))[..., None]
    grain = 1 + 0.012 * rng.standard_normal((*size, 1))
    return np.clip(room * grain, 0.004, 0.9).astype(np.float32)


def _body(person: Person, rng: np.random.Generator, x: Float, y: Float) -> Float:
    """Neck, shoulders and shirt, lit like the head: (H, W, 4) linear RGB premultiplied by alpha; ``x``, ``y`` in cm."""
    female = person.tract > 1.08
    neck_half = (4.6 if female else 5.4) * person.width
    reach = np.abs(x)
    flare = neck_half + 0.14 * np.maximum(y - 11, 0) ** 1.5 - 0.35 * np.maximum(9 - y, 0)
    neck = smooth((flare - reach) * 3 + 0.5) * smooth(y - 3)
    width = 17.5 if female else 20.5
    shoulder_y = 13.9 + 0.55 * (reach / 6) ** 2 + 40 * np.maximum(reach / width - 0.86, 0) ** 2
    trunk = smooth((y - shoulder_y) * 3 + 0.5)
    collar_y = 15.2 + 3.4 * np.maximum(1 - (reach / 6.3) ** 2, 0) ** 0.5 - 0.2 * reach
    shirt = trunk * smooth((y - collar_y) * 4 + 0.5)
    light = np.asarray(person.light, np.float32)

    def lit(nx: Float, ny: Float, wrap: float) -> Float:
        nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.05))
        facing = np.maximum((nx * light[0] + ny * light[1] + nz * light[2] + wrap) / (1 + wrap), 0)
        return (1.05 * facing + 0.28)[..., None]

    nx = np.clip(x / (flare + 0.3), -0.98, 0.98)
    shade = 0.28 + 0.72 * smooth((y - 10.5 - 0.05 * x * x * 0.3) / 6.0)  # shadow of the chin
    cords = 0.06 * np.exp(-(((reach - 1.6 - 0.28 * (17 - y)) / 0.7) ** 2)) * smooth((y - 11) / 4)
    tone = lit(nx, np.full_like(x, -0.1), 0.25) * (shade + cords - 0.03)[..., None]
    skin = np.asarray(person.skin, np.float32) * vector(1, 0.95, 0.93) * tone
    density = 1 / float(x[0, 1] - x[0, 0])  # px per cm
    grain = rng.standard_normal(x.shape).astype(np.float32)
    soft = cv2.GaussianBlur(grain, (0, 0), sigmaX=0.35 * density, sigmaY=1.2 * density)
    folds = np.clip(soft / soft.std(), -2, 2)
    weave = 1 + 0.03 * rng.standard_normal(x.shape)
    slope_x, slope_y = np.clip(x / 24 + 0.10 * folds, -0.9, 0.9), np.clip(-0.75 + 0.09 * (y - shoulder_y), -0.75, 0.1)
    cloth = np.asarray(person.cloth, np.float32) * lit(slope_x, slope_y, 0.1) * weave[..., None]
    hem = np.exp(-(((y - collar_y - 0.5) / 0.16) ** 2)) * 0.35 + 0.3 * np.exp(-(((y - collar_y) / 0.25) ** 2))
    cloth = cloth * (1 - hem)[..., None]
    cover = np.maximum(neck, trunk)[..., None]
    colour = skin + (cloth - skin) * shirt[..., None]
    return np.concatenate([colour * cover, cover], -1).astype(np.float32)


def _long_hair(person: Person, rng: np.random.Generator, room: Float, x: Float, y: Float) -> Float:
    """The room with the back of long hair, which falls behind the neck; ``x``, ``y`` in cm."""
    half = 8.9 + 0.9 * np.sin(np.clip((y + 2) / 9, 0, 1) * np.pi) + 0.06 * np.maximum(y, 0)
    rough = rng.standard_normal((1, x.shape[1])).astype(np.float32)
    strands = cv2.GaussianBlur(rough, (0, 0), 1.1)[0]
    strands = strands / strands.std()
    tips = 17 + 1.2 * strands[None, :] * 0.5
    top = np.maximum(1 - (np.minimum(y + 1, 0) / 11.5) ** 2, 0) ** 0.5
    inside = smooth((half * top - np.abs(x)) * 1.6 + 0.2 * strands[None, :]) * (y > -12.4) * smooth((tips - y) / 1.5)
    tone = (0.5 + 0.16 * strands[None, :] + 0.15 * np.exp(-(((y - 4) / 4) ** 2))) * (0.5 + 0.5 * (np.abs(x) / 9) ** 2)
    hair = np.asarray(person.hair, np.float32) * np.maximum(tone, 0.1)[..., None]
    return np.asarray(room + (hair - room) * inside[..., None])
