r"""The border of the redrawn region: around both jaws, where the drawn and the filmed picture differ least.

A network that knows a face does not know its surroundings: it invents collars, hair and earrings. The filmed ones are
right, so as little of them as possible is replaced. The border is sought along rays from the mouth::

        \  |  /        levels on each ray, from NEAREST to FARTHEST beyond the hull of the old jaw and the new one
      ───mouth───      cost of a level = difference in the band that ends there, in which the two would be mixed,
        /  |  \                          + AREA_WEIGHT times the difference between the hull and this level

Dynamic programming finds the closed line of least cost through all rays; a change of level between neighbouring rays
costs something as well. The border is the running mean of the lines of the last frames, since an edge that jumps is
visible.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.blend.running import RunningMean
from sidgan.geometry import JAW, MOUTH
from sidgan.types import Array, Byte, Float

# Lengths as fractions of the crop's side.
NEAREST, FARTHEST, STEP = 0.03, 0.16, 0.01  #: the levels, distances beyond the hull: a chin's outline lies there too
BAND = 0.06  #: width of the band inside the border in which the two pictures are mixed
BLUR = 0.008  #: standard deviation of a blur, so that texture does not count as a difference

RAYS = 64
SIDE = 128  #: px to which pictures are resized before they are compared
NOISE = 3.0  #: grey levels by which pictures that look the same may differ
AREA_WEIGHT = 1.5  #: weight of the difference beyond the hull relative to that in the band
BEND = 1.0  #: cost of a change by one level between neighbouring rays
SMOOTHING = 2  #: rays on either side over which the line is averaged
MEMORY = 0.85  #: weight of each frame's line relative to the next one's
LOOK_BACK = 10  #: frames in the mean, including the current one; older ones have no influence at all

SIDES = slice(JAW.start + 3, JAW.stop - 3)  #: landmarks of the jaw that speech moves: not the cheeks near the ears

LEVELS = np.arange(NEAREST, FARTHEST + STEP / 2, STEP)
ANGLES = 2 * np.pi * np.arange(RAYS) / RAYS
DIRECTIONS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)


class Border:
    """The border of one face, frame by frame: one object for each face. It depends on `LOOK_BACK` frames."""

    def __init__(self) -> None:
        self._mean = RunningMean(MEMORY, LOOK_BACK)  # of the lines of single frames

    def __call__(self, drawn: Float, source: Byte, box: Float, old: Float, new: Float, place: int) -> Float:
        """How far the replaced region reaches beyond the hull on each ray, (RAYS,) as fractions of the crop's side.

        Args:
            drawn: (S, S, 3) in [0, 255], the drawn face after `ToneMatch`.
            source: (S, S, 3) uint8, the source crop.
            box: (4,) hidden box in unit coordinates; nothing outside it is ever replaced.
            old, new: (68, 2) landmarks of the source and of the drawn face, in unit coordinates.
            place: index of the frame in the output.
        """
        return self._mean(place, _line(_costs(drawn, source, box, old, new)))


def outline(old: Float, new: Float, reach: Float | float) -> Float:
    """(RAYS, 2) points, in unit coordinates, that lie ``reach`` beyond the hull of both jaws on the rays."""
    centre, radius = _hull(old, new)
    return np.asarray(centre + (radius + reach)[:, None] * DIRECTIONS)


def _hull(old: Float, new: Float) -> tuple[Float, Float]:
    """The centre of both mouths (2,), and the distance on each ray from there to the hull of both lower faces (RAYS,).

    Each edge of the hull is a line. The nearest line that a ray meets, going outwards, is where it leaves the hull.
    """
    points = np.concatenate([face[part] for face in (old, new) for part in (SIDES, MOUTH)]).astype(np.float32)
    centre = np.concatenate([old[MOUTH], new[MOUTH]]).mean(0)
    corners = cv2.convexHull(points)[:, 0].astype(np.float64)
    along = np.roll(corners, -1, 0) - corners
    outwards = np.stack([along[:, 1], -along[:, 0]], -1)
    away = ((corners - centre) * outwards).sum(-1)  # distance from the centre times the edge's length; all of one sign
    toward = (DIRECTIONS[:, None] * outwards).sum(-1) * np.sign(away)  # no matrix product: its rounding varies
    hits = np.where(toward > 1e-9, np.abs(away) / np.maximum(toward, 1e-9), np.inf)
    return centre, np.minimum(hits.min(1), 1.0)


def _costs(drawn: Float, source: Byte, box: Float, old: Float, new: Float) -> Float:
    """(RAYS, levels): the cost of ending at each level of each ray."""
    apart = np.abs(_small(drawn) - _small(source))
    difference = (apart[..., 0] + apart[..., 1] + apart[..., 2]) / 3  # numpy's mean over three values takes long
    difference = np.maximum(cv2.GaussianBlur(difference, (0, 0), BLUR * SIDE) - NOISE, 0)
    middles = (np.arange(SIDE) + 0.5) / SIDE
    across, down = ((low < middles) & (middles < high) for low, high in (box[::2], box[1::2]))
    difference *= down[:, None] & across  # nothing outside the box changes
    band, first = round(BAND / STEP), round(NEAREST / STEP)
    reach = STEP * np.arange(first - band, first + len(LEVELS))
    centre, radius = _hull(old, new)
    points = (centre + (radius[:, None] + reach)[..., None] * DIRECTIONS[:, None]) * SIDE - 0.5
    x, y = np.moveaxis(points.astype(np.float32), -1, 0)
    samples = cv2.remap(difference, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    total = np.pad(np.cumsum(samples, 1, dtype=np.float64), ((0, 0), (1, 0)))
    edge = (total[:, 1 + band :] - total[:, 1:-band]) / band
    beyond = (total[:, 1 + band :] - total[:, [max(0, band - first)]]) * STEP / FARTHEST
    return np.asarray(edge + AREA_WEIGHT * beyond)


def _small(picture: Float | Byte) -> Float:
    """A picture (S, S, 3) resized to (SIDE, SIDE, 3)."""
    interpolation = cv2.INTER_AREA if len(picture) > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.asarray(picture, np.float32), (SIDE, SIDE), interpolation=interpolation))


def _line(costs: Float) -> Float:
    """(RAYS,): the distances of the cheapest line beyond the hull, smoothed."""
    line = LEVELS[cheapest(costs)]
    return np.asarray(sum(np.roll(line, k) for k in range(-SMOOTHING, SMOOTHING + 1)) / (2 * SMOOTHING + 1))


def cheapest(costs: Float) -> Array:
    """The index of the level on each ray of the closed line of least cost; see `BEND` for changes of level.

    Args:
        costs: (rays, levels). The line starts and ends on the ray with the lowest cost of all, at that level.
    """
    levels = np.arange(costs.shape[1])
    start = int(costs.min(1).argmin())
    order = np.roll(costs, -start, 0)
    steps = BEND * np.abs(np.subtract.outer(levels, levels))
    level = int(order[0].argmin())
    total = np.where(levels == level, 0.0, np.inf)
    origins = []
    for cost in [*order[1:], order[0]]:
        paths = total + steps  # to a level (row) from each level of the ray before
        origins.append(paths.argmin(1))
        total = paths.min(1) + cost
    chosen = [level]
    for origin in reversed(origins[1:]):
        chosen.append(int(origin[chosen[-1]]))
    return np.roll([level, *chosen[:0:-1]], start)
