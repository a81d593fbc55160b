"""Render pictures and true landmarks of a synthetic person."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sidgan.synth import eyes, lips
from sidgan.synth.backdrop import Stage
from sidgan.synth.head import HEIGHT, MOUTH_Y, Hit, Rays, Surface, View, cast, lift, move, sample, smooth, vector
from sidgan.synth.person import Person, Pose
from sidgan.synth.skin import brow_y, paint
from sidgan.synth.speech import Mouth
from sidgan.types import Byte, Float

Size = tuple[int, int]  #: (H, W) px
_BLEED = vector(0.34, 0.15, 0.10)  # subsurface scattering past the terminator, by channel: red travels furthest


@dataclass(frozen=True)
class Box:
    """A rectangle of whole px: rows y0..y1, columns x0..x1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the rectangle in an image."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    @staticmethod
    def around(points: Float, margin: float, size: Size, origin: tuple[int, int] = (0, 0)) -> Box:
        """Bounding box of points (N, 2) with a margin, clipped to a region of ``size`` that begins at ``origin``."""
        low = np.floor(points.min(0) - margin).astype(int) - origin
        high = np.ceil(points.max(0) + margin).astype(int) - origin
        x0, x1 = np.clip([low[0], high[0]], 0, size[1])
        y0, y1 = np.clip([low[1], high[1]], 0, size[0])
        return Box(int(x0), int(y0), int(x1), int(y1))


class Portrait:
    """One person in front of one camera: textures are painted once, then any pose and mouth can be rendered.

    Args:
        person: who is rendered.
        size: (H, W) px of the pictures.
        face_px: height of the head in px, crown to chin without hair.
        centre: px (x, y) of the head's middle in the neutral pose; the default leaves room for the chest.
    """

    def __init__(
        self, person: Person, size: Size, face_px: float | None = None, centre: tuple[float, float] | None = None
    ) -> None:
        self.person, self.size = person, size
        self.scale = (face_px or 0.66 * min(size)) / HEIGHT
        self.centre = centre or ((size[1] - 1) / 2, (size[0] - 1) / 2 - 0.02 * size[0])
        self._coat = paint(person, self.scale)
        self._stage = Stage(person, size, self.scale, self.centre)
        self._rest = self._rest_landmarks()
        warm = person.warmth
        self._key = vector(1.0 + 0.06 * warm, 1.0, 1.0 - 0.10 * warm) * 1.75
        self._sky = vector(0.97, 1.0, 1.05) * 0.52

    def landmarks(self, mouth: Mouth, pose: Pose) -> Float:
        """The 68 true landmarks (68, 2) px, iBUG order, of what `render` draws for the same arguments."""
        return self._view(pose).project(self._points(mouth, pose))[:, :2]

    def opening(self, mouth: Mouth) -> float:
        """Distance between the lips in units of the distance between the outer eye corners."""
        shape = lips.Lips.of(self.person, mouth)
        zero = np.zeros(1)
        gap = float((shape.inner_bottom(zero) - shape.inner_top(zero))[0])
        return gap / (2 * (eyes.EYE_X * self.person.eye_gap + eyes.HALF))

    def render(self, mouth: Mouth, pose: Pose) -> Byte:
        """Render the person: (H, W, 3) uint8 RGB."""
        view = self._view(pose)
        picture, box = self._stage.behind(pose), self._head_box(view)
        x, y = np.meshgrid(np.arange(box.x0, box.x1, dtype=np.float32), np.arange(box.y0, box.y1, dtype=np.float32))
        rays = view.rays(x, y)
        hit = self._march(view, mouth, box, rays)
        colour = sample(self._coat.colour, hit.u, hit.v)
        albedo, gloss = np.ascontiguousarray(colour[..., :3]), np.ascontiguousarray(colour[..., 3])
        height = sample(self._coat.relief, hit.u, hit.v)
        canvas = _Canvas(albedo, gloss, height, np.ones_like(gloss), np.zeros_like(albedo))
        self._draw_eyes(canvas, view, pose, hit, box)
        self._draw_mouth(canvas, view, mouth, hit, box)
        light = self._light(hit.depth, canvas)
        cover = self._opacity(hit.miss)[..., None]
        region = picture[box.slices]
        region += (light - region) * cover
        if self.person.glasses:
            self._draw_glasses(picture, view)
        return _to_srgb(picture)

    def _view(self, pose: Pose) -> View:
        return View.of(pose, self.scale, self.centre)

    def _rest_landmarks(self) -> Float:
        """Landmarks 0 to 47 (48, 3) of the relaxed face with open eyes, in head space."""
        person, bare = self.person, self._coat.bare
        s = np.array([0.0, 0.27, 0.52, 0.77, 1.0])
        brow_x = 3.15 * person.eye_gap - 0.05 + (s - 0.42) * 4.3
        brow = np.stack([brow_x, brow_y(person, s) - 0.12], -1)
        wide = person.nose_width
        ridge = [(0, -0.45), (0, 0.75), (0, 1.9), (0, 3.05)]
        base = [(-1.35 * wide, 3.95), (-0.7 * wide, 4.2), (0, 4.35), (0.7 * wide, 4.2), (1.35 * wide, 3.95)]
        front = np.concatenate([brow[::-1] * (-1, 1), brow, np.array(ridge), np.array(base)])
        return np.concatenate([_jaw(bare), lift(bare, np.concatenate([front, eyes.landmarks(person, 0.0)]))])

    def _points(self, mouth: Mouth, pose: Pose) -> Float:
        """The landmarks (68, 3) in head space."""
        rest = self._rest.copy()
        rest[36:48, :2] = eyes.landmarks(self.person, pose.blink)
        lip_points = lift(self._coat.bare, lips.Lips.of(self.person, mouth).landmarks(), mouth)
        return np.concatenate([move(rest, mouth), lip_points])

    def _head_box(self, view: View) -> Box:
        x, y, z = np.meshgrid((-8.6, 8.6), (-11.6, 12.5), (-5.0, 6.0))
        corners = np.stack([x.ravel(), y.ravel(), z.ravel()], -1)
        more = np.array([(0, -13, -1), (0, 13.6, 6), (-9.4, -2, -2), (9.4, -2, -2), (0, -3, -10), (0, 3, 11)])
        points = np.concatenate([corners * (0.93, 1, 1), more]).astype(np.float32)
        return Box.around(view.project(points)[:, :2], 2, self.size)

    def _march(self, view: View, mouth: Mouth, box: Box, rays: Rays) -> Hit:
        """March rays coarse to fine: most steps are done at a quarter of the resolution."""
        surface, depth = self._coat.surface, None
        shape = rays.x.shape
        for stride, steps in ((4, 16), (2, 4)):
            x, y = np.meshgrid(
                np.arange(box.x0 + (stride - 1) / 2, box.x1 + stride, stride, dtype=np.float32),
                np.arange(box.y0 + (stride - 1) / 2, box.y1 + stride, stride, dtype=np.float32),
            )
            if depth is not None:
                depth = cv2.resize(depth, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[: x.shape[0], : x.shape[1]]
            depth = cast(surface, mouth, view.rays(x, y), depth, steps).depth
        assert depth is not None
        depth = cv2.resize(depth, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)[: shape[0], : shape[1]]
        return cast(surface, mouth, rays, depth, 1)

    def _opacity(self, miss: Float) -> Float:
        """Opacity 0..1 with an antialiased silhouette; holes where rays at the nose did not converge are filled."""
        cover = smooth(1 - np.maximum(miss, 0) * (0.7 * self.scale))
        slit = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(0.4 * self.scale) | 1,) * 2)
        cover = cv2.morphologyEx(cover, cv2.MORPH_CLOSE, slit)
        outlines, _ = cv2.findContours((cover > 0.6).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(cover), outlines, -1, 1.0, cv2.FILLED)
        return np.maximum(cover, cv2.erode(filled, np.ones((3, 3), np.uint8)))

    def _draw_eyes(self, canvas: _Canvas, view: View, pose: Pose, hit: Hit, box: Box) -> None:
        for side in (-1, 1):
            corners = self._rest[36:42] if side < 0 else self._rest[42:48]
            px = view.project(corners)[:, :2]
            part = Box.around(px, 0.75 * self.scale, hit.depth.shape, (box.x0, box.y0)).slices
            x, y = hit.rest[0][part], hit.rest[1][part]
            if x.size:
                painted, spark = eyes.draw(self.person, pose, side, x, y, pixel=1 / self.scale)
                canvas.lay(painted, part)
                canvas.mirrored[part] += spark

    def _draw_mouth(self, canvas: _Canvas, view: View, mouth: Mouth, hit: Hit, box: Box) -> None:
        drop = 2.2 * mouth.opening
        corners = [(i, j, 7.5) for i in (-3.6, 3.6) for j in (MOUTH_Y - 1.7, MOUTH_Y + 1.9 + drop)]
        px = view.project(np.array(corners, np.float32))[:, :2]
        part = Box.around(px, 0.5 * self.scale, hit.depth.shape, (box.x0, box.y0)).slices
        if not hit.depth[part].size:
            return
        x, y = hit.moved[0][part], hit.moved[1][part]
        d = view.rotation[2]
        lean = (float(-d[0] / d[2]), float(-d[1] / d[2]))
        canvas.lay(lips.draw(self.person, mouth, x, y, lean=lean, pixel=1 / self.scale), part)

    def _light(self, depth: Float, canvas: _Canvas) -> Float:
        """Shade the surface: soft key light with cast shadow, sky light with ambient occlusion, and highlights."""
        k, height, gloss = self.scale, canvas.height, canvas.gloss
        relief = depth + height
        blurred = cv2.GaussianBlur(depth, (0, 0), 0.09 * k)
        normal = _normal(blurred + height, k)
        light = np.asarray(self.person.light, np.float32)
        facing = normal[0] * light[0] + normal[1] * light[1] + normal[2] * light[2]
        shadow = self._shadow(relief, light)
        # Ambient occlusion: points below their neighbourhood see less sky.
        small = cv2.resize(depth, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        wide = cv2.blur(np.maximum(small, small.max() - 16), (max(3, int(0.45 * k)),) * 2)
        depression = cv2.resize(wide - small, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)
        sky = (0.62 - 0.30 * normal[1] + 0.08 * normal[2]) * np.clip(1 - 0.55 * depression, 0.25, 1.15)
        wrap = [np.maximum((facing + w) / (1 + w), 0) * (shadow + w * 0.35 * (1 - shadow)) for w in _BLEED]
        diffuse = np.stack([wrap[c] * self._key[c] + sky * self._sky[c] for c in range(3)], -1)
        half = light + vector(0, 0, 1)
        half /= np.linalg.norm(half)
        shine = np.maximum(normal[0] * half[0] + normal[1] * half[1] + normal[2] * half[2], 0)
        tight, broad = shine ** np.float32(70), shine ** np.float32(14)
        glint = (0.55 * gloss * gloss * tight + 0.075 * gloss * broad) * shadow
        rim = np.float32(0.07) * (1 - np.clip(normal[2], 0, 1)) ** 3
        specular = ((glint + rim * gloss) * 0.85)[..., None] * self._key
        return np.asarray((canvas.albedo * diffuse * 0.62 + specular) * canvas.shade[..., None] + canvas.mirrored)

    def _shadow(self, depth: Float, light: Float) -> Float:
        """1 in the light to 0 in cast shadow: march a few steps towards the light over a downsampled depth map."""
        shrink = max(1, int(self.scale / 4))
        small = cv2.resize(depth, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        k = self.scale / shrink
        flat = float(np.hypot(light[0], light[1]))
        blocked = np.zeros_like(small)
        for distance in (0.35, 0.7, 1.1, 1.6, 2.2, 3.0, 4.0):
            shift = np.array(
                [[1, 0, light[0] / flat * distance * k], [0, 1, light[1] / flat * distance * k]], np.float32
            )
            ahead = cv2.warpAffine(
                small, shift, small.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
            over = ahead - small - distance * float(light[2]) / flat
            blocked = np.maximum(blocked, np.clip(over / (0.15 + 0.22 * distance), 0, 1))
        soft = cv2.GaussianBlur(1 - 0.85 * blocked, (0, 0), max(0.6, 0.16 * k))
        return cv2.resize(soft, depth.shape[::-1], interpolation=cv2.INTER_LINEAR)

    def _draw_glasses(self, picture: Float, view: View) -> None:
        """Draw glasses with thin dark frames and temples, in place."""
        gap, turn = eyes.EYE_X * self.person.eye_gap, np.linspace(0, 2 * np.pi, 48)
        ink = np.zeros(self.size, np.float32)
        thick = max(1, round(0.15 * self.scale))
        for side in (-1, 1):
            rim_x = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.7 * 2.25
            rim_y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.7 * 1.65 + 0.25
            z = 9.2 - 0.035 * (rim_x + 1) ** 2
            rim = np.stack([side * (gap + 0.1 + rim_x), rim_y, z], -1)
            arm = np.array([(side * (gap + 2.3), -0.5, 9.0), (side * 7.4, -0.6, 6.0), (side * 7.6, -0.3, 3.2)])
            bridge = np.array([(side * (gap - 2.1), -0.2, 9.1), (0, -0.5, 9.5)])
            for curve in (rim, arm, bridge):
                xy = np.round(view.project(curve.astype(np.float32))[:, :2] * 16).astype(np.int32)
                cv2.polylines(ink, [xy[:, None]], False, 1.0, thick, cv2.LINE_AA, 4)
        picture *= (1 - 0.92 * np.clip(ink, 0, 1))[..., None]


@dataclass(frozen=True)
class _Canvas:
    """Visible surface before shading; features are composited over it in place."""

    albedo: Float
    gloss: Float
    height: Float
    shade: Float
    mirrored: Float

    def lay(self, painted: lips.Paint, part: tuple[slice, slice]) -> None:
        cover = painted.cover
        self.albedo[part] += (painted.colour - self.albedo[part]) * cover[..., None]
        self.gloss[part] += (painted.gloss - self.gloss[part]) * cover
        self.height[part] = self.height[part] * (1 - 0.7 * cover) + painted.height
        self.shade[part] *= painted.shade


def _normal(depth: Float, scale: float) -> tuple[Float, Float, Float]:
    """Unit normals (x, y, z) of a surface given by depth in cm at ``scale`` px per cm."""
    gx = cv2.Sobel(depth, cv2.CV_32F, 1, 0, scale=scale / 8)
    gy = cv2.Sobel(depth, cv2.CV_32F, 0, 1, scale=scale / 8)
    k = 1 / np.sqrt(1 + gx * gx + gy * gy)
    return -gx * k, -gy * k, k


def _jaw(bare: Surface) -> Float:
    """IBUG points 0 to 16 (17, 3) in head space: from ear to ear along the jaw and the chin."""
    # Heights and depths of one side; the x of each point is found on the surface.
    y = np.array([0.0, 1.7, 3.4, 5.1, 6.75, 8.2, 9.4, 10.3, 10.6])
    z = np.array([1.2, 1.3, 1.5, 1.9, 2.6, 3.7, 5.0, 6.2, 6.7])
    low, high = np.zeros_like(y), np.full_like(y, 11.0)
    for _ in range(30):  # bisection for the largest x inside the head
        middle = (low + high) / 2
        inside = bare.gap(np.stack([middle, y, z], -1)) < 0
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    half = np.stack([0.985 * low, y, z], -1)
    half[-1, 0] = 0
    return np.concatenate([half * (-1, 1, 1), half[-2::-1]]).astype(np.float32)


def _to_srgb(linear: Float) -> Byte:
    """Linear RGB to 8-bit sRGB, with highlights compressed as by a camera."""
    steps = np.linspace(0, 1.6, 4096)
    toned = np.where(steps < 0.6, steps, 0.6 + 0.4 * np.tanh((steps - 0.6) / 0.4))
    srgb = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    table = np.clip(srgb * 255 + 0.5, 0, 255).astype(np.uint8)
    index = np.clip(linear * np.float32(4095 / 1.6), 0, 4095).astype(np.uint16)
    return np.asarray(table[index])
