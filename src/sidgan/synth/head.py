"""The head's geometry: a signed distance function of smooth ellipsoids, baked into a radius map, and ray marching.

Units are centimetres of an average adult head. Head space has x right, y down (as in the picture) and z towards the
viewer; the origin is in the middle of the head at eye level. *Front coordinates* are the (x, y) of a surface point of
the relaxed face (mouth closed), seen from the front; every feature (eyes, lips, brows, ...) is placed in them.

The head is star-shaped around the origin: after dividing by `AXES`, each direction n has one radius r(n). The radius
map stores r over Lambert's equal-area projection of n, so that all parts of the head are sampled equally densely.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sidgan.synth.person import Person, Pose
from sidgan.synth.speech import Mouth
from sidgan.types import Float

AXES = np.array([7.4, 11.2, 9.2], np.float32)  #: cm; half width, height and depth of the ellipsoid of radius 1
PIVOT = np.array([0.0, 9.0, -4.0], np.float32)  #: cm; joint of head and neck, the centre of rotation of poses
HEIGHT = 22.4  #: cm from crown to chin
EXTENT = 1.78  #: maps cover projected directions in [-EXTENT, EXTENT]²
MOUTH_Y = 6.75  #: front y in cm of the line of the closed lips
GAP = 2.1  #: cm between the lips at ``opening`` 1
STEP = 0.14  #: cm between samples of the radius map

Solid = tuple[Float, Float, Float]  #: x, y and z of points, cm


@dataclass(frozen=True)
class Surface:
    """One person's closed face as a map (rows, columns, 2) over directions in [-EXTENT, EXTENT]².

    Channel 0 is the radius. Channel 1 is the safe step of ray marching: cm per unit of radius above the surface, less
    where the radius changes quickly with direction (the flanks of the nose).
    """

    map: Float

    @staticmethod
    def of(radius: Float) -> Surface:
        """The surface of a radius map."""
        step = radius.shape[0] / (2 * EXTENT)
        slope = np.hypot(cv2.Sobel(radius, -1, 1, 0, scale=step / 8), cv2.Sobel(radius, -1, 0, 1, scale=step / 8))
        safe_step = 8.5 / np.sqrt(1 + cv2.dilate(slope, np.ones((5, 5))) ** 2)
        return Surface(np.dstack([radius, cv2.GaussianBlur(safe_step, (0, 0), 2)]).astype(np.float32))

    def gap(self, points: Float) -> Float:
        """Approximate signed distance in cm of points (N, 3) from the relaxed face, negative inside."""
        q = points.astype(np.float32) / AXES
        rho = np.linalg.norm(q, axis=-1)
        uv = q[:, :2] * np.sqrt(2 / (rho * (rho + q[:, 2])))[:, None]
        return (rho - self.at(uv[None, :, 0], uv[None, :, 1])[0, :, 0]) * float(AXES.mean())

    def at(self, u: Float, v: Float) -> Float:
        """(..., 2) radius and safe step at projected directions (u, v), arrays of one 2-D shape."""
        return sample(self.map, u, v)


@dataclass(frozen=True)
class Rays:
    """Parallel rays: origins (x, y, z), arrays of one 2-D shape, and their unit direction (3,) towards the viewer."""

    x: Float
    y: Float
    z: Float
    direction: Float

    def at(self, depth: Float) -> Solid:
        """Points at ``depth`` cm along each ray."""
        dx, dy, dz = self.direction
        return self.x + depth * dx, self.y + depth * dy, self.z + depth * dz

    def enter(self, radius: float) -> Float:
        """Depth in cm where rays enter the ellipsoid ``radius * AXES``, or of the closest point where they miss it."""
        ox, oy, oz = (o / axis for o, axis in zip((self.x, self.y, self.z), AXES, strict=True))
        dx, dy, dz = self.direction / AXES
        a = dx * dx + dy * dy + dz * dz
        b = ox * dx + oy * dy + oz * dz
        c = ox * ox + oy * oy + oz * oz - radius * radius
        return ((np.sqrt(np.maximum(b * b - a * c, 0)) - b) / a).astype(np.float32)


@dataclass(frozen=True)
class View:
    """Orthographic projection from head space to the picture.

    Attributes:
        rotation: (3, 3), about `PIVOT`.
        shift: (3,) cm.
        scale: px per cm.
        centre: px of the origin in the neutral pose.
    """

    rotation: Float
    shift: Float
    scale: float
    centre: tuple[float, float]

    @staticmethod
    def of(pose: Pose, scale: float, centre: tuple[float, float]) -> View:
        """The view for a pose at ``scale`` px per cm."""
        yaw, pitch, roll = np.deg2rad([pose.yaw, pose.pitch, pose.roll])
        cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        rotation = (tilt @ nod @ turn).astype(np.float32)
        return View(rotation, np.array([pose.x, pose.y, 0], np.float32), scale, centre)

    def project(self, points: Float) -> Float:
        """Project head-space points (..., 3) to (..., 3): x and y in px, depth in cm."""
        seen = (points - PIVOT) @ self.rotation.T + PIVOT + self.shift
        xy = seen[..., :2] * self.scale + np.asarray(self.centre, np.float32)
        return np.concatenate([xy, seen[..., 2:]], -1).astype(np.float32)

    def rays(self, x: Float, y: Float) -> Rays:
        """The rays in head space through px (x, y), arrays of one 2-D shape; depth 0 is the picture plane."""
        sx = (x - self.centre[0]) / self.scale - self.shift[0] - PIVOT[0]
        sy = (y - self.centre[1]) / self.scale - self.shift[1] - PIVOT[1]
        r = self.rotation
        start = [(sx * r[0, i] + sy * r[1, i] + (PIVOT[i] - PIVOT[2] * r[2, i])).astype(np.float32) for i in range(3)]
        return Rays(start[0], start[1], start[2], r[2])


def sample(image: Float, u: Float, v: Float) -> Float:
    """Sample a map bilinearly at projected directions (u, v), clamped at its border."""
    rows, columns = image.shape[:2]
    kx, ky = np.float32(columns / (2 * EXTENT)), np.float32(rows / (2 * EXTENT))
    mx, my = u * kx + np.float32(columns / 2 - 0.5), v * ky + np.float32(rows / 2 - 0.5)
    return cv2.remap(image, mx, my, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def directions(step: float) -> Float:
    """Unit directions (rows, columns, 3) of the samples of a map at a spacing of about ``step`` cm."""
    columns, rows = (round(2 * EXTENT * float(axis) / step) for axis in AXES[:2])
    u, v = np.meshgrid(
        ((np.arange(columns) + 0.5) / columns * 2 - 1) * EXTENT, ((np.arange(rows) + 0.5) / rows * 2 - 1) * EXTENT
    )
    square = np.minimum(u * u + v * v, 3.99)
    k = np.sqrt(1 - square / 4)
    return np.stack([u * k, v * k, 1 - square / 2], -1).astype(np.float32)


def sculpt(person: Person) -> Surface:
    """Bake a person's head (without hair) into a radius map, by bisection along each direction."""
    n = directions(STEP)
    ray = [np.ascontiguousarray(n[..., i]) * AXES[i] for i in range(3)]
    low = np.full(n.shape[:2], 0.6, np.float32)
    high = np.full(n.shape[:2], 1.6, np.float32)
    for _ in range(10):
        middle = (low + high) / 2
        inside = _signed_distance((ray[0] * middle, ray[1] * middle, ray[2] * middle), person) < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    radius = cv2.GaussianBlur((low + high) / 2, (0, 0), 0.9)  # else the limited precision shows as contour lines
    return Surface.of(radius)


def _signed_distance(p: Solid, person: Person) -> Float:
    """Approximate signed distance in cm of points to the relaxed face, negative inside."""
    w, jaw, chin = person.width, person.jaw, person.chin
    p = (np.abs(p[0]), p[1], p[2])  # the head is symmetric: model one half
    eye_x = 3.15 * person.eye_gap
    solid = _ellipsoid(p, (0, -3.0, -1.2), (7.35 * w, 8.2, 9.0))
    solid = _smooth_union(solid, _ellipsoid(p, (0, 2.4, 0.9), (6.75 * w, 8.0, 7.0)), 2.0)
    solid = _smooth_union(solid, _ellipsoid(p, (0, 5.4, 2.4), (6.1 * w * jaw, 5.0, 5.4)), 1.8)
    solid = _smooth_union(solid, _ellipsoid(p, (4.2 * w, 2.5, 4.2), (2.2, 1.9, 2.2 * person.cheek)), 2.4)
    solid = _smooth_union(solid, _ellipsoid(p, (0, 6.6, 5.3), (3.1, 2.7, 3.0)), 2.0)
    solid = _smooth_union(solid, _ellipsoid(p, (0, 8.6 + (chin - 1) * 11, 5.2), (3.0 * jaw, 2.2, 2.7)), 2.4)
    ridge = 0.6 + 0.4 * person.brow
    solid = _smooth_union(solid, _ellipsoid(p, (2.3, -2.3, 6.0), (2.5, 1.1, 1.25 + 0.25 * ridge)), 1.6)
    solid = _smooth_difference(solid, _ellipsoid(p, (eye_x, 0.1, 9.1), (1.75, 1.2, 2.0)), 1.1)
    solid = _smooth_union(solid, _ellipsoid(p, (eye_x, 0.05, 5.95), (1.65, 1.3, 1.35)), 0.5)
    wide, length = person.nose_width, person.nose
    solid = _smooth_union(solid, _cone(p, (0, -1.4, 7.1), (0, 2.6, 7.9 + 1.45 * length), 0.6, 0.85), 1.3)
    solid = _smooth_union(solid, _ellipsoid(p, (0, 3.0, 8.1 + 1.45 * length), (1.05 * wide, 0.9, 0.9)), 0.8)
    solid = _smooth_union(solid, _ellipsoid(p, (1.1 * wide, 3.4, 8.05), (0.75 * wide, 0.72, 1.0)), 0.6)
    return _smooth_union(solid, _ellipsoid(p, (7.35 * w, 0.7, -0.9), (0.85, 2.6, 1.5)), 0.7)  # the ear


def _ellipsoid(p: Solid, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Float:
    """Approximate signed distance to an ellipsoid."""
    near, steep = np.zeros_like(p[0]), np.full_like(p[0], 1e-9)
    for along, middle, radius in zip(p, centre, radii, strict=True):
        q = (along - np.float32(middle)) * np.float32(1 / radius)
        square = q * q
        near, steep = near + square, steep + square * np.float32(1 / radius**2)
    k = np.sqrt(near)
    return np.asarray(k * (k - 1) / np.sqrt(steep))


def _cone(
    p: Solid, a: tuple[float, float, float], b: tuple[float, float, float], radius_a: float, radius_b: float
) -> Float:
    """Approximate signed distance to a cone with round ends."""
    axis = [float(end - start) for start, end in zip(a, b, strict=True)]
    gap = [along - np.float32(start) for along, start in zip(p, a, strict=True)]
    share = sum(g * np.float32(d) for g, d in zip(gap, axis, strict=True)) / np.float32(sum(d * d for d in axis))
    share = np.clip(share, 0, 1)
    square = sum((g - share * np.float32(d)) ** 2 for g, d in zip(gap, axis, strict=True))
    return np.asarray(np.sqrt(square) - (radius_a + (radius_b - radius_a) * share))


def _smooth_union(a: Float, b: Float, soft: float) -> Float:
    h = np.maximum(soft - np.abs(a - b), 0) / soft
    return np.minimum(a, b) - h * h * soft / 4


def _smooth_difference(a: Float, b: Float, soft: float) -> Float:
    return -_smooth_union(-a, b, soft)


def flex(x: Float, y: Float, z: Float, mouth: Mouth) -> tuple[Float, Float]:
    """Displacement (down, forward; cm) from the relaxed face of the skin that is now at (x, y, z).

    The jaw hinges in front of the ears: skin below the lips drops and recedes, the cheeks stretch in between. Rounded
    lips move forward. The displacement is a function of the moved point, because ray marching needs the relaxed point
    for a given position; its slope stays below 1, so that `move` can invert it. `sidgan.synth.lips` draws the lips.
    """
    max_drop = np.float32(0.85 * GAP * mouth.opening)
    side = np.minimum(x * x, 49) * np.float32(1 / 49)
    band = 4.0 * side + (1.3 + 1.15 * max_drop)  # cm over which skin stretches: little at the lips, more on the cheeks
    drop = max_drop * smooth((y + (0.4 - MOUTH_Y) + 1.5 * side) / band) * np.clip((z + 1) * np.float32(1 / 7), 0, 1)
    protrusion = np.float32(0.75 * mouth.round - 0.2 * mouth.press)
    if abs(protrusion) > 1e-3:
        lips = (x * np.float32(1 / 2.6)) ** 2 + ((y - (MOUTH_Y + 0.3 * max_drop)) * np.float32(1 / 1.9)) ** 2
        return drop, protrusion * np.exp(-lips) - 0.25 * drop
    return drop, -0.25 * drop


def move(rest: Float, mouth: Mouth) -> Float:
    """Move points (..., 3) of the relaxed face as the mouth does: the inverse of `flex`, by fixed-point iteration."""
    p = rest
    for _ in range(25):
        down, forward = flex(p[..., 0], p[..., 1], p[..., 2], mouth)
        p = rest + np.stack([np.zeros_like(down), down, forward], -1)
    return p


def vector(*values: float) -> Float:
    """A float32 vector, such as an RGB colour."""
    return np.array(values, np.float32)


def smooth(x: Float) -> Float:
    """Smoothstep: 0 for x below 0, 1 for x above 1, 3x² - 2x³ between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def coverage(pixel: float, distance: Float, soft: float = 0.0) -> Float:
    """Antialiased coverage, 0 outside to 1 inside, from the signed distance to an edge feathered by ``soft`` cm.

    ``pixel`` is the side of a pixel in cm.
    """
    return smooth(distance / (2 * (pixel + soft)) + 0.5)


@dataclass(frozen=True)
class Hit:
    """Where rays meet the head; arrays of one 2-D shape.

    Attributes:
        depth: cm along the ray.
        miss: cm between ray and surface; 0 or less where they meet.
        u, v: projected direction (map coordinates).
        rest, moved: the point (x, y, z) on the relaxed face, and where the mouth has moved it.
    """

    depth: Float
    miss: Float
    u: Float
    v: Float
    rest: Solid
    moved: Solid


def cast(surface: Surface, mouth: Mouth, rays: Rays, depth: Float | None, steps: int) -> Hit:
    """March rays to the head's surface, deformed by ``mouth``, in a fixed number of ``steps``.

    ``depth`` is an earlier estimate, from which few steps are enough; ``None`` starts outside the head. A ray that
    misses the head gets its closest point.
    """
    if depth is None:
        depth = rays.enter(1.36)
    floor = depth - 14
    closest, best = np.full_like(depth, np.inf), depth
    for _ in range(steps):
        _, _, _, gap = _probe(surface, mouth, rays, depth)
        better = gap < closest
        closest, best = np.where(better, gap, closest), np.where(better, depth, best)
        depth = np.maximum(depth - 0.9 * gap, floor)
    rest, u, v, gap = _probe(surface, mouth, rays, best)
    return Hit(best, gap, u, v, rest, rays.at(best))


def _probe(surface: Surface, mouth: Mouth, rays: Rays, depth: Float) -> tuple[Solid, Float, Float, Float]:
    """Relaxed point, projected direction and safe distance to the surface in cm at ``depth`` of each ray."""
    x, y, z = rays.at(depth)
    down, forward = flex(x, y, z, mouth)
    y, z = y - down, z - forward
    qx, qy, qz = (p * np.float32(1 / axis) for p, axis in zip((x, y, z), AXES, strict=True))
    rho = np.sqrt(qx * qx + qy * qy + qz * qz) + np.float32(1e-6)
    k = np.sqrt(2 / np.maximum(rho * (rho + qz), np.float32(1e-6)))
    u, v = qx * k, qy * k
    map_ = surface.at(u, v)
    return (x, y, z), u, v, (rho - map_[..., 0]) * map_[..., 1]


def lift(surface: Surface, points: Float, mouth: Mouth | None = None) -> Float:
    """Surface points (N, 3) at front coordinates (N, 2), of the relaxed face or of one moved by ``mouth``."""
    x, y = np.asarray(points, np.float32).T[:, None]
    rays = Rays(x, y, np.zeros_like(x), np.array([0, 0, 1], np.float32))
    hit = cast(surface, mouth or Mouth(), rays, None, 30)
    return np.stack([x[0], y[0], hit.depth[0]], -1)
